"""Tests of IOBottleneck."""

from tests.fixtures.training.profiler.planted import job, level
from training.profiler.advice_table import get_cure
from training.profiler.rules.io_bottleneck import IOBottleneck


def test_a_gpu_that_waits_for_a_disk_is_found() -> None:
    finding = IOBottleneck().judge(job(gpus={"gpu0": level(3)}, waits=level(80)))
    assert finding.triggered == 1
    assert finding.evidence[0]["tensor"] == "gpu0 I/O bottleneck, percent of samples"
    assert finding.advice == get_cure("IOBottleneck")
    assert '"input_mode": "File"' in finding.advice, "FastFile reads from S3 during the steps: it would wait longer"


def test_waiting_beside_a_busy_gpu_is_fine() -> None:
    assert IOBottleneck().judge(job(gpus={"gpu0": level(90)}, waits=level(80))).triggered == 0


def test_an_idle_gpu_without_waiting_is_another_rules() -> None:
    assert IOBottleneck().judge(job(gpus={"gpu0": level(3)})).triggered == 0


def test_a_cpu_that_waits_for_a_disk_is_found() -> None:
    finding = IOBottleneck().judge(job(cores={"cpu0": level(10), "cpu1": level(8)}, waits=level(85)))
    assert finding.triggered == 1
    assert finding.said.startswith("the CPU waited for a disk in 100 %")


def test_a_cpu_that_computes_meanwhile_is_fine() -> None:
    assert IOBottleneck().judge(job(cores={"cpu0": level(10), "cpu1": level(97)}, waits=level(85))).triggered == 0


def test_a_busy_cpu_is_fine() -> None:
    finding = IOBottleneck().judge(job())
    assert (finding.triggered, finding.unjudged) == (0, False)
    assert finding.datapoints > 150
