"""Tests of StepOutlier."""

from dataclasses import replace

import numpy as np
import pytest

from tests.fixtures.training.profiler.planted import BEGIN, job, steps
from training.profiler.advice_table import get_cure
from training.profiler.metrics import Floats
from training.profiler.rules.profiler_rule import Finding
from training.profiler.rules.step_outlier import StepOutlier


def usual(count: int, seed: int = 0) -> Floats:
    return np.abs(np.random.default_rng(seed).normal(0.1, 0.005, count))


def judge(seconds: Floats, rule: StepOutlier | None = None) -> Finding:
    return (rule or StepOutlier()).judge(job(step_seconds=seconds))


@pytest.mark.parametrize("count", [260, 3000])
def test_every_twentieth_step_ten_times_slower_is_found(count: int) -> None:
    seconds = usual(count)
    seconds[::20] *= 10
    finding = judge(seconds)
    assert finding.triggered == 1
    assert finding.evidence[0]["step"] % 20 == 0
    assert finding.evidence[0]["mode"] == "train"
    assert finding.advice == get_cure("StepOutlier", "regular", interval=20)


def test_slow_steps_without_an_order_are_found() -> None:
    seconds = usual(500)
    seconds[np.random.default_rng(3).choice(np.arange(10, 500), 12, replace=False)] *= 20
    finding = judge(seconds)
    assert finding.triggered == 1
    assert finding.advice == get_cure("StepOutlier")


def test_usual_steps_are_fine() -> None:
    finding = judge(usual(1000))
    assert (finding.triggered, finding.advice) == (0, "")
    assert finding.datapoints == 997


def test_every_fiftieth_step_thirty_times_slower_is_found() -> None:
    seconds = usual(320)
    seconds[25::50] *= 30
    assert judge(seconds).triggered == 1


@pytest.mark.parametrize("slower", [0.033, 1.5])
def test_slow_steps_that_cost_a_few_seconds_in_all_are_fine(slower: float) -> None:
    seconds = np.full(97, 0.003)
    seconds[[20, 50, 80]] = slower
    finding = judge(seconds)
    assert (finding.triggered, finding.violations) == (0, 3)


def test_slow_first_steps_are_fine() -> None:
    seconds = usual(500)
    seconds[:3] *= 50
    assert judge(seconds).violations <= 3


def test_outliers_that_cost_nothing_are_fine() -> None:
    seconds = usual(1000)
    seconds[::50] *= 1.5
    finding = judge(seconds)
    assert finding.triggered == 0
    assert finding.violations >= 15


def test_few_steps_cannot_stand_out() -> None:
    finding = judge(usual(8))
    assert (finding.triggered, finding.unjudged) == (0, False)
    assert judge(usual(3)).unjudged


def test_a_mode_can_be_chosen() -> None:
    slow = usual(200)
    slow[::20] *= 10
    metrics = replace(job(step_seconds=usual(300)), steps={"train": steps(usual(300), BEGIN + 4), "eval": steps(slow, BEGIN + 5)})
    assert StepOutlier().judge(metrics).evidence[0]["mode"] == "eval"
    assert StepOutlier.from_parameters({"mode": "TRAIN"}).judge(metrics).triggered == 0
    assert StepOutlier.from_parameters({"mode": "EVAL"}).judge(metrics).triggered == 1
