"""Tests of LowGPUUtilization."""

import numpy as np

from tests.fixtures.training.profiler.planted import PHASES, job, level
from training.profiler.advice_table import get_cure
from training.profiler.rules.low_gpu_utilization import LowGPUUtilization


def test_an_idle_gpu_is_found() -> None:
    finding = LowGPUUtilization().judge(job(gpus={"gpu0": level(30)}))
    assert finding.triggered == 1
    assert finding.evidence[0]["tensor"] == "gpu0 GPUUtilization p95"
    assert finding.evidence[0]["value"] < finding.evidence[0]["threshold"] == 70
    assert finding.advice == get_cure("LowGPUUtilization")


def test_a_busy_gpu_is_fine() -> None:
    finding = LowGPUUtilization().judge(job(gpus={"gpu0": level(90)}))
    assert (finding.triggered, finding.violations, finding.advice) == (0, 0, "")
    assert finding.datapoints > 150


def test_one_idle_gpu_of_two_is_found() -> None:
    finding = LowGPUUtilization().judge(job(gpus={"gpu0": level(90), "gpu1": level(5)}))
    assert [row["tensor"] for row in finding.evidence] == ["gpu1 GPUUtilization p95"]


def test_a_gpu_that_works_now_and_then_is_found() -> None:
    finding = LowGPUUtilization().judge(job(gpus={"gpu0": lambda times: np.where(times % 10 < 2, 2.0, 95.0)}))
    assert finding.triggered == 1
    assert finding.evidence[0]["tensor"] == "gpu0 GPUUtilization p5"
    assert finding.advice == get_cure("LowGPUUtilization", "fluctuating")


def test_larger_batches_are_not_advised_where_the_memory_is_full() -> None:
    finding = LowGPUUtilization().judge(job(gpus={"gpu0": level(30)}, gpu_memory={"gpu0": level(98.5, 0.2)}))
    assert finding.advice == get_cure("LowGPUUtilization", "full GPU memory")


def test_what_lies_before_the_first_step_is_not_judged() -> None:
    finding = LowGPUUtilization().judge(job(100, gpus={"gpu0": lambda times: np.where(times < 60, 0.0, 92.0)}, init=60))
    assert finding.triggered == 0


def test_a_long_job_is_judged_window_by_window() -> None:
    late = {"gpu0": lambda times: np.where(times > 1500, 10.0, 92.0)}
    assert LowGPUUtilization().judge(job(2000, gpus=late)).triggered >= 1


def test_waiting_for_photos_is_the_advice_where_steps_wait() -> None:
    finding = LowGPUUtilization().judge(job(gpus={"gpu0": level(20)}, phases={**PHASES, "data": 0.6, "backward": 0.0}))
    assert finding.advice == get_cure("LowGPUUtilization", "waiting for photos")


def test_a_training_that_does_not_use_its_gpu_is_told_so() -> None:
    finding = LowGPUUtilization().judge(job(gpus={"gpu0": level(0)}, device="cpu"))
    assert finding.advice == get_cure("LowGPUUtilization", "CPU")


def test_thresholds_are_parameters() -> None:
    assert LowGPUUtilization(threshold_p95=20).judge(job(gpus={"gpu0": level(30)})).triggered == 0
