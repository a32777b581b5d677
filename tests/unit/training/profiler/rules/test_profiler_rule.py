"""Tests of what the profiler rules share: parameters, which samples are judged, and what cannot be."""

from dataclasses import MISSING, fields, replace

import numpy as np
import pytest

from tests.fixtures.training.profiler.planted import BEGIN, EMPTY, job, level
from training.contract.rules import PROFILER_RULES
from training.profiler.rules.cpu_bottleneck import CPUBottleneck
from training.profiler.rules.low_gpu_utilization import LowGPUUtilization
from training.profiler.rules.profiler_report import RULES, ProfilerReport, summary
from training.profiler.rules.profiler_rule import ParameterError, judged, nearest, windows

GPU_RULES = ("BatchSize", "CPUBottleneck", "LowGPUUtilization", "GPUMemoryIncrease", "LoadBalancing")


def test_the_rules_are_those_of_the_table() -> None:
    assert {"ProfilerReport", *RULES} == set(PROFILER_RULES)


@pytest.mark.parametrize("name", RULES)
def test_parameters_and_defaults_are_those_of_the_table(name: str) -> None:
    rule = RULES[name]
    table = {parameter: value for parameter, value in PROFILER_RULES[name].items() if value is not None}
    names = {parameter.name for parameter in fields(rule) if parameter.default is not MISSING}
    assert names == set(PROFILER_RULES[name])
    assert rule.from_parameters(table) == rule()


def test_a_parameter_is_read_from_its_text() -> None:
    rule = CPUBottleneck.from_parameters({"rule_to_invoke": "CPUBottleneck", "threshold": "12.5", "patience": "7"})
    assert (rule.threshold, rule.patience, rule.cpu_threshold) == (12.5, 7, 90)


def test_an_unknown_parameter_is_refused_with_those_there_are() -> None:
    with pytest.raises(ParameterError, match="no parameter treshold; it has cpu_threshold, gpu_threshold, patience"):
        CPUBottleneck.from_parameters({"treshold": "1"})


def test_a_parameter_that_is_no_number_is_refused() -> None:
    with pytest.raises(ParameterError, match="parameters are numbers, got"):
        CPUBottleneck.from_parameters({"threshold": "many"})


def test_the_report_takes_parameters_of_rules() -> None:
    rule = ProfilerReport.from_parameters({"rule_to_invoke": "ProfilerReport", "CPUBottleneck_cpu_threshold": "80"}).rules["CPUBottleneck"]
    assert rule == CPUBottleneck(cpu_threshold=80)


def test_the_report_refuses_parameters_of_no_rule() -> None:
    with pytest.raises(ParameterError, match="no parameter cpu_threshold"):
        ProfilerReport.from_parameters({"cpu_threshold": "80"})


def test_only_the_training_loop_is_judged_and_a_fifth_of_it_left_out_at_most() -> None:
    metrics = job(100, gpus={"gpu0": level(90)}, init=50)
    kept = judged(metrics.gpus["gpu0"], metrics, patience=1000)
    assert kept.times[0] == pytest.approx(BEGIN + 60, abs=1)
    assert kept.times[-1] <= BEGIN + 101


def test_a_long_job_leaves_out_patience() -> None:
    metrics = job(5000, gpus={"gpu0": level(90)}, init=0)
    inside = metrics.gpus["gpu0"].between(*(metrics.loop or (0, 0)))
    assert len(judged(metrics.gpus["gpu0"], metrics, 1000)) == len(inside) - 1000


def test_windows_hold_every_sample_once() -> None:
    series = job(100).memory
    parts = windows(series, 30)
    assert [len(part) for part in parts] == [34, 34, 34, 33, 33, 33]
    assert np.concatenate([part.times for part in parts]).tolist() == series.times.tolist()


def test_the_nearest_sample_is_taken() -> None:
    series = job(2).memory
    values = replace(series, values=np.arange(len(series), dtype=float))
    assert nearest(values, series.times + 0.1).tolist() == values.values.tolist()
    assert nearest(values, series.times - 0.1).tolist() == values.values.tolist()


@pytest.mark.parametrize("name", GPU_RULES)
def test_without_a_gpu_there_is_nothing_to_judge(name: str) -> None:
    finding = RULES[name]().judge(job(15))
    assert (finding.triggered, finding.unjudged) == (0, False)
    assert "the machine has no GPU" in finding.said


@pytest.mark.parametrize("name", GPU_RULES)
def test_a_gpu_that_was_not_sampled_is_not_called_fine(name: str) -> None:
    finding = RULES[name]().judge(job(60, device="cuda"))
    assert finding.unjudged
    assert "libnvidia-ml.so.1" in finding.said
    assert finding.advice


@pytest.mark.parametrize("name", ["BatchSize", "LowGPUUtilization", "GPUMemoryIncrease", "LoadBalancing"])
def test_two_seconds_on_a_gpu_are_too_few(name: str) -> None:
    finding = RULES[name]().judge(job(2, gpus={"gpu0": level(1), "gpu1": level(99)}, init=1))
    assert finding.unjudged
    assert "5 are needed" in finding.said


@pytest.mark.parametrize("name", RULES)
def test_a_job_that_measured_nothing_is_not_called_fine(name: str) -> None:
    finding = RULES[name]().judge(EMPTY)
    assert finding.unjudged
    assert finding.said.startswith("not judged: ")


def test_a_job_of_two_seconds_on_a_cpu_gets_a_verdict_from_every_rule() -> None:
    findings = ProfilerReport.from_parameters({}).judge(job(2, init=1, step_seconds=np.full(200, 0.005)))
    assert {name: finding.said for name, finding in findings.items() if finding.unjudged or finding.triggered} == {}


def test_a_report_document_has_the_keys_of_the_service() -> None:
    rule = LowGPUUtilization()
    document = rule.report(rule.judge(job(gpus={"gpu0": level(20)})))
    assert list(document) == ["RuleTriggered", "Violations", "Details", "Datapoints", "RuleParameters"]
    assert document["RuleTriggered"] == 1
    assert "threshold_p95:70" in document["RuleParameters"].split("\n")


@pytest.mark.parametrize("seed", range(20))
def test_healthy_jobs_are_found_fine(seed: int) -> None:
    draw = np.random.default_rng(seed)
    gpus = {f"gpu{number}": level(88, 5, 10 * seed + number) for number in range(draw.integers(0, 3))}
    steps = np.abs(draw.normal(0.1, 0.01, 1200)) + draw.exponential(0.005, 1200)
    metrics = job(float(draw.integers(60, 200)), gpus=gpus, step_seconds=steps, cores=int(draw.integers(2, 9)))
    findings = ProfilerReport.from_parameters({}).judge(metrics)
    assert [name for name, finding in findings.items() if finding.triggered] == []


def test_the_reports_own_verdict_counts_what_rules_found() -> None:
    findings = ProfilerReport.from_parameters({}).judge(job(gpus={"gpu0": level(20)}))
    assert summary(findings).triggered == 1
    assert "LowGPUUtilization found an issue" in summary(findings).said
    assert summary(ProfilerReport.from_parameters({}).judge(EMPTY)).unjudged
