"""Charts of a job over time as inline SVG: timelines, a heat map of cores, histograms, bars of phases. No script.

Runs in training jobs after the training. All texts are escaped; times are seconds since the first measurement.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise

import numpy as np

from training.profiler.metrics import Floats, Series

WIDTH, HEIGHT = 900, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 22, 30, 26
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#666666")
"""Distinguishable with colour blindness."""

PHASE_COLOURS = {
    "data": "#d55e00",
    "forward": "#56b4e9",
    "backward": "#0072b2",
    "optimizer": "#009e73",
    "save": "#cc79a7",
    "rest": "#999999",
}
BUCKETS = 220
"""Points of a line; more would not be distinguishable."""

COLUMNS = 110
"""Columns of a heat map."""

MOST_ROWS = 64
"""Rows of a heat map: with more cores, neighbours share a row."""

SHADES = ("#eef3f8", "#d3e3f1", "#b3d1e8", "#8bbbdc", "#62a2cd", "#3f87bb", "#256ca5", "#12528c", "#083a70", "#052852")
"""From 0 to 100 percent."""


def number(value: float) -> str:
    """Return a value with three digits and a unit prefix."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return a duration in a suitable unit."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def moment(seconds: float) -> str:
    """Return the axis label of a time since the begin."""
    if seconds >= 60 and seconds % 60 == 0 and seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.3g} h" if seconds >= 7200 else f"{seconds:.3g} s"


def ticks(low: float, high: float) -> list[float]:
    """Return round values between two, four to eight of them: multiples of 1, 2 or 5, of minutes and hours where times are long."""
    span = (high - low) or 1.0
    power = 10.0 ** np.floor(np.log10(span / 8))
    steps = [power * factor for factor in (1, 2, 5, 10)] + [20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 36000]
    step = min((step for step in steps if span / step <= 8), key=lambda step: (step % 30 > 0 and span > 120, step))
    return [float(place * step) for place in range(int(np.ceil(low / step)), int(np.floor(high / step + 1e-9)) + 1)]


class Frame:
    """The coordinates of a chart, with its title, axes and legend."""

    def __init__(self, title: str, x: tuple[float, float], y: tuple[float, float], height: int = HEIGHT) -> None:
        """`x`, `y`: the values at the ends of the axes."""
        self.title, self.height = title, height
        self._x, self._y = x, (y[0], y[1] if y[1] > y[0] else y[0] + 1.0)
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        """Return the x coordinate of a value."""
        share = (value - self._x[0]) / ((self._x[1] - self._x[0]) or 1.0)
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, share))

    def y(self, value: float) -> float:
        """Return the y coordinate of a value."""
        share = (value - self._y[0]) / (self._y[1] - self._y[0])
        return self.height - BOTTOM - (self.height - TOP - BOTTOM) * min(1.0, max(0.0, share))

    def axes(self, x_text: Callable[[float], str], y_text: Callable[[float], str], lines: int = 4) -> None:
        """Draw grid lines and axis labels."""
        for step in range(lines + 1):
            value = self._y[0] + (self._y[1] - self._y[0]) * step / lines
            self.parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}" class="grid"/>')
            self.parts.append(f'<text x="{LEFT - 6}" y="{self.y(value) + 4:.1f}" text-anchor="end">{escape(y_text(value))}</text>')
        for value in ticks(*self._x):
            self.parts.append(f'<text x="{self.x(value):.1f}" y="{self.height - 8}" text-anchor="middle">{escape(x_text(value))}</text>')

    def legend(self, names: Mapping[str, str]) -> None:
        """Write the legend to the right of the title."""
        place = float(WIDTH - RIGHT)
        for name, colour in reversed(list(names.items())):
            self.parts.append(f'<text x="{place:.0f}" y="16" text-anchor="end" fill="{colour}" font-weight="600">{escape(name)}</text>')
            place -= 7.2 * len(name) + 16

    def mark(self, value: float, text: str = "", anchor: str = "start") -> None:
        """Draw a dashed vertical line at a value of x."""
        x = self.x(value)
        self.parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{self.height - BOTTOM}" class="mark"/>')
        if text:
            offset = 4 if anchor == "start" else -4
            self.parts.append(f'<text x="{x + offset:.1f}" y="{TOP + 6}" text-anchor="{anchor}" class="said">{escape(text)}</text>')

    def svg(self) -> str:
        """Return the chart."""
        title = f'<text x="{LEFT}" y="16" class="title">{escape(self.title)}</text>'
        opening = f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(self.title)}">'
        return f"{opening}{''.join(self.parts)}{title}</svg>"


