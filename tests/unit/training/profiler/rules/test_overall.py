"""Tests of OverallSystemUsage and OverallFrameworkMetrics, which report and never trigger."""

from tests.fixtures.training.profiler.planted import job, level
from training.profiler.rules.overall_framework_metrics import OverallFrameworkMetrics
from training.profiler.rules.overall_system_usage import OverallSystemUsage


def test_each_resource_has_its_percentiles() -> None:
    finding = OverallSystemUsage().judge(job(gpus={"gpu0": level(90, 0), "gpu1": level(10, 0)}))
    assert finding.triggered == 0
    assert set(finding.details) == {"CPU", "I/O wait", "CPU memory", "GPU", "GPU memory", "I/O", "Network"}
    assert finding.details["GPU"]["max"] == 90
    assert finding.details["GPU"]["min"] == 10
    assert finding.details["I/O"]["p50"] == 2e6


def test_a_machine_without_a_gpu_has_none_of_its_numbers() -> None:
    assert "GPU" not in OverallSystemUsage().judge(job()).details


def test_phases_and_steps_are_reported() -> None:
    finding = OverallFrameworkMetrics().judge(job())
    assert finding.triggered == 0
    assert finding.details["ratio"]["train"]["backward"] == 0.55
    assert 0.09 < finding.details["step_stats"]["train"]["p50"] < 0.11
    assert "backward takes 55 % of a training step" in finding.said
