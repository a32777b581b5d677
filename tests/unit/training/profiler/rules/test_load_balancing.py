"""Tests of LoadBalancing."""

import time

import numpy as np

from tests.fixtures.training.profiler.planted import job, level
from training.profiler.advice_table import get_cure
from training.profiler.rules.load_balancing import LoadBalancing


def test_a_gpu_that_does_little_is_found() -> None:
    gpus = {"gpu0": level(90, 2, 0), "gpu1": level(92, 2, 1), "gpu2": level(20, 2, 2)}
    finding = LoadBalancing().judge(job(gpus=gpus))
    assert finding.triggered == 1
    assert finding.evidence[0]["tensor"] == "gpu2 distance of histograms"
    assert finding.said.startswith("gpu2 works 20 % of the time and the others 9")


def test_gpus_alike_are_fine() -> None:
    assert LoadBalancing().judge(job(gpus={"gpu0": level(89, 1, 0), "gpu1": level(91, 1, 1)})).triggered == 0


def test_two_gpus_of_which_one_idles_are_found() -> None:
    finding = LoadBalancing().judge(job(gpus={"gpu0": level(90), "gpu1": level(2)}))
    assert (finding.triggered, finding.advice) == (2, get_cure("LoadBalancing"))
    assert "gpu0 works 90 % of the time and the least busy GPU 2 %" in finding.said


def test_one_gpu_has_nothing_to_differ_from() -> None:
    finding = LoadBalancing().judge(job(gpus={"gpu0": level(5)}))
    assert (finding.triggered, finding.unjudged) == (0, False)
    assert finding.said == "nothing to judge: the machine has one GPU"


def test_one_core_that_does_all_is_found() -> None:
    cores = {"cpu0": level(99, 0.5)} | {f"cpu{number}": level(6, 3, number) for number in range(1, 8)}
    finding = LoadBalancing().judge(job(cores=cores))
    assert finding.triggered == 1
    assert finding.evidence[0]["tensor"] == "cpu0 distance of histograms"
    assert finding.advice == get_cure("LoadBalancing", "core")


def test_one_core_that_lags_is_found() -> None:
    cores = {"cpu0": level(10, 3)} | {f"cpu{number}": level(95, 3, number) for number in range(1, 4)}
    assert LoadBalancing().judge(job(cores=cores)).triggered == 1


def test_work_that_moves_from_core_to_core_is_fine() -> None:
    cores = {f"cpu{number}": (lambda times, number=number: np.where(times // 2 % 4 == number, 98.0, 4.0)) for number in range(4)}
    assert LoadBalancing().judge(job(cores=cores)).triggered == 0


def test_of_four_that_all_differ_only_the_least_busy_one_is_quoted() -> None:
    cores = {f"cpu{number}": level(mean, 1, number) for number, mean in enumerate((95, 70, 45, 20))}
    finding = LoadBalancing().judge(job(cores=cores))
    assert len(finding.evidence) == 4
    assert finding.said.startswith("cpu0 works 95 % of the time and the least busy core 20 %, ")


def test_a_hundred_cores_of_hours_are_compared_at_once() -> None:
    metrics = job(18_000, cores=96, step_seconds=np.full(100, 179.9))
    began = time.process_time()
    assert LoadBalancing().judge(metrics).triggered == 0
    assert time.process_time() - began < 2


def test_a_hundred_cores_of_which_one_does_all_are_compared_at_once() -> None:
    cores = {"cpu0": level(99, 0.5)} | {f"cpu{number}": level(6, 3, number) for number in range(1, 96)}
    metrics = job(18_000, cores=cores, step_seconds=np.full(100, 179.9))
    began = time.process_time()
    assert LoadBalancing().judge(metrics).triggered == 1
    assert time.process_time() - began < 2
