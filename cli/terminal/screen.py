"""The console that every verb prints to: as wide as the terminal, or 160 columns without one."""

import sys

from rich.console import Console

WIDTH = 160


def open_console(stderr: bool = False) -> Console:
    """Open a console for stdout or stderr."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=None if terminal else WIDTH)
