"""One window of a few training steps in which torch.profiler records every operator, on the CPU and on a GPU.

Runs in training jobs. Below the profiler's folder: framework/torch-profiler/operators.json, the time of each operator, and trace.json.gz,
for chrome://tracing and https://ui.perfetto.dev.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

BEGINS_AFTER = 2
"""Training steps before the window: the first ones build caches and choose algorithms, so they are not typical."""

STEPS = 3
"""Training steps in the window."""

QUIET = "99"
"""Log level at which torch's recorder writes no lines when it begins and ends."""

MOST_OPERATORS = 100
"""Rows of the table: the longest operators."""


class TorchWindow:
    """Opens after a few training steps and closes a few steps later."""

    def __init__(self, folder: Path, device: str) -> None:
        """`folder`: the profiler's. `device`: "cpu" or "cuda"."""
        self.folder, self.device = folder / "framework" / "torch-profiler", device
        self._seen, self._recorder = 0, None  # type: tuple[int, Any]
        self.is_over = False

    def step(self) -> None:
        """Record the end of a training step."""
        self._seen += 1
        if self._seen == BEGINS_AFTER:
            os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)
            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (self.device == "cuda")
            self._recorder = profile(activities=activities)
            self._recorder.start()
        elif self._seen == BEGINS_AFTER + STEPS:
            self.close()

    def close(self) -> None:
        """End the window, also an incomplete one, and write its operators, if any.

        Raises:
            OSError: it could not be written.
        """
        recorder, self._recorder, self.is_over = self._recorder, None, True
        if recorder is None:
            return
        recorder.stop()
        steps = self._seen - BEGINS_AFTER
        if steps:
            self.folder.mkdir(parents=True, exist_ok=True)
            written = {"device": self.device, "steps": steps, "operators": operators(recorder.key_averages())}
            (self.folder / "operators.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
            recorder.export_chrome_trace(str(self.folder / "trace.json.gz"))


def operators(averages: Any) -> list[dict[str, Any]]:
    """Return {"name", "cpu_ms", "cuda_ms", "calls"} of the operators with the longest time of their own, without called operators."""
    rows = [
        {
            "name": row.key,
            "cpu_ms": round(row.self_cpu_time_total / 1000, 3),
            "cuda_ms": round(row.self_device_time_total / 1000, 3),
            "calls": row.count,
        }
        for row in averages
    ]
    return sorted(rows, key=lambda row: row["cpu_ms"] + row["cuda_ms"], reverse=True)[:MOST_OPERATORS]


def synchroniser(device: torch.device) -> Any:
    """Return a function that waits until the device has finished its work; None for the CPU, which computes synchronously."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else None
