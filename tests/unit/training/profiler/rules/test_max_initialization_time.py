"""Tests of MaxInitializationTime."""

from dataclasses import replace

from tests.fixtures.training.profiler.planted import job
from training.profiler.rules.max_initialization_time import MaxInitializationTime


def test_a_first_step_after_an_hour_is_found() -> None:
    finding = MaxInitializationTime().judge(job(3700, init=3600, cores=1))
    assert finding.triggered == 1
    assert finding.evidence[0]["value"] == 60
    assert "60.0 minutes passed before the first step: more than 20" in finding.said


def test_a_first_step_after_seconds_is_fine() -> None:
    finding = MaxInitializationTime().judge(job(30, init=4))
    assert (finding.triggered, finding.unjudged) == (0, False)
    assert finding.said == "the first step began after 4.0 s"


def test_a_job_that_never_took_a_step_is_found_once_it_lasts() -> None:
    waiting = replace(job(1800, cores=1), steps={})
    finding = MaxInitializationTime().judge(waiting)
    assert finding.triggered == 1
    assert "without a single step" in finding.said


def test_a_short_job_without_a_step_is_not_judged() -> None:
    assert MaxInitializationTime().judge(replace(job(30), steps={})).unjudged


def test_the_threshold_is_in_minutes() -> None:
    assert MaxInitializationTime(threshold=1).judge(job(100, init=70)).triggered == 1
