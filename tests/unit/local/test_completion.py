"""When a tuning job has found enough: the target, jobs without an improvement, convergence."""

from typing import Any

import pytest

from local.tuning.completion import CONVERGED_AFTER, Result, count_without_improvement, describe_completion, is_complete


def found(*values: float) -> list[Result]:
    return [Result(value, 100.0 + number) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "runs"),
    [
        ([], []),
        ([1.0], [0]),
        ([1.0, 0.98, 0.98], [0, 0, 1]),
        ([1.0, 0.995, 0.99, 0.9], [0, 1, 2, 0]),
        ([-0.9, -0.95, -0.955, -0.8], [0, 0, 1, 2]),
        ([0.0, 0.0, -1.0], [0, 1, 0]),
        ([2.0, 3.0, 1.0, 1.0], [0, 1, 0, 1]),
    ],
)
def test_an_improvement_is_more_than_one_percent_of_the_best_so_far(values: list[float], runs: list[int]) -> None:
    assert count_without_improvement(values) == runs


def test_details_count_and_tell_when_the_search_converged() -> None:
    assert describe_completion([]) == {"NumberOfTrainingJobsObjectiveNotImproving": 0}
    assert describe_completion(found(1.0, 1.0)) == {"NumberOfTrainingJobsObjectiveNotImproving": 1}
    converged = describe_completion(found(1.0, *[1.0] * CONVERGED_AFTER, 0.5))
    assert converged == {"NumberOfTrainingJobsObjectiveNotImproving": 0, "ConvergenceDetectedTime": 100.0 + CONVERGED_AFTER}


ENABLED, DISABLED = ({"ConvergenceDetected": {"CompleteOnConvergence": each}} for each in ("Enabled", "Disabled"))
NOT_IMPROVING = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}


@pytest.mark.parametrize(
    ("criteria", "values", "sign", "complete"),
    [
        ({}, [1.0] * 50, 1.0, False),
        ({"TargetObjectiveMetricValue": 0.5}, [0.9, 0.5], 1.0, True),
        ({"TargetObjectiveMetricValue": 0.5}, [0.9, 0.51], 1.0, False),
        ({"TargetObjectiveMetricValue": 0.5}, [-0.9, -0.3], -1.0, True),
        ({"TargetObjectiveMetricValue": 0.5}, [-0.4, -0.3], -1.0, False),
        (NOT_IMPROVING, [1.0, 2.0, 2.0], 1.0, False),
        (NOT_IMPROVING, [1.0, 2.0, 2.0, 2.0], 1.0, True),
        (NOT_IMPROVING, [1.0, 2.0, 2.0, 0.5], 1.0, False),
        (ENABLED, [1.0] * CONVERGED_AFTER, 1.0, False),
        (ENABLED, [1.0] * (CONVERGED_AFTER + 1), 1.0, True),
        (DISABLED, [1.0] * 50, 1.0, False),
        ({**DISABLED, "TargetObjectiveMetricValue": 1.0}, [1.0], 1.0, True),
        (NOT_IMPROVING, [], 1.0, False),
    ],
)
def test_any_one_criterion_is_enough(criteria: dict[str, Any], values: list[float], sign: float, complete: bool) -> None:
    assert is_complete(criteria, found(*values), sign) is complete
