"""One profile, one finding: the training report and the profiler report show the same severity, words and cure. Run: `make test`."""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from html import unescape
from typing import Any

import numpy as np
import pytest

from tests.fixtures.training.documents import GOOD_HISTORY, debug_rules, evaluation
from tests.fixtures.training.profiler.planted import BEGIN, EMPTY, PHASES, job, level, statuses
from training.contract.rules import PROFILER_RULES
from training.profiler.advice import advise
from training.profiler.advice_table import TABLE
from training.profiler.metrics import Metrics, Series
from training.profiler.profile import profile
from training.profiler.report_page import render
from training.profiler.rules.profiler_report import ProfilerReport
from training.report.insights.rank import insights
from training.report.page.insights import insight_cards
from training.rule_evaluation.insight import Insight

STARVED = {"data": 0.8, "forward": 0.06, "backward": 0.1, "optimizer": 0.03, "rest": 0.01}
BUSY, IDLE = {"gpu0": level(90)}, {"gpu0": level(5)}
SAVING = {**PHASES, "save": 0.3, "backward": 0.1}
"""Computes for less than 0.6 of a step."""
LEAK = {"gpu0": lambda times: 20 + times / 5}
SLOW_STEPS = np.where(np.arange(1200) % 20, 0.1, 1.0)
CORES = {f"cpu{core}": level(15) for core in range(8)}
ONE_CORE = {"cpu0": level(99, 0.5)} | {f"cpu{number}": level(6, 3, number) for number in range(1, 8)}


def with_full_memory(metrics: Metrics) -> Metrics:
    return replace(metrics, memory=Series(metrics.memory.times, metrics.memory.values + 55))


