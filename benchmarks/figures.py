"""The figures that results are made of, and the table that shows them. Used by the scripts beside it."""

import statistics
from collections.abc import Sequence

median = statistics.median


def mean_and_spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation; of one value alone the latter is 0."""
    return {"mean": round(statistics.mean(values), 6), "std": round(statistics.stdev(values) if len(values) > 1 else 0.0, 6)}


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
