"""The charts: what is drawn is where the numbers say. Run: `make test`."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from training.report.svg import (
    HEIGHT,
    LABELS,
    LONGEST_BAR,
    MARGIN,
    WIDTH,
    Bar,
    bar_chart,
    confusion_chart,
    line_chart,
    range_chart,
    reliability_chart,
    stacked_chart,
    threshold_chart,
)

SIDE = HEIGHT - 2 * MARGIN


def bins(filled: dict[int, tuple[int, float, float]], count: int = 15) -> list[dict[str, Any]]:
    """Empty bins but for {number: (photos, confidence, accuracy)}."""
    empty = (0, None, None)
    return [
        {"low": n / count, "high": (n + 1) / count, **dict(zip(("photos", "confidence", "accuracy"), filled.get(n, empty), strict=True))}
        for n in range(count)
    ]


def elements(svg: str, name: str) -> list[dict[str, str]]:
    return [element.attrib for element in ElementTree.fromstring(svg).iter(name)]  # noqa: S314 - our own text


def test_a_bar_is_as_high_as_its_bin_is_right() -> None:
    svg = reliability_chart("a <title>", bins({7: (4, 0.5, 0.25), 14: (16, 0.97, 1.0)}))
    low, high = elements(svg, "rect")
    assert float(low["height"]) == pytest.approx(SIDE * 0.25, abs=0.1)
    assert float(low["y"]) + float(low["height"]) == pytest.approx(HEIGHT - MARGIN, abs=0.1)
    assert float(high["y"]) == pytest.approx(MARGIN, abs=0.1)
    assert [float(dot["cx"]) for dot in elements(svg, "circle")] == pytest.approx([MARGIN + SIDE * 0.5, MARGIN + SIDE * 0.97], abs=0.1)
    assert "16 photos, mean probability 97.0%, accuracy 100.0%" in svg


def test_bins_with_more_photos_are_darker() -> None:
    few, many = elements(reliability_chart("", bins({7: (1, 0.5, 0.5), 8: (9, 0.56, 0.5)})), "rect")
    shades = [float(re.findall(r"[\d.]+", bar["fill"])[-1]) for bar in (few, many)]
    assert shades[0] < shades[1] == 1.0


def test_a_bin_that_is_always_wrong_is_still_seen() -> None:
    (bar,) = elements(reliability_chart("", bins({14: (3, 0.99, 0.0)})), "rect")
    assert float(bar["height"]) >= 1


@pytest.mark.parametrize(
    "lines", [{"train": [1.0]}, {"train": [0.0, 0.0], "valid": [0.0, 0.0]}, {"train": [3.0, 1.0], "valid": [2.0, 1.5]}]
)
def test_lines_stay_within_the_chart(lines: dict[str, list[float]]) -> None:
    for line in elements(line_chart("a", lines, 1), "polyline"):
        for x, y in (map(float, point.split(",")) for point in line["points"].split()):
            assert 0 <= x <= 460
            assert 0 <= y <= HEIGHT


def test_only_what_happened_is_drawn_in_a_confusion_matrix() -> None:
    svg = confusion_chart([[3, 0], [1, 2]], ["a&b", "c"])
    assert len(elements(svg, "rect")) == 3 + 1
    assert "c predicted as a&amp;b: 1" in svg


def test_bars_are_as_long_as_their_values() -> None:
    svg = bar_chart(
        "ms", [Bar("aten::<convolution>", 200.0, "5 calls"), Bar("addmm", 50.0), Bar("a name that is far too long to be read", 0.0)]
    )
    longest, shorter, least = (float(bar["width"]) for bar in elements(svg, "rect"))
    assert (longest, shorter) == (LONGEST_BAR, LONGEST_BAR / 4)
    assert 0 < least < 1, "even nothing is seen"
    assert "aten::&lt;convolution&gt;: 200, 5 calls" in svg
    assert ">a name that is far to…<" in svg


def test_bars_of_percent_end_at_a_hundred() -> None:
    half, over = elements(bar_chart("load", [Bar("core 0", 50.0), Bar("core 1", 130.0)], 100.0), "rect")
    assert (float(half["width"]), float(over["width"])) == (LONGEST_BAR / 2, LONGEST_BAR)


def test_shares_lie_side_by_side_in_their_colours() -> None:
    svg = stacked_chart("steps", {"train": {"data": 0.25, "forward": 0.75}, "eval": {"forward": 1.0}}, {"data": "#111", "forward": "#222"})
    data, forward, no_data, all_of_it = elements(svg, "rect")[:4]
    assert (float(data["x"]), float(data["width"])) == (LABELS, (WIDTH - LABELS) / 4)
    assert float(forward["x"]) == float(data["x"]) + float(data["width"])
    assert (forward["fill"], float(no_data["width"]), float(all_of_it["width"])) == ("#222", 0.0, WIDTH - LABELS)
    assert ">25%<" in svg
    assert len(elements(svg, "rect")) == 6, "and one for each colour's meaning"


def test_a_range_shows_mean_percentile_and_most() -> None:
    svg = range_chart("busy", {"CPU": {"mean": 25.0, "p50": 20.0, "p95": 50.0, "max": 100.0}})
    whole, high, mean, most = elements(svg, "rect")
    assert [float(each["width"]) for each in (whole, high, mean)] == [LONGEST_BAR, LONGEST_BAR / 2, LONGEST_BAR / 4]
    assert float(most["x"]) == LABELS + LONGEST_BAR - 1
    assert "CPU: mean 25.0, p50 20.0, p95 50.0, max 100.0" in svg


def test_a_course_lies_above_its_threshold() -> None:
    svg = threshold_chart("<loss>", {3: 1.5, 5: 3.0, 9: 2.0}, 1.0)
    heights = [float(dot["cy"]) for dot in elements(svg, "circle")]
    line = elements(svg, "line")[0]
    assert (heights[1], float(line["y1"])) == (8.0, 42.0), "the greatest value is on top, the threshold below all"
    assert heights[1] < heights[2] < heights[0] < 42.0
    assert "step 5: 3" in svg


def test_a_course_far_from_its_threshold_is_drawn_by_magnitudes() -> None:
    heights = [float(dot["cy"]) for dot in elements(threshold_chart("", {1: 1e-9, 2: 1e-8}, 1e-7), "circle")]
    assert heights == [42.0, 25.0]


def test_a_course_that_stands_still_is_drawn() -> None:
    assert {float(dot["cy"]) for dot in elements(threshold_chart("", {1: 0.0, 2: 0.0}, 0.0), "circle")} == {42.0}
