"""Writes a benchmark's result under `benchmarks/results/`, as JSON with the command and the machine that made it.

Used by the scripts beside it.
"""

import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"


def hardware() -> str:
    """A short name of this machine for file names, such as `2cpu_x86_64`."""
    return f"{os.cpu_count()}cpu_{platform.machine()}"


def processor() -> str:
    """The processor's own name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def write_result(claim: str, measured: dict[str, Any]) -> Path:
    """Write `<claim>_<hardware>_<date>.json` and return its path."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    file = RESULTS / f"{claim}_{hardware()}_{today}.json"
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}
    command = f"python -m {sys.modules['__main__'].__spec__.name} {' '.join(Path(argument).name for argument in sys.argv[1:])}".strip()  # type: ignore[union-attr]
    RESULTS.mkdir(exist_ok=True)
    file.write_text(
        json.dumps({"claim": claim, "command": command, "date": today, "machine": machine, **measured}, indent=2) + "\n", encoding="utf-8"
    )
    return file
