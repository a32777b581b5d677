"""Writes a benchmark's result under `benchmarks/results/`, as JSON with the command and the machine that made it, and as a page.

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


def write_result(claim: str, measured: dict[str, Any], page: str = "") -> Path:
    """Write `<claim>_<hardware>_<date>.json`, and beside it the page as .md where there is one; return the JSON file's path."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    file = RESULTS / f"{claim}_{hardware()}_{today}.json"
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}
    command = f"python -m {module()} {' '.join(Path(argument).name for argument in sys.argv[1:])}".strip()
    RESULTS.mkdir(exist_ok=True)
    written = {"claim": claim, "command": command, "date": today, "machine": machine, **measured}
    file.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if page:
        where = f"`{command}`, {today}, {machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}."
        file.with_suffix(".md").write_text(f"# {claim}\n\n{where}\n\n{page.strip()}\n", encoding="utf-8")
    return file


def module() -> str:
    """The name that the running script was started by."""
    specification = sys.modules["__main__"].__spec__
    return specification.name.removesuffix(".__main__") if specification else Path(sys.argv[0]).stem
