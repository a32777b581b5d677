"""Tables and numbers of the report page as HTML; all text from the data is escaped.

Runs in the final training job.
"""

from collections.abc import Iterable, Sequence
from html import escape

MAX_ROWS = 100
"""Rows shown of a table that grows with the number of photos; the JSON files hold all rows."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with right-aligned numbers."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{names}</tr>{body}</table></div>'


def listed(head: Sequence[str], rows: Sequence[Sequence[object]], file: str) -> str:
    """Return a table of the first MAX_ROWS rows, and the file that lists the rest."""
    more = f"<p>And {len(rows) - MAX_ROWS:,} more: see {escape(file)}.</p>" if len(rows) > MAX_ROWS else ""
    return table(head, rows[:MAX_ROWS]) + more


def share(value: float | None) -> str:
    """Return a fraction with three decimals; a dash for None."""
    return "–" if value is None else f"{value:.3f}"  # noqa: RUF001 - the dash of an empty cell


def percent(value: float) -> str:
    """Return a fraction in percent."""
    return f"{value:.1%}"


def _cell(value: object) -> str:
    text = str(value)
    number = isinstance(value, int) or text.rstrip("%").replace(".", "", 1).isdigit()
    kind = ' class="number"' if number else ""
    return f"<td{kind}>{escape(text)}</td>"
