"""How good the new model is, also beside the champion, and what to do where it was kept back. Used by `whippet watch` and `report`."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.account.target import Target
from cli.executions.execution import Execution

OBJECTIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "rule ": ("rules", {"block_deployment": []}),
    "its test accuracy ": ("gate", {"least_accuracy": 0}),
    "accuracy ": ("gate", {"champion": False}),
    "of the photos of class ": ("gate", {"champion": False}),
    "and ": ("gate", {"champion": False}),
}
"""How a reason against a model begins -> the part of the execution input that makes no such objection. For other reasons there is none: a
model of unknown accuracy, one that names photos no better than a guess, and what a person decided."""


def print_accuracy(console: Console, execution: Execution) -> None:
    """The model's accuracy, beside the champion's where there was one to compare with; nothing where the execution does not say."""
    champion, accuracy = execution.output.get("champion") or {}, execution.output.get("accuracy")
    if champion.get("sentence"):
        version = f" (version {champion['version']})" if champion.get("version") else ""
        console.print(Text(f"  {champion['sentence']}{version}"), soft_wrap=True)
    elif isinstance(accuracy, int | float):
        console.print(Text(f"  accuracy {accuracy:.3f} on the test photos"), soft_wrap=True)


def say_kept_back(console: Console, target: Target, execution: Execution) -> None:
    """That the model was not deployed, why, and how it could be all the same."""
    console.print(Text("  The execution succeeded, but its model was not deployed: the endpoint is as it was before.", style="yellow"))
    reasons = execution.kept_back or []
    for reason in reasons or ["the execution gave no reason"]:
        console.print(Text(f"  ▲ {reason}"), soft_wrap=True)
    if changed := unobjected(execution.input, reasons):
        again = f"whippet run{target.option} --input {shlex.quote(json.dumps(changed))}"
        console.print(Text(f"  Mend it and run again, or, to deploy whatever is said against it: {again}", style="dim"), soft_wrap=True)


def unobjected(given: Mapping[str, Any], reasons: Sequence[str]) -> dict[str, Any]:
    """The same execution input with nothing that raises these reasons; empty where one of them would be raised all the same."""
    changed = dict(given)
    for reason in reasons:
        start = next((start for start in OBJECTIONS if reason.startswith(start)), None)
        if start is None:
            return {}
        part, values = OBJECTIONS[start]
        there = changed.get(part)
        changed[part] = {**(there if isinstance(there, dict) else {}), **values}
    return changed if reasons else {}
