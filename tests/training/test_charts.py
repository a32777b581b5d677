"""The charts: what is drawn is where the numbers say. Run: `make test`."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from training.charts import HEIGHT, MARGIN, confusion_chart, line_chart, reliability_chart

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
    assert "16 photos, 97.0% sure, 100.0% right" in svg


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
    assert "c called a&amp;b: 1" in svg
