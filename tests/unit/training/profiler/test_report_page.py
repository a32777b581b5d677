"""Tests of the profiler's report: the service's sections, charts from what was measured, nothing that needs a network or runs."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.fixtures.training.profiler.planted import BEGIN, EMPTY, job, level, statuses, steps
from training.profiler.advice import advise
from training.profiler.metrics import Metrics, Series
from training.profiler.page_charts import COLUMNS, MOST_ROWS, heat_map, histogram, moment, number, shares_bar, ticks, timeline
from training.profiler.profile import profile
from training.profiler.report_page import NOTHING, render
from training.profiler.rules.profiler_report import ProfilerReport

SECTIONS = (
    "What to change",
    "Training job summary",
    "System usage statistics",
    "Framework metrics summary",
    "Rules summary",
    "Analyzing the training loop: step durations",
    "GPU utilization analysis",
    "Batch size",
    "CPU bottlenecks",
    "I/O bottlenecks",
    "Dataloading analysis",
    "Load balancing",
    "GPU memory analysis",
)
VOID = {"meta", "br", "line", "rect", "circle", "polyline", "polygon"}


class Balance(HTMLParser):
    """Counts what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Opened and closed at once."""

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def page(metrics: Metrics) -> str:
    report, document = ProfilerReport.from_parameters({}), profile(metrics)
    findings = report.judge(metrics)
    return render(metrics, findings, report.rules, document, advise(statuses(findings), document))


GPU_JOB = job(300, gpus={"gpu0": level(5), "gpu1": level(90)}, gpu_memory={"gpu0": lambda times: 20 + times / 5, "gpu1": level(50)})


@pytest.mark.parametrize("metrics", [job(), GPU_JOB, EMPTY, job(2, init=1), replace(job(30), steps={})])
def test_every_page_has_the_services_sections_and_is_whole(metrics: Metrics) -> None:
    text = page(metrics)
    assert tuple(re.findall(r"<h2>(.*?)</h2>", text)) == SECTIONS
    balance = Balance()
    balance.feed(text)
    assert (balance.open, balance.wrong) == ([], [])
    assert "nan" not in re.sub(r"<title>.*?</title>", "", text)


@pytest.mark.parametrize("metrics", [job(), GPU_JOB])
def test_a_page_needs_nothing_beside_it(metrics: Metrics) -> None:
    text = page(metrics)
    assert re.findall(r"<script|<link|<img|src=|href=|url\(|@import|https?:", text) == []


def test_what_was_found_is_said_first_with_what_to_change() -> None:
    text = page(GPU_JOB)
    first = text[text.index("What to change") : text.index("Training job summary")]
    assert first.index('class="warning"') < first.index("The GPU memory in use keeps growing.")
    assert "gpu0&#x27;s memory grew by" in first
    assert "From: profiler rule GPUMemoryIncrease" in first
    assert ".detach()" in first


def test_charts_of_what_was_found_are_drawn() -> None:
    text = page(GPU_JOB)
    assert text.count("<svg") > page(job()).count("<svg")
    after = text[text.index("<h2>GPU memory analysis") :]
    assert "<polyline" in after


def test_a_job_in_which_nothing_was_found_says_so() -> None:
    assert NOTHING in page(job(10, init=1))


def test_what_was_not_measured_is_said() -> None:
    text = page(EMPTY)
    assert "The measurements are incomplete: no sample of the machine and no step was recorded." in text
    assert "The machine was not sampled." in text


def test_names_of_operators_are_escaped() -> None:
    evil = replace(job(), operators=({"name": "<script>alert(1)</script>", "cpu_ms": 1.0, "cuda_ms": 0.0, "calls": 1},))
    assert "<script" not in page(evil)
    assert "&lt;script&gt;" in page(evil)


def test_a_page_of_many_cores_stays_small() -> None:
    cores = {f"cpu{core}": level(50, 30, core) for core in range(96)}
    assert len(page(job(3600, cores=cores)).encode()) < 1_500_000


def rectangles(svg: str) -> int:
    return len(re.findall(r"<rect [^>]*><title>\d+ %</title>", svg))


def test_a_heat_map_has_a_row_a_core_and_puts_neighbours_of_one_shade_together() -> None:
    metrics = job(cores={"cpu0": level(100, 0), "cpu1": lambda times: np.where(times <= 60, 0.0, 100.0)})
    assert rectangles(heat_map("cores", metrics.cores, (BEGIN, BEGIN + 120))) == 1 + 3  # the column in which it changes is one of its own


def test_a_heat_map_of_many_cores_shares_rows() -> None:
    metrics = job(cores={f"cpu{core}": level(50, 0) for core in range(200)})
    assert rectangles(heat_map("cores", metrics.cores, (metrics.started, metrics.ended))) == MOST_ROWS


def test_a_heat_map_of_one_sample_is_drawn() -> None:
    one = {"cpu0": Series(np.array([BEGIN + 1]), np.array([42.0]))}
    assert rectangles(heat_map("cores", one, (BEGIN, BEGIN + 2))) == 1 <= COLUMNS


def test_a_line_of_many_points_is_drawn_with_what_lies_between() -> None:
    metrics = job(600)
    svg = timeline("CPU", {"CPU": metrics.cpu()}, (metrics.started, metrics.ended), metrics.loop, 100)
    assert "<polygon" in svg
    assert len(re.findall(r"\d+\.\d,\d+\.\d", svg.split("<polyline")[1])) == 220


def test_a_histogram_counts_every_value() -> None:
    svg = histogram("steps", {"train": np.array([0.1] * 50 + [0.2] * 49 + [9.0])}, str)
    assert sum(map(int, re.findall(r"<title>train: (\d+) of", svg))) == 100


def test_bars_are_as_long_as_their_shares() -> None:
    svg = shares_bar("phases", {"train": {"data": 0.25, "forward": 0.75}}, {"data": "#111", "forward": "#222"})
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="30"', svg)]
    assert widths[1] / widths[0] == pytest.approx(3, abs=0.01)


def test_numbers_and_times_are_short() -> None:
    assert [number(value) for value in (0, 3.14159, 22_100_000, 1234)] == ["0", "3.14", "22.1M", "1.23k"]
    assert [moment(value) for value in (0, 2.5, 60, 90, 7200)] == ["0 s", "2.5 s", "1 min", "90 s", "2 h"]


@pytest.mark.parametrize("span", [0.002, 0.7, 3, 61, 420, 5000, 90000])
def test_ticks_are_few_and_round(span: float) -> None:
    found = ticks(0.0, span)
    assert 2 <= len(found) <= 9
    assert found[0] == 0
    assert found[-1] <= span * 1.0001


def test_steps_of_both_modes_are_shown() -> None:
    metrics = job()
    both = replace(metrics, steps={**metrics.steps, "eval": steps(np.full(40, 0.2), BEGIN + 20)})
    text = page(both)
    assert "Duration of train steps" in text
    assert "Duration of eval steps" in text