def timeline(
    title: str, lines: Mapping[str, Series], span: tuple[float, float], loop: tuple[float, float] | None, top: float | None = None
) -> str:
    """Return lines over the job's time: means, with a band from minimum to maximum where a point combines several samples.

    Args:
        title: with the unit.
        lines: name -> values; at most as many as there are COLOURS.
        span: begin and end of the job, seconds since the epoch.
        loop: begin and end of the training loop, marked.
        top: the value at the upper end; None takes the highest.
    """
    shown = dict(list(lines.items())[: len(COLOURS)])
    highest = max((float(values.values.max()) for values in shown.values() if len(values)), default=0.0)
    frame = Frame(title, (0.0, span[1] - span[0]), (0.0, top or highest * 1.05 or 1.0))
    _shade(frame, span, loop)
    frame.axes(moment, number)
    for (name, values), colour in zip(shown.items(), COLOURS, strict=False):
        frame.parts += _line(frame, name, values, span[0], colour)
    frame.legend(dict(zip(shown, COLOURS, strict=False)))
    return frame.svg()


def _shade(frame: Frame, span: tuple[float, float], loop: tuple[float, float] | None) -> None:
    """Grey out the time outside of the training loop."""
    if not loop:
        return
    for begin, end in ((0.0, loop[0] - span[0]), (loop[1] - span[0], span[1] - span[0])):
        left, right = frame.x(begin), frame.x(end)
        if right - left > 0.5:
            size = f'width="{right - left:.1f}" height="{frame.height - TOP - BOTTOM}"'
            frame.parts.append(f'<rect x="{left:.1f}" y="{TOP}" {size} class="outside"/>')


