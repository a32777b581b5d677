"""The demo's preparations as a short list with progress, results and durations. Used by `cli.demo.main`."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.executions.watch_view import DURATION_WIDTH, MARKS, format_duration

Result = TypeVar("Result")
WIDTH = 58
"""Characters of a step's message."""


@dataclass
class Step:
    """One line of the list."""

    name: str
    began: float
    said: str = ""
    status: str = "running"
    seconds: float = 0.0


class Steps:
    """A list of steps, some in parallel: live on a terminal, one line per finished step elsewhere. A context manager."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        """Start an empty list on a console."""
        self._console, self._now = console, now
        self._steps: list[Step] = []
        self._lock = threading.Lock()
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self.picture) if console.is_terminal else None

    def __enter__(self) -> Self:
        """Show the list."""
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop updating the list and leave it on the screen."""
        if self._live:
            self._live.stop()

    def run(self, name: str, work: Callable[[Callable[[str], None]], Result], done: Callable[[Result], str]) -> Result:
        """Run the work, which may report progress; `done` formats the result. Thread-safe."""
        step = Step(name, self._now())
        with self._lock:
            self._steps.append(step)

        def say(line: str) -> None:
            step.said = line

        try:
            result = work(say)
            step.said, step.status = done(result), "succeeded"
            return result
        except BaseException:
            step.status = "failed"
            raise
        finally:
            step.seconds = self._now() - step.began
            if self._live is None:
                self._console.print(self._line(step), soft_wrap=True)

    def picture(self) -> RenderableType:
        """The list now."""
        with self._lock:
            return Group(*(self._line(step) for step in self._steps))

    def _line(self, step: Step) -> Text:
        mark, style = MARKS[step.status]
        said = step.said if len(step.said) <= WIDTH else step.said[: WIDTH - 1] + "…"
        spent = format_duration(step.seconds or self._now() - step.began).rjust(DURATION_WIDTH)
        name_style = "bold" if step.status == "running" else ""
        return Text.assemble("  ", (mark, style), " ", (f"{step.name:<12}", name_style), (f"{said:<{WIDTH}}", "dim"), (spent, "dim"))
