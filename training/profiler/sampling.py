"""Starts and ends the sampler's process beside the training.

Runs in training jobs.
"""

import os
import subprocess
import sys
from pathlib import Path

INTERVAL_MS = 500
"""Milliseconds between two samples: the service's default."""

SECONDS_TO_END = 5.0
"""How long the sampler may take to write its last sample."""

REPOSITORY = Path(__file__).resolve().parent.parent.parent
"""Where `training` is imported from."""


class SamplerProcess:
    """`python -m training.profiler.sampler`, which ends when its standard input ends, so also when this process is killed."""

    def __init__(self, folder: Path, node: str = "algo-1", interval_ms: int = INTERVAL_MS, python: str = sys.executable) -> None:
        """Start it; `problem` holds the reason if that fails. `folder`: the profiler's. `node`: the host's name in the job."""
        command = [python, "-m", "training.profiler.sampler", "--folder", str(folder), "--node", node, "--interval-ms", str(interval_ms)]
        paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        self.problem: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        except OSError as error:
            self.problem = f"the machine is not sampled: {error}"

    def finish(self) -> str | None:
        """End the process; return why samples are missing, or None."""
        process = self._process
        if process is None or process.stdin is None:
            return self.problem
        ended_early = process.poll()
        process.stdin.close()
        try:
            status = process.wait(SECONDS_TO_END / 2)
        except subprocess.TimeoutExpired:
            status = self._insist(process)
        if ended_early is not None or status != 0:
            self.problem = f"the machine was not sampled to the end: the sampler's process ended with status {status}"
        return self.problem

    @staticmethod
    def _insist(process: "subprocess.Popen[bytes]") -> int:
        """End a process that does not see the end of its input: a child of the training may still hold the other end."""
        process.terminate()
        try:
            return process.wait(SECONDS_TO_END / 2)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