def with_pauses(metrics: Metrics) -> Metrics:
    train = metrics.steps["train"]
    return replace(metrics, steps={"train": replace(train, starts=train.starts + np.arange(len(train)) // 50 * 5)})


def with_saving_between(metrics: Metrics) -> Metrics:
    return replace(metrics, between=((BEGIN + 10, 30.0),))


PLANTED: Mapping[str, tuple[Metrics, list[tuple[str, str]]]] = {
    "nothing wrong on a GPU": (job(300, gpus=BUSY), []),
    "nothing wrong in a short job": (job(10, init=1), []),
    "GPU idle, waiting for photos": (job(300, gpus=IDLE, phases=STARVED, cores=CORES), [("warning", "Dataloader")]),
    "GPU idle": (job(300, gpus=IDLE, gpu_memory={"gpu0": level(80, 0.2)}), [("warning", "LowGPUUtilization")]),
    "GPU idle in a short job": (job(100, gpus=IDLE, gpu_memory={"gpu0": level(80, 0.2)}), [("note", "LowGPUUtilization")]),
    "GPU idle for a while": (
        job(300, gpus={"gpu0": lambda times: np.where(times % 10 < 7, 15.0, 95.0)}, gpu_memory={"gpu0": level(98, 0.2)}),
        [("note", "idle GPU"), ("note", "full GPU memory")],
    ),
    "CPU bottleneck": (job(300, gpus=IDLE, cores={"cpu0": level(99, 0.5)}), [("warning", "CPUBottleneck")]),
    "CPU bottleneck in a short job": (job(60, gpus=IDLE, cores={"cpu0": level(99, 0.5)}), [("note", "CPUBottleneck")]),
    "waits for a disk": (job(300, gpus=IDLE, waits=level(80), cores={"cpu0": level(20)}), [("warning", "IOBottleneck")]),
    "waits for a disk on a CPU": (
        job(300, cores={"cpu0": level(10)}, waits=level(80), phases=STARVED),
        [("warning", "IOBottleneck")],
    ),
    "GPU memory grows": (job(300, gpus=BUSY, gpu_memory=LEAK), [("warning", "GPUMemoryIncrease")]),
    "GPU memory grows in a short job": (
        job(100, gpus=BUSY, gpu_memory={"gpu0": lambda times: 20 + times / 2}),
        [("warning", "GPUMemoryIncrease")],
    ),
    "too small batches": (job(300, gpus={"gpu0": level(50)}, cores={"cpu0": level(30)}), [("warning", "BatchSize")]),
    "long initialization": (job(2000, gpus=BUSY, init=1400), [("warning", "MaxInitializationTime")]),
    "initialization of a short job": (job(100, gpus=BUSY, init=60), [("note", "initialization")]),
    "slow steps": (job(300, gpus=BUSY, step_seconds=SLOW_STEPS), [("warning", "StepOutlier")]),
    "uneven GPUs": (
        job(300, gpus={"gpu0": level(99, 0.5), "gpu1": level(99, 0.5, 1), "gpu2": level(75, 1, 2)}),
        [("warning", "LoadBalancing")],
    ),
    "one core does all": (job(300, cores=ONE_CORE, phases=SAVING | {"save": 0.0}), [("warning", "LoadBalancing")]),
    "idle cores": (job(300, cores=CORES, phases=SAVING | {"save": 0.0}), [("note", "idle cores")]),
    "full memory": (with_full_memory(job(300, gpus=BUSY)), [("warning", "full memory")]),
    "full memory in a short job": (with_full_memory(job(10, init=1)), [("warning", "full memory")]),
    "pauses between steps": (with_pauses(job(300, gpus=BUSY, step_seconds=np.full(500, 0.1))), [("note", "between steps")]),
    "saving in the steps": (job(300, gpus=BUSY, phases=SAVING), [("note", "saving")]),
    "computing on a CPU": (job(300), [("note", "computing on the CPU")]),
}


def judge(metrics: Metrics) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Return both documents and the profiler report of a job with these measurements."""
    report, document = ProfilerReport.from_parameters({}), profile(metrics)
    findings = report.judge(metrics)
    verdicts = statuses(findings)
    return verdicts, document, render(metrics, findings, report.rules, document, advise(verdicts, document))


def on_profiler_report(page: str) -> list[tuple[str, ...]]:
    """Severity, what, why and change of each finding on the profiler report."""
    pattern = r'<li class="(\w+)"><b>(.*?)</b>(.*?) <b>(.*?)</b><span'
    return [tuple(map(unescape, found)) for found in re.findall(pattern, page)]


def on_training_report(verdicts: list[dict[str, Any]], document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The same of each finding on the training report of a job in which nothing else was wrong."""
    shown = insights(debug_rules(), verdicts, GOOD_HISTORY, evaluation(), {}, document, 10)
    cards = insight_cards([asdict(insight) for insight in shown if insight.source != "evaluation.json and the rules"])
    pattern = r'<div class="insight (\w+)">.*?<b class="what">(.*?)</b></p><p>(.*?)</p><p><b>Change:</b> (.*?)</p>'
    return [tuple(map(unescape, found)) for found in re.findall(pattern, cards)]


def name_of(insight: Insight) -> str:
    """The table's row that an insight is made of."""
    if insight.source.startswith("profiler rule "):
        return insight.source.split()[2]
    return next(name for name, row in TABLE.items() if row.measure and row.why == insight.why and row.change == insight.change)


@pytest.mark.parametrize("case", PLANTED)
def test_both_reports_show_the_same(case: str) -> None:
    metrics, expected = PLANTED[case]
    verdicts, document, page = judge(metrics)
    found = advise(verdicts, document)
    assert [(insight.severity, name_of(insight)) for insight in found] == expected
    shown = [(insight.severity, insight.what, insight.why, insight.change) for insight in found]
    assert on_profiler_report(page) == shown
    assert on_training_report(verdicts, document) == shown


def test_both_reports_show_the_same_of_a_profile_that_is_missing() -> None:
    verdicts, document, page = judge(EMPTY)
    shown = on_profiler_report(page)
    assert shown
    assert {severity for severity, *_ in shown} == {"warning"}
    assert on_training_report(verdicts, document) == shown


def test_both_reports_show_the_same_of_a_job_too_short_to_be_judged() -> None:
    verdicts, document, page = judge(job(2, init=1, gpus=BUSY))
    shown = on_profiler_report(page)
    assert ("note", "The job was too short for") in [(severity, what[:25]) for severity, what, *_ in shown]
    assert on_training_report(verdicts, document) == shown


def test_an_error_that_a_longer_job_would_have_too_is_not_called_too_short() -> None:
    unsampled = {**statuses(ProfilerReport.from_parameters({}).judge(job(100, device="cuda", gpus={})))[0]}
    assert unsampled["RuleEvaluationStatus"] == "Error"
    assert [(each.severity, each.what) for each in advise([unsampled], {"seconds": 100.0})] == [
        ("warning", "1 profiler rule could not judge: BatchSize."),
    ]


def test_the_table_has_every_rule_that_finds_issues() -> None:
    rules = {name for name, row in TABLE.items() if row.measure is None}
    assert rules == set(PROFILER_RULES) - {"ProfilerReport", "OverallSystemUsage", "OverallFrameworkMetrics"}
    order = list(TABLE)
    assert all(order.index(name) < order.index(other) for name, row in TABLE.items() for other in row.covers)


def test_saving_between_steps_counts_as_saving() -> None:
    verdicts, document, _ = judge(with_saving_between(job(120, gpus=BUSY)))
    assert document["loop"]["saving_s"] == pytest.approx(31.2, abs=0.3)
    assert [name_of(insight) for insight in advise(verdicts, document)] == ["saving"]


def test_sentences_have_their_numbers() -> None:
    def words(case: str) -> tuple[str, str]:
        verdicts, document, _ = judge(PLANTED[case][0])
        return next((insight.what, insight.evidence) for insight in advise(verdicts, document))

    assert words("idle cores")[0] == "The 8 cores were busy for 15 % of the training."
    assert words("initialization of a short job") == ("60% of the job passed before the first step.", "60 s of 100 s")
    assert words("pauses between steps")[0][:36] == "47% of the training loop passed betw"
    assert words("full memory in a short job")[1].startswith("maximum 9")
    assert words("GPU idle for a while")[1].startswith("mean utilization: gpu0 ")
