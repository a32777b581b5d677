"""Tests of CPUBottleneck."""

import numpy as np

from tests.fixtures.training.profiler.planted import PHASES, job, level
from training.profiler.advice_table import get_cure
from training.profiler.rules.cpu_bottleneck import CPUBottleneck

ONE_CORE = {"cpu0": level(99, 0.3), "cpu1": level(15), "cpu2": level(15)}


def test_a_gpu_that_waits_for_one_full_core_is_found() -> None:
    finding = CPUBottleneck().judge(job(cores=ONE_CORE, gpus={"gpu0": level(3)}))
    assert finding.triggered == 1
    assert finding.violations == finding.datapoints
    assert finding.evidence[0]["value"] == 100
    assert finding.advice == get_cure("CPUBottleneck")


def test_a_busy_gpu_beside_a_full_core_is_fine() -> None:
    assert CPUBottleneck().judge(job(cores=ONE_CORE, gpus={"gpu0": level(85)})).triggered == 0


def test_an_idle_gpu_beside_idle_cores_is_another_rules() -> None:
    assert CPUBottleneck().judge(job(cores={"cpu0": level(20)}, gpus={"gpu0": level(3)})).triggered == 0


def test_a_third_of_the_time_is_less_than_half() -> None:
    gpu = {"gpu0": lambda times: np.where(times % 9 < 3, 2.0, 90.0)}
    finding = CPUBottleneck().judge(job(cores=ONE_CORE, gpus=gpu))
    assert finding.triggered == 0
    assert 0.25 < finding.violations / finding.datapoints < 0.4


def test_two_seconds_in_which_steps_hardly_waited_are_fine() -> None:
    finding = CPUBottleneck().judge(job(2, cores=ONE_CORE, gpus={"gpu0": level(3)}, init=1, step_seconds=np.full(10, 0.1)))
    assert (finding.triggered, finding.unjudged) == (0, False)
    assert "waited 0.04 s for data" in finding.said


def test_two_seconds_of_waiting_are_not_judged() -> None:
    waiting = {**PHASES, "data": 0.8, "backward": 0.0}
    metrics = job(2, cores=ONE_CORE, gpus={"gpu0": level(3)}, init=0.5, step_seconds=np.full(10, 0.15), phases=waiting)
    assert CPUBottleneck().judge(metrics).unjudged
