"""The search of tuning jobs: ranges read and refused, suggestions inside them, seeds honoured, failures survived."""

import math
from typing import Any

import pytest

from local.api.errors import ServiceError
from local.tuning.search import CategoricalRange, NumericRange, Search, make_search, read_ranges

LR = {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
BATCH = {"Name": "batch_size", "Values": ["16", "32", "64"]}
RANGES = {"ContinuousParameterRanges": [LR], "CategoricalParameterRanges": [BATCH]}


def suggestions(search: Search, count: int) -> list[dict[str, str]]:
    """Ask `count` times; the objective is best at lr 0.01."""
    found = []
    for _time in range(count):
        asked = search.ask()
        assert asked is not None
        found.append(asked[1])
        search.tell(asked[0], abs(math.log10(float(asked[1].get("lr", "1"))) + 2))
    return found


@pytest.mark.parametrize("strategy", ["Bayesian", "Random"])
def test_suggestions_lie_inside_the_ranges_and_follow_the_seed(strategy: str) -> None:
    ranges = read_ranges(RANGES)
    first = suggestions(make_search(strategy, ranges, minimize=True, seed=42), 12)
    assert all(0.001 <= float(each["lr"]) <= 0.1 and each["batch_size"] in BATCH["Values"] for each in first)
    assert first == suggestions(make_search(strategy, ranges, minimize=True, seed=42), 12)
    assert first != suggestions(make_search(strategy, ranges, minimize=True, seed=43), 12)
    assert len({each["lr"] for each in first}) == 12


def test_logarithmic_scaling_searches_each_decade_alike() -> None:
    found = suggestions(make_search("Random", read_ranges(RANGES), minimize=True, seed=1), 200)
    below = sum(float(each["lr"]) < 0.01 for each in found)
    assert 70 < below < 130


def test_bayesian_search_learns_and_maximizing_turns_it_round() -> None:
    ranges = read_ranges({"ContinuousParameterRanges": [{**LR, "MinValue": "0.0001", "MaxValue": "1"}]})
    distance = [abs(math.log10(float(each["lr"])) + 2) for each in suggestions(make_search("Bayesian", ranges, minimize=True, seed=3), 40)]
    assert sum(distance[-10:]) < 0.6 * sum(distance[:10])
    away = [abs(math.log10(float(each["lr"])) + 2) for each in suggestions(make_search("Bayesian", ranges, minimize=False, seed=3), 40)]
    assert sum(away[-10:]) > sum(distance[-10:]) * 2


@pytest.mark.parametrize("strategy", ["Bayesian", "Random"])
def test_failed_and_nan_results_are_survived(strategy: str) -> None:
    search = make_search(strategy, read_ranges(RANGES), minimize=True, seed=0)
    for result in (None, math.nan, math.inf, 0.5, None):
        asked = search.ask()
        assert asked is not None
        search.tell(asked[0], result)
    assert search.ask() is not None


def test_several_may_be_asked_before_one_is_told() -> None:
    search = make_search("Bayesian", read_ranges(RANGES), minimize=True, seed=0)
    asked = [search.ask() for _time in range(4)]
    numbers = [each[0] for each in asked if each is not None]
    assert numbers == [0, 1, 2, 3]
    for number in reversed(numbers):
        search.tell(number, float(number))


def test_grid_goes_through_every_combination_once() -> None:
    ranges = read_ranges({"CategoricalParameterRanges": [{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["x", "y"]}]})
    search = make_search("Grid", ranges, minimize=True)
    search.learn([({"a": "1", "b": "x"}, 0.1)])
    assert search.size == 4
    assert suggestions(search, 4) == [{"a": a, "b": b} for a in "12" for b in "xy"]
    assert search.ask() is None


def test_whole_numbers_and_reverse_logarithmic() -> None:
    given = {
        "IntegerParameterRanges": [{"Name": "layers", "MinValue": "1", "MaxValue": "3"}],
        "ContinuousParameterRanges": [{"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"}],
    }
    found = suggestions(make_search("Random", read_ranges(given), minimize=True, seed=5), 60)
    assert {each["layers"] for each in found} == {"1", "2", "3"}
    momenta = sorted(float(each["momentum"]) for each in found)
    assert momenta[0] >= 0.5 and momenta[-1] <= 0.999 and momenta[30] > 0.9


@pytest.mark.parametrize(("least", "most", "scaling"), [("0.001", "0.1", "Logarithmic"), ("0.1", "0.2", "Linear"), ("0", "1", "Linear")])
def test_automatic_scaling(least: str, most: str, scaling: str) -> None:
    given = {"ContinuousParameterRanges": [{"Name": "x", "MinValue": least, "MaxValue": most, "ScalingType": "Auto"}]}
    assert read_ranges(given) == [NumericRange("x", float(least), float(most), scaling, whole=False)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "at least one range"),
        ({"ContinuousParameterRanges": [{**LR, "MinValue": "0.1", "MaxValue": "0.001"}]}, "MinValue must be smaller"),
        ({"ContinuousParameterRanges": [{**LR, "MinValue": "0.1", "MaxValue": "0.1"}]}, "MinValue must be smaller"),
        ({"ContinuousParameterRanges": [{**LR, "MinValue": "low"}]}, "both must be numbers"),
        ({"ContinuousParameterRanges": [{**LR, "MaxValue": "nan"}]}, "MinValue must be smaller"),
        ({"ContinuousParameterRanges": [{**LR, "MinValue": "0"}]}, "MinValue must be above 0"),
        ({"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "2.5"}]}, "is an integer range"),
        ({"CategoricalParameterRanges": [{"Name": "b", "Values": ["1", "1"]}]}, "each once"),
        ({"ContinuousParameterRanges": [LR, LR]}, "each name once"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ServiceError, match=told):
        read_ranges(given)


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Hyperband"])
def test_what_earlier_jobs_found_is_taken_over_as_far_as_it_lies_in_the_ranges(strategy: str) -> None:
    given = {
        **RANGES,
        "IntegerParameterRanges": [{"Name": "layers", "MinValue": "1", "MaxValue": "3"}],
        "ContinuousParameterRanges": [LR, {"Name": "keep", "MinValue": "0.5", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"}],
    }
    inside = {"lr": "0.01", "batch_size": "32", "layers": "2", "keep": "0.9", "epochs": "20"}
    outside = [{**inside, **each} for each in ({"lr": "0.5"}, {"batch_size": "8"}, {"layers": "2.5"}, {"lr": "quick"}, {"keep": "1"})]
    missing = {name: value for name, value in inside.items() if name != "layers"}
    search = make_search(strategy, read_ranges(given), minimize=True, seed=1)
    search.learn([(inside, 0.5), (inside, math.nan), (missing, 0.1), *((each, 0.1) for each in outside)])
    asked = search.ask()
    assert asked is not None and asked[0] == 1, "exactly one earlier job counts"


def test_bayesian_search_goes_on_where_its_parents_were() -> None:
    ranges = read_ranges({"ContinuousParameterRanges": [{**LR, "MinValue": "0.0001", "MaxValue": "1"}]})
    known = [({"lr": repr(10 ** (-4 + step / 10))}, abs(-2 + step / 10)) for step in range(41)]
    warm = make_search("Bayesian", ranges, minimize=True, seed=3)
    warm.learn(known)
    cold = make_search("Bayesian", ranges, minimize=True, seed=3)
    distance = [sum(abs(math.log10(float(each["lr"])) + 2) for each in suggestions(search, 6)) for search in (warm, cold)]
    assert distance[0] < 0.5 * distance[1]


def test_hyperband_tries_what_random_does() -> None:
    first = suggestions(make_search("Hyperband", read_ranges(RANGES), minimize=True, seed=42), 12)
    assert first == suggestions(make_search("Random", read_ranges(RANGES), minimize=True, seed=42), 12)


def test_strategies_that_are_not_done_are_refused_by_name() -> None:
    with pytest.raises(ServiceError, match="'Evolution' is not supported in local mode: supported: Bayesian, "):
        make_search("Evolution", [CategoricalRange("a", ("1",))], minimize=True)
    with pytest.raises(ServiceError, match="Grid takes categorical ranges only; lr is numeric"):
        make_search("Grid", read_ranges(RANGES), minimize=True)
