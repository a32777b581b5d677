"""The console that every verb prints to: as wide as the terminal, or wide enough that a line stays a line where there is none."""

import sys

from rich.console import Console

WIDTH = 160


def screen(stderr: bool = False) -> Console:
    """A console for stdout or stderr."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=None if terminal else WIDTH)
