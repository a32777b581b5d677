"""The decisions of strict local mode: one JSON line per different request of a role, with the statement that allowed it.

Written in the engine process by `local.engine.adapter`; tests read it to show that the stack needs each of its grants.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MOST_WRITTEN = 100_000
"""The maximum of different decisions per engine, so that memory stays bounded: a run of the main job makes some hundreds."""


@dataclass(frozen=True)
class Decision:
    """A role's request and IAM's decision: `by` is the statement that allowed it, as policy[index], empty for a denial."""

    role: str
    action: str
    resource: str
    allowed: bool
    by: str = ""
    context: dict[str, Any] = field(default_factory=dict)

    def render(self) -> str:
        """Return the decision as a line of the file."""
        return json.dumps(asdict(self), sort_keys=True, default=str)


def decisions_path(home: Path) -> Path:
    """Return the file where strict local mode under `home` writes its decisions."""
    return home / "run" / "decisions.jsonl"


class DecisionLog:
    """The file of the decisions since the engine's start; the same decision is written once."""

    def __init__(self, file: Path, most: int = MOST_WRITTEN) -> None:
        """Start with an empty file: decisions of an older stack do not apply to this one's grants."""
        self._file, self._most = file, most
        self._written: set[str] = set()
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")

    def note(self, decision: Decision) -> None:
        """Write the decision, unless it has been written before or the limit is reached."""
        line = decision.render()
        with self._lock:
            if line in self._written or len(self._written) >= self._most:
                return
            self._written.add(line)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def read_decisions(file: Path) -> list[Decision]:
    """Read the decisions of the running engine, or of the last one."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [_parse(json.loads(line)) for line in lines if line.endswith("}")]


def _parse(written: Mapping[str, Any]) -> Decision:
    return Decision(**written)
