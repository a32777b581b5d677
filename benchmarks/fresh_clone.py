"""How long a new user waits: a fresh clone with empty caches runs `make demo`, and then once more.

Runs on any machine with git and Python; takes about a quarter of an hour, and needs local mode's ports free:

    python -m benchmarks.fresh_clone
"""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.results import REPOSITORY, write_result


def main() -> None:
    """Clone, run twice, stop, write the result."""
    with tempfile.TemporaryDirectory(prefix="whippet-clone-") as folder:
        clone = Path(folder) / "whippet"
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        environment = clean_environment(Path(folder))
        try:
            first, second = demo(clone, environment), demo(clone, environment)
        finally:
            subprocess.run(["make", "--no-print-directory", "down"], cwd=clone, env=environment, check=True)
    print(write_result("fresh_clone", {"first_demo": first, "second_demo": second}))


def clean_environment(folder: Path) -> dict[str, str]:
    """This environment with no virtual environment in it and with empty caches of pip and npm."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "WHIPPET_HOME")}
    kept["PATH"] = os.pathsep.join(each for each in kept["PATH"].split(os.pathsep) if not each.startswith(str(REPOSITORY)))
    return {**kept, "PIP_CACHE_DIR": str(folder / "pip-cache"), "npm_config_cache": str(folder / "npm-cache")}


def demo(clone: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run `make demo`; its wall seconds and what it wrote."""
    began = time.monotonic()
    subprocess.run(["make", "demo"], cwd=clone, env=environment, check=True)
    wall = time.monotonic() - began
    written = json.loads((clone / ".local" / "demo.json").read_text(encoding="utf-8"))
    kept = ("status", "seconds", "classes", "trials", "best", "valid_accuracy", "test_accuracy", "rule_statuses")
    return {"wall_seconds": round(wall, 1), **{name: written[name] for name in kept}}


if __name__ == "__main__":
    main()