def _line(frame: Frame, name: str, values: Series, origin: float, colour: str) -> list[str]:
    if not len(values):
        return []
    parts = np.array_split(np.arange(len(values)), min(BUCKETS, len(values)))
    places = [frame.x(float(values.times[part].mean()) - origin) for part in parts]
    means, least, most = ([float(kind(values.values[part])) for part in parts] for kind in (np.mean, np.min, np.max))
    drawn = []
    if len(values) > BUCKETS:
        up = [f"{x:.1f},{frame.y(value):.1f}" for x, value in zip(places, most, strict=True)]
        down = [f"{x:.1f},{frame.y(value):.1f}" for x, value in zip(places, least, strict=True)]
        drawn.append(f'<polygon points="{" ".join(up + down[::-1])}" fill="{colour}" opacity="0.18"/>')
    points = " ".join(f"{x:.1f},{frame.y(value):.1f}" for x, value in zip(places, means, strict=True))
    said = f"<title>{escape(name)}: mean {number(float(values.values.mean()))}, at most {number(float(values.values.max()))}</title>"
    if len(parts) == 1:
        return [f'<circle cx="{places[0]:.1f}" cy="{frame.y(means[0]):.1f}" r="3" fill="{colour}">{said}</circle>']
    return [*drawn, f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6">{said}</polyline>']


def heat_map(title: str, rows: Mapping[str, Series], span: tuple[float, float], loop: tuple[float, float] | None = None) -> str:
    """Return a row per core and a column per period, darker if busier; more than MOST_ROWS cores share rows, as means."""
    groups = np.array_split(np.arange(len(rows)), min(MOST_ROWS, len(rows)))
    names, series = list(rows), list(rows.values())
    size = max(5.0, min(24.0, 380.0 / max(1, len(groups))))
    height = int(TOP + BOTTOM + size * len(groups))
    frame = Frame(title, (0.0, span[1] - span[0]), (0.0, 1.0), height)
    edges = np.linspace(span[0], span[1], COLUMNS + 1)
    for place, group in enumerate(groups):
        values = np.nanmean([_columns(series[member], edges) for member in group], axis=0)
        top = TOP + place * size
        frame.parts += _cells(values, frame, top, size, edges - span[0])
        if size >= 11 or place % 4 == 0:
            frame.parts.append(f'<text x="{LEFT - 6}" y="{top + size / 2 + 4:.1f}" text-anchor="end">{escape(names[group[0]])}</text>')
    for value in ticks(0.0, span[1] - span[0]):
        frame.parts.append(f'<text x="{frame.x(value):.1f}" y="{height - 8}" text-anchor="middle">{moment(value)}</text>')
    for end in loop or ():
        frame.mark(end - span[0])
    frame.parts += _scale()
    return frame.svg()


def _columns(values: Series, edges: Floats) -> Floats:
    """Return the mean of the samples of each column; a column without a sample has the value of the sample before it."""
    places = np.searchsorted(values.times, edges)
    found: Floats = np.array(
        [
            values.values[begin:end].mean() if end > begin else values.values[min(max(begin - 1, 0), len(values) - 1)]
            for begin, end in pairwise(places)
        ]
    )
    return found


def _cells(values: Floats, frame: Frame, top: float, size: float, edges: Floats) -> list[str]:
    """Return rectangles; neighbours of the same shade are joined."""
    shades = np.clip(values / 10, 0, len(SHADES) - 1).astype(int)
    begins = [0, *(int(place) + 1 for place in np.flatnonzero(np.diff(shades))), len(shades)]
    drawn = []
    for begin, end in pairwise(begins):
        left, right = frame.x(float(edges[begin])), frame.x(float(edges[end]))
        box = f'x="{left:.1f}" y="{top:.1f}" width="{right - left + 0.3:.1f}" height="{size - 0.6:.1f}"'
        drawn.append(f'<rect {box} fill="{SHADES[shades[begin]]}"><title>{values[begin:end].mean():.0f} %</title></rect>')
    return drawn


def _scale() -> list[str]:
    left = WIDTH - RIGHT - 16 * len(SHADES) - 44
    boxes = [f'<rect x="{left + 16 * place}" y="7" width="16" height="10" fill="{shade}"/>' for place, shade in enumerate(SHADES)]
    low = f'<text x="{left - 6}" y="16" text-anchor="end">0 %</text>'
    return [low, *boxes, f'<text x="{left + 16 * len(SHADES) + 6}" y="16">100 %</text>']


def histogram(title: str, groups: Mapping[str, Floats], text: Callable[[float], str], marks: Mapping[str, float] | None = None) -> str:
    """Return a histogram; values above three times the 95th percentile are in the last bar.

    Args:
        title: with the unit.
        groups: name -> values, beside one another.
        text: how a value is written.
        marks: name -> value to point at.
    """
    every = np.concatenate(list(groups.values()))
    low, high = float(every.min()), float(min(every.max(), 3 * np.percentile(every, 95)))
    high = high if high > low else low + max(abs(low), 1e-6)
    edges = np.linspace(low, high, 41)
    counts = {name: np.histogram(np.minimum(values, high), edges)[0] for name, values in groups.items()}
    frame = Frame(title, (low, high), (0.0, float(max(of.max() for of in counts.values()))))
    frame.axes(text, number)
    width = (frame.x(float(edges[1])) - frame.x(low)) / len(groups)
    for place, ((name, of), colour) in enumerate(zip(counts.items(), COLOURS, strict=False)):
        for count, left, right in zip(of, edges[:-1], edges[1:], strict=True):
            if count:
                top = frame.y(float(count))
                box = f'x="{frame.x(float(left)) + place * width:.1f}" y="{top:.1f}" width="{max(1.0, width - 1):.1f}"'
                said = f"{escape(name)}: {count} of {text(float(left))} to {text(float(right))}"
                tall = frame.height - BOTTOM - top
                frame.parts.append(f'<rect {box} height="{tall:.1f}" fill="{colour}"><title>{said}</title></rect>')
    for said, value in (marks or {}).items():
        frame.mark(value, said, "end" if frame.x(value) > WIDTH * 0.8 else "start")
    frame.legend(dict(zip(groups, COLOURS, strict=False)))
    return frame.svg()


def step_course(title: str, groups: Mapping[str, tuple[Floats, Floats]], span: tuple[float, float], loop: tuple[float, float]) -> str:
    """Return a point per step, its duration over its start; `groups`: name -> (starts in seconds since the epoch, seconds)."""
    highest = max(float(seconds.max()) for _, seconds in groups.values())
    frame = Frame(title, (0.0, span[1] - span[0]), (0.0, highest * 1.05))
    _shade(frame, span, loop)
    frame.axes(moment, lambda value: duration(value) if value else "0")
    for (name, (starts, seconds)), colour in zip(groups.items(), COLOURS, strict=False):
        for part in np.array_split(np.arange(len(starts)), min(3 * BUCKETS, len(starts))):
            place = part[int(np.argmax(seconds[part]))]
            x, y = frame.x(float(starts[place]) - span[0]), frame.y(float(seconds[place]))
            said = f"<title>{escape(name)} step, {duration(float(seconds[place]))}</title>"
            frame.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}" opacity="0.7">{said}</circle>')
    frame.legend(dict(zip(groups, COLOURS, strict=False)))
    return frame.svg()


