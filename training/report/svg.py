"""Charts as inline SVG: lines over epochs, bars, a reliability diagram and a confusion matrix. No script, no extra file.

Runs in the final training job, and wherever a page is made.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 460, 240, 44
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Distinguishable with colour blindness."""

MAX_DRAWN = 150
"""Classes up to which a confusion matrix is drawn."""


def line_chart(title: str, lines: Mapping[str, Sequence[float]], marked: int) -> str:
    """Return an SVG of values over epochs 1..n; `marked`: the epoch to mark."""
    values = [value for line in lines.values() for value in line]
    low, high = min(0.0, *values), max(values) or 1.0
    epochs = max(len(line) for line in lines.values())

    def x(epoch: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (epoch - 1) / max(1, epochs - 1)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - low) / ((high - low) or 1.0)

    parts = [_grid(low, high, y), _epoch_labels(epochs, x)]
    parts.append(f'<line x1="{x(marked):.1f}" x2="{x(marked):.1f}" y1="{MARGIN}" y2="{HEIGHT - MARGIN}" class="mark"/>')
    parts.append(f'<text x="{x(marked):.1f}" y="{MARGIN - 6}" text-anchor="middle">best: {marked}</text>')
    for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
        points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in enumerate(line, start=1))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        position = MARGIN + 90 * list(lines).index(name)
        parts.append(f'<text x="{position}" y="{HEIGHT - 6}" fill="{colour}" font-weight="bold">{escape(name)}</text>')
    parts.append(f'<text x="{MARGIN}" y="16">{escape(title)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def reliability_chart(title: str, bins: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG of accuracy over confidence: a bar for each bin that has photos, and the line of perfect calibration.

    `bins`: {"low", "high", "photos", "confidence", "accuracy"} each.
    """
    side = HEIGHT - 2 * MARGIN

    def x(value: float) -> float:
        return MARGIN + side * value

    def y(value: float) -> float:
        return HEIGHT - MARGIN - side * value

    most = max(entry["photos"] for entry in bins)
    parts = [_grid(0.0, 1.0, y, right=x(1.0))]
    for entry in bins:
        if entry["photos"]:  # an empty bin has no height
            said = f"{entry['photos']} photos, mean probability {entry['confidence']:.1%}, accuracy {entry['accuracy']:.1%}"
            shade = 0.25 + 0.75 * entry["photos"] / most
            box = f'x="{x(entry["low"]) + 0.5:.1f}" y="{y(entry["accuracy"]):.1f}" height="{max(1.0, side * entry["accuracy"]):.1f}"'
            width = side * (entry["high"] - entry["low"]) - 1
            parts.append(f'<rect {box} width="{width:.1f}" fill="rgba(0,114,178,{shade:.2f})"><title>{said}</title></rect>')
            middle = x(entry["confidence"])
            parts.append(f'<circle cx="{middle:.1f}" cy="{y(entry["accuracy"]):.1f}" r="2.5" fill="#d55e00"/>')
    parts.append(f'<line x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}" class="mark"/>')
    parts.extend(f'<text x="{x(v):.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{v:.2f}</text>' for v in (0, 0.25, 0.5, 0.75, 1))
    parts.append(f'<text x="{MARGIN}" y="16">{escape(title)}</text>')
    width = side + 2 * MARGIN
    return f'<svg class="half" viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def confusion_chart(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Return an SVG heat map: rows are labels, columns are predictions; counts are written where they fit.

    For at most MAX_DRAWN classes: with more the cells would be too small.
    """
    size = len(classes)
    cell = max(4.0, min(44.0, 640.0 / size))
    left = 130.0 if size <= 40 else 10.0
    side = left + cell * size + 10
    parts = [f'<rect x="{left:.1f}" y="{left:.1f}" width="{cell * size:.1f}" height="{cell * size:.1f}" fill="#fff" stroke="#ddd"/>']
    for row, counts in enumerate(matrix):
        for column, count in enumerate(counts):
            if count:  # most are zero
                title = f"{classes[row]} predicted as {classes[column]}: {count}"
                parts.append(_cell(left + column * cell, left + row * cell, cell, count, count / sum(counts), title))
        if size <= 40:
            name = escape(_shortened(classes[row]))
            middle = left + (row + 0.65) * cell
            parts.append(f'<text x="{left - 6:.0f}" y="{middle:.1f}" text-anchor="end">{name}</text>')
            parts.append(f'<text transform="translate({middle:.1f},{left - 6:.0f}) rotate(-60)">{name}</text>')
    size_and_name = f'viewBox="0 0 {side:.0f} {side:.0f}" style="max-width:{side:.0f}px" role="img" aria-label="confusion matrix"'
    return f"<svg {size_and_name}>{''.join(parts)}</svg>"


def _cell(x: float, y: float, side: float, count: int, share: float, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}"'
    rectangle = f'<rect {place} fill="rgba(0,114,178,{share:.2f})" stroke="#ddd"><title>{escape(title)}</title></rect>'
    if side < 16:
        return rectangle
    colour = "#fff" if share > 0.5 else "#222"
    return f'{rectangle}<text x="{x + side / 2:.1f}" y="{y + side / 2 + 4:.1f}" text-anchor="middle" fill="{colour}">{count}</text>'


def _shortened(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _grid(low: float, high: float, y: Callable[[float], float], right: float = WIDTH - MARGIN) -> str:
    lines = []
    for step in range(5):
        value = low + (high - low) * step / 4
        lines.append(f'<line x1="{MARGIN}" x2="{right:.0f}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="grid"/>')
        lines.append(f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    return "".join(lines)


def _epoch_labels(epochs: int, x: Callable[[float], float]) -> str:
    numbers = sorted({1, epochs, *range(5, epochs, max(5, epochs // 4))})
    return "".join(f'<text x="{x(number):.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{number}</text>' for number in numbers)


ROW, LABELS, TOP = 22, 150, 28
"""Height of a bar with its gap, width of the names, height of the title."""
LONGEST_BAR = WIDTH - LABELS - 46
"""Leaves room for the number after the bar."""


@dataclass(frozen=True)
class Bar:
    """One bar of a chart."""

    name: str
    value: float
    said: str = ""
    """Tooltip."""


def bar_chart(title: str, bars: Sequence[Bar], full: float | None = None) -> str:
    """Return an SVG of horizontal bars with their values; `full`: the value of the whole width, by default the longest bar's."""
    whole = full or max(bar.value for bar in bars) or 1.0
    parts = []
    for row, bar in enumerate(bars):
        width = max(0.5, LONGEST_BAR * min(1.0, bar.value / whole))
        said = f"{bar.name}: {bar.value:.4g}" + (f", {bar.said}" if bar.said else "")
        parts += [_name(row, bar.name), _box(row, LABELS, width, COLOURS[0], said)]
        parts.append(_text(row, LABELS + width + 5, f"{bar.value:.0f}" if bar.value >= 100 else f"{bar.value:.1f}"))
    return _rows_of(title, len(bars), parts)


def stacked_chart(title: str, bars: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]) -> str:
    """Return an SVG of bars divided into shares, one colour for each share, with a legend."""
    parts = []
    for row, (name, shares) in enumerate(bars.items()):
        parts.append(_name(row, name))
        left = float(LABELS)
        for share, colour in colours.items():
            width = (WIDTH - LABELS) * shares.get(share, 0.0)
            parts.append(_box(row, left, width, colour, f"{share}: {shares.get(share, 0.0):.1%}"))
            if width > 34:
                parts.append(_text(row, left + width / 2 - 10, f"{shares[share]:.0%}", "#fff"))
            left += width
    for place, (share, colour) in enumerate(colours.items()):
        left, below = LABELS - 100 + 72 * place, len(bars)
        parts += [_box(below, left, 10, colour, share), _text(below, left + 14, share)]
    return _rows_of(title, len(bars) + 1, parts)


def range_chart(title: str, ranges: Mapping[str, Mapping[str, float]]) -> str:
    """Return an SVG of percentages: a bar to the mean, a paler bar to the 95th percentile, a line at the maximum."""
    parts = []
    for row, (name, values) in enumerate(ranges.items()):
        mean, high, most = (LONGEST_BAR * min(100.0, values.get(key, 0.0)) / 100 for key in ("mean", "p95", "max"))
        said = f"{name}: " + ", ".join(f"{key} {values[key]:.1f}" for key in ("mean", "p50", "p95", "p99", "max") if key in values)
        colours = ((LONGEST_BAR, "#f0f0f0"), (high, "#a8cfe8"), (mean, COLOURS[0]))
        parts += [_name(row, name), *(_box(row, LABELS, width, colour, said) for width, colour in colours)]
        parts += [_box(row, LABELS + most - 1, 2, COLOURS[1], said), _text(row, WIDTH - 40, f"{values['mean']:.0f}")]
    parts.append(_text(len(ranges), LABELS, "blue: mean; pale: 95th percentile; red: maximum", "#555"))
    return _rows_of(title, len(ranges) + 1, parts)


def _box(row: int, left: float, width: float, colour: str, said: str) -> str:
    place = f'x="{left:.1f}" y="{TOP + row * ROW}" width="{width:.1f}" height="{ROW - 8}"'
    return f'<rect {place} fill="{colour}"><title>{escape(said)}</title></rect>'


def _text(row: int, left: float, text: str, colour: str = "#222") -> str:
    return f'<text x="{left:.1f}" y="{TOP + row * ROW + 11}" fill="{colour}">{escape(text)}</text>'


def _name(row: int, name: str) -> str:
    short = name if len(name) <= 22 else f"{name[:21]}…"
    return f'<text x="{LABELS - 6}" y="{TOP + row * ROW + 11}" text-anchor="end"><title>{escape(name)}</title>{escape(short)}</text>'


def _rows_of(title: str, rows: int, parts: Sequence[str]) -> str:
    name = f'<text x="{MARGIN}" y="16">{escape(title)}</text>'
    size = f'viewBox="0 0 {WIDTH} {TOP + rows * ROW}" role="img" aria-label="{escape(title)}"'
    return f"<svg {size}>{name}{''.join(parts)}</svg>"


def threshold_chart(title: str, values: Mapping[int, float], threshold: float) -> str:
    """Return a small SVG of values over steps with their threshold; on a logarithmic scale if they are far apart."""
    every = [*values.values(), threshold]
    far = min(every) > 0 and max(every) > 50 * min(every)
    heights = {step: math.log10(value) if far else value for step, value in values.items()}
    limit = math.log10(threshold) if far else threshold
    low, high = min(*heights.values(), limit), max(*heights.values(), limit)
    first, last = min(values), max(values)

    def x(step: float) -> float:
        return 8 + 184 * (step - first) / ((last - first) or 1)

    def y(height: float) -> float:
        return 42 - 34 * (height - low) / ((high - low) or 1.0)

    points = " ".join(f"{x(step):.1f},{y(height):.1f}" for step, height in heights.items())
    dots = "".join(
        f'<circle cx="{x(step):.1f}" cy="{y(height):.1f}" r="2.5"><title>step {step}: {values[step]:.4g}</title></circle>'
        for step, height in heights.items()
    )
    return (
        f'<svg class="small" viewBox="0 0 300 60" role="img" aria-label="{escape(title)}">'
        f'<line x1="4" x2="196" y1="{y(limit):.1f}" y2="{y(limit):.1f}" class="mark"/>'
        f'<text x="202" y="{y(limit) + 4:.1f}">threshold {threshold:.3g}</text>'
        f'<polyline points="{points}" fill="none" stroke="{COLOURS[1]}"/><g fill="{COLOURS[1]}">{dots}</g>'
        f'<text x="8" y="57">step {first}</text><text x="192" y="57" text-anchor="end">{last}</text></svg>'
    )
