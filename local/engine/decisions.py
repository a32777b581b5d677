"""What strict local mode decided: one JSON line for each different question that a role asked IAM, with the statement that allowed it.

Written in the engine process by `local.engine.adapter`; read by tests, which show with it that each grant of the stack is needed.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MOST_WRITTEN = 100_000
"""Different decisions of one engine: a run of the main job makes some hundreds; an engine that serves for weeks is not to grow."""


@dataclass(frozen=True)
class Decision:
    """A role's question and IAM's answer: `by` names the statement that allowed it as policy[index], empty where none did."""

    role: str
    action: str
    resource: str
    allowed: bool
    by: str = ""
    context: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), sort_keys=True, default=str)


def decisions_path(home: Path) -> Path:
    """Return the file where strict local mode under `home` writes its decisions."""
    return home / "run" / "decisions.jsonl"


class DecisionBook:
    """The file of the decisions since the engine's start; the same decision is written once."""

    def __init__(self, file: Path, most: int = MOST_WRITTEN) -> None:
        """Begin anew: an older stack's decisions would say nothing about this one's grants."""
        self._file, self._most = file, most
        self._written: set[str] = set()
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")

    def note(self, decision: Decision) -> None:
        """Write it, unless it has been written or the book is full."""
        line = decision.line()
        with self._lock:
            if line in self._written or len(self._written) >= self._most:
                return
            self._written.add(line)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def read_decisions(file: Path) -> list[Decision]:
    """The decisions of the running engine, or of the last one."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [_decision(json.loads(line)) for line in lines if line.endswith("}")]


def _decision(written: Mapping[str, Any]) -> Decision:
    return Decision(**written)
