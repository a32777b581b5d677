"""Which jobs are stopped early: the median rule, successive halving, and what AWS's documentation excludes."""

import random
from typing import Any

import pytest

from local.api.errors import ServiceError
from local.tuning.early_stopping import MedianRule, Resources, Stopper, SuccessiveHalving, make_stopper, read_resources


def train(stopper: Stopper, job: str, values: list[float]) -> int:
    """Tell the values of a job until it is to be stopped or has completed; returns how many epochs it trained."""
    for epoch, value in enumerate(values, 1):
        if stopper.hear(job, value):
            stopper.end(job, False)
            return epoch
    stopper.end(job, True)
    return len(values)


def test_nothing_is_stopped_before_a_job_has_completed() -> None:
    rule = MedianRule()
    assert not any(rule.hear("a", 1.0) or rule.hear("b", 100.0) for _epoch in range(5))
    rule.end("b", False)
    assert not rule.hear("c", 100.0), "a job that was stopped or failed is no measure"
    rule.end("a", True)
    assert rule.hear("c", 1.5) and not rule.hear("d", 1.0)


def test_a_value_worse_than_the_median_of_the_running_averages_stops_a_job() -> None:
    rule = MedianRule()
    for job, values in {"a": [4.0, 2.0], "d": [4.0, 3.0], "e": [4.0, 3.6]}.items():
        assert not any(rule.hear(job, value) for value in values)
    for job in ("a", "d", "e"):
        rule.end(job, True)
    # The averages are 4 each after one epoch; 3, 3.5 and 3.8 after two and, since the jobs went no further, after three.
    assert train(rule, "f", [4.0, 3.5, 3.5]) == 3, "as good as the median is good enough"
    assert train(rule, "g", [4.0, 3.51]) == 2
    assert train(rule, "h", [4.01]) == 1


def test_a_job_that_goes_on_longer_than_the_others_is_compared_with_their_whole_average() -> None:
    rule = MedianRule()
    assert train(rule, "short", [2.0, 1.0]) == 2
    assert train(rule, "long", [1.0, 1.0, 1.4, 1.6]) == 4


def test_rungs_are_three_times_as_far_each_time() -> None:
    assert Resources(1, 20).rungs == [1, 3, 9]
    assert Resources(2, 18).rungs == [2, 6]
    assert Resources(5, 5).rungs == []


def test_the_best_third_at_a_rung_goes_on() -> None:
    halving = SuccessiveHalving(Resources(1, 9, ends_by_itself=True))
    curves = {"a": 3.0, "b": 2.0, "c": 1.0, "d": 1.5, "e": 0.5, "f": 0.7, "g": 9.0}
    trained = {name: train(halving, name, [value] * 9) for name, value in curves.items()}
    # a and b are too early to be compared; c is the best of three; d of four is not; e is the best of five, f one of the two best of six.
    # At the second rung, after three epochs, c is the third to come and the best; e comes fourth and is; f comes fifth and is second.
    assert trained == {"a": 9, "b": 9, "c": 9, "d": 1, "e": 9, "f": 3, "g": 1}


def test_no_job_is_stopped_before_the_least_nor_needed_after_the_most() -> None:
    halving = SuccessiveHalving(Resources(4, 8))
    trained = [train(halving, f"job-{number}", [float(number)] * 50) for number in range(9)]
    assert trained == [8, 8, *[4] * 7]
    generator = random.Random(7)
    assert all(train(halving, f"random-{number}", [generator.random() for _epoch in range(50)]) in (4, 8) for number in range(200))


def test_halving_spends_a_fraction_and_keeps_the_best() -> None:
    generator = random.Random(3)
    halving = SuccessiveHalving(Resources(1, 27, ends_by_itself=True))
    final = {f"job-{number}": generator.random() for number in range(200)}
    trained = {name: train(halving, name, [value + 1 / epoch for epoch in range(1, 28)]) for name, value in final.items()}
    assert trained[min(final, key=lambda name: final[name])] == 27
    assert sum(trained.values()) < 0.25 * 27 * len(final)


def config(**fields: Any) -> dict[str, Any]:
    return {"Strategy": "Bayesian", **fields}


def test_which_rule_a_request_asks_for() -> None:
    assert make_stopper(config(), {}) is None
    assert isinstance(make_stopper(config(TrainingJobEarlyStoppingType="Auto"), {}), MedianRule)
    assert isinstance(make_stopper(config(Strategy="Hyperband"), {"epochs": "20"}), SuccessiveHalving)


@pytest.mark.parametrize("name", ["epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs"])
def test_the_most_is_read_from_the_static_hyperparameters(name: str) -> None:
    assert read_resources({}, {name: '"20"'}) == Resources(1, 20, ends_by_itself=True)
    assert read_resources({"MinResource": 2, "MaxResource": 10}, {name: "20"}) == Resources(2, 10, ends_by_itself=False)
    assert read_resources({"MaxResource": 27}, {name: "20"}) == Resources(1, 27, ends_by_itself=True)


@pytest.mark.parametrize(
    ("fields", "static", "told"),
    [
        ({"Strategy": "Hyperband"}, {}, "MaxResource is missing, and StaticHyperParameters do not set the epochs"),
        ({"Strategy": "Hyperband"}, {"epochs": "many"}, "MaxResource is missing"),
        ({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, {"epochs": "9"}, "must be Off with the Strategy Hyperband"),
        ({"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 9}}}, {}, "is only for the Strategy Hyperband, got 'Bayesian'"),
        (
            {"Strategy": "Hyperband", "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 9, "MaxResource": 3}}},
            {},
            "from MinResource 9 to MaxResource 3",
        ),
        ({"Strategy": "Hyperband", "StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 20001}}}, {}, "must be from 1 to 20000"),
    ],
)
def test_what_the_documentation_excludes_is_refused(fields: dict[str, Any], static: dict[str, str], told: str) -> None:
    with pytest.raises(ServiceError, match=told):
        make_stopper(config(**fields), static)