def shares_bar(title: str, bars: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]) -> str:
    """Return a bar per row, divided into parts that add up to one; parts of a row: name -> share."""
    tall = 30
    height = TOP + (tall + 8) * len(bars) + 24
    frame = Frame(title, (0.0, 1.0), (0.0, 1.0), height)
    used: dict[str, str] = {}
    for row, (name, shares) in enumerate(bars.items()):
        top, left = TOP + row * (tall + 8), 0.0
        frame.parts.append(f'<text x="{LEFT - 6}" y="{top + tall / 2 + 4}" text-anchor="end">{escape(name)}</text>')
        for part, share in shares.items():
            begin, end = frame.x(left), frame.x(left + share)
            left += share
            if end - begin < 0.3:
                continue
            used[part] = colours[part]
            said = f"<title>{escape(part)}: {share:.1%}</title>"
            box = f'x="{begin:.1f}" y="{top}" width="{end - begin:.1f}" height="{tall}" fill="{colours[part]}"'
            frame.parts.append(f"<rect {box}>{said}</rect>")
            if end - begin > 46:
                middle = (begin + end) / 2
                frame.parts.append(
                    f'<text x="{middle:.1f}" y="{top + tall / 2 + 4}" text-anchor="middle" fill="#fff">{100 * share:.0f} %</text>'
                )
    place = float(LEFT)
    for part in [part for part in colours if part in used]:
        frame.parts.append(f'<rect x="{place:.0f}" y="{height - 17}" width="11" height="11" fill="{used[part]}"/>')
        frame.parts.append(f'<text x="{place + 16:.0f}" y="{height - 8}">{escape(part)}</text>')
        place += 7.0 * len(part) + 40
    return frame.svg()


def rows_chart(title: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """Return horizontal bars: (name, value, text after the bar)."""
    tall, left = 19, 270
    height = TOP + (tall + 3) * len(bars) + 8
    most = max((value for _, value, _ in bars), default=0.0) or 1.0
    frame = Frame(title, (0.0, 1.0), (0.0, 1.0), height)
    for row, (name, value, said) in enumerate(bars):
        top, width = TOP + row * (tall + 3), (WIDTH - left - 190) * value / most
        short = name if len(name) <= 38 else f"{name[:37]}…"
        frame.parts.append(f'<text x="{left - 8}" y="{top + 14}" text-anchor="end">{escape(short)}</text>')
        frame.parts.append(f'<rect x="{left}" y="{top}" width="{max(1.0, width):.1f}" height="{tall}" fill="{COLOURS[0]}"/>')
        frame.parts.append(f'<text x="{left + width + 8:.1f}" y="{top + 14}">{escape(said)}</text>')
    return frame.svg()
