"""Reports that the debugger does not record everything: in the job's log, and beside the tensors.

Runs in training jobs.
"""

from contextlib import suppress
from pathlib import Path

from training.contract import DEGRADED


def warn(problem: str) -> None:
    """Print what is missing."""
    print(f"debugger degraded: {problem}. The training itself is not affected.", flush=True)


def note_degraded(folder: Path | None, problem: str) -> None:
    """Write what is missing to a file beside the tensors, for rules that run in another process. If the disk is full, the log has it."""
    with suppress(OSError):
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(DEGRADED).write_text(" ".join(problem.split()) + "\n", encoding="utf-8", errors="replace")
