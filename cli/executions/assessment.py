"""The new model's accuracy compared with the deployed model's, and advice for a rejected model. Used by `whippet watch` and `report`."""

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
"""Start of a rejection reason -> the field of the execution input that disables this check. The other reasons cannot be disabled: unknown
accuracy, accuracy no better than guessing, and a manual rejection."""


def print_accuracy(console: Console, execution: Execution) -> None:
    """Print the model's accuracy and its comparison with the deployed model; nothing if the execution lacks them."""
    champion, accuracy = execution.output.get("champion") or {}, execution.output.get("accuracy")
    if champion.get("sentence"):
        version = f" (version {champion['version']})" if champion.get("version") else ""
        console.print(Text(f"  {champion['sentence']}{version}"), soft_wrap=True)
    elif isinstance(accuracy, int | float):
        console.print(Text(f"  accuracy {accuracy:.3f} on the test photos"), soft_wrap=True)


def print_rejection(console: Console, target: Target, execution: Execution) -> None:
    """Print that the model was not deployed, why, and how to deploy it anyway."""
    console.print(Text("  The execution succeeded, but its model was not deployed: the endpoint is unchanged.", style="yellow"))
    reasons = execution.rejection_reasons or []
    for reason in reasons or ["the execution did not report a reason"]:
        console.print(Text(f"  ▲ {reason}"), soft_wrap=True)
    if changed := remove_checks(execution.input, reasons):
        again = f"whippet run{target.option} --input {shlex.quote(json.dumps(changed))}"
        console.print(Text(f"  Fix the cause and run again. To deploy without these checks: {again}", style="dim"), soft_wrap=True)


def remove_checks(given: Mapping[str, Any], reasons: Sequence[str]) -> dict[str, Any]:
    """Return the execution input without the checks behind these reasons; empty if one of them cannot be disabled."""
    changed = dict(given)
    for reason in reasons:
        start = next((start for start in OBJECTIONS if reason.startswith(start)), None)
        if start is None:
            return {}
        part, values = OBJECTIONS[start]
        there = changed.get(part)
        changed[part] = {**(there if isinstance(there, dict) else {}), **values}
    return changed if reasons else {}
