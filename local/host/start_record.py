"""What the last start of local mode chose, in `run/local.json` under its home: the ports of its parts, and whether it is strict.

Written by the `whippet` command; read there, in the engine process and in tests.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ENGINE_PORT = 4566
PLANE_PORT = 4567


@dataclass(frozen=True)
class StartRecord:
    """The ports by part, `engine` and `plane` (empty before the first start), and the strictness, from which all URLs follow."""

    ports: Mapping[str, int] = field(default_factory=dict)
    strict: bool = False

    @classmethod
    def read(cls, home: Path) -> Self:
        """Read the record under `home`; the defaults where there is none."""
        try:
            members: dict[str, int | bool] = json.loads(_path(home).read_text())
        except (FileNotFoundError, ValueError):
            return cls()
        ports = {name.removesuffix("_port"): int(port) for name, port in members.items() if name.endswith("_port")}
        return cls(ports, bool(members.get("strict", False)))

    def write(self, home: Path) -> None:
        """Replace the record under `home` in one step."""
        unfinished = _path(home).with_suffix(".unfinished")
        unfinished.write_text(json.dumps({**{f"{name}_port": port for name, port in self.ports.items()}, "strict": self.strict}))
        unfinished.replace(_path(home))


def _path(home: Path) -> Path:
    return home / "run" / "local.json"
