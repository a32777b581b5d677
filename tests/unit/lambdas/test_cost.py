"""What an execution costs: the estimate, the worst case, the limits that make a budget hold, and sentences on what is not known."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.planning.cost import (
    ENDING_SECONDS,
    JobCost,
    Machines,
    OverBudget,
    estimate,
    in_dollars,
    job_costs,
    run_time_limits,
    total,
    worst_case,
)
from lambdas.planning.durations import Durations, expected_durations
from lambdas.planning.photos import Photos
from lambdas.planning.plan import Plan, Prepared, plan
from lambdas.planning.prices import Prices
from lambdas.planning.settings import Settings
from lambdas.request.execution_input import ExecutionInput
from training.contract.limits import LONGEST_JOB_SECONDS

SETTINGS = Settings("bucket", "whippet", "0a1b", "training-cpu", "training-gpu", "serving-cpu", "serving-gpu", "us-east-1")
FOUND = Photos("s3://bucket/data/", {}, 0, files=4000, bytes=10**9)
HOUR = Durations(3600, 3600, 3600)
ROUND = Prices("us-east-1", {"ml.m5.large": Decimal(1), "ml.m5.xlarge": Decimal(2)})


def jobs(count: int = 10, disk_gb: int = 0, prices: Prices = ROUND, types: tuple[str, ...] = ("ml.m5.large",)) -> tuple[JobCost, ...]:
    machines = Machines(types, 1, disk_gb)
    return job_costs(count, HOUR, machines, machines, prices)


def planned(asked: dict[str, Any], region: str = "us-east-1", photos: Photos = FOUND) -> Plan:
    settings = replace(SETTINGS, region=region)
    start = datetime(2026, 11, 22, 16, tzinfo=UTC)
    return plan(ExecutionInput.parse(asked), settings, photos, Prepared("prepared-data-sets/0/", ""), "arn:1", start)


def notes(asked: dict[str, Any], region: str = "us-east-1") -> str:
    return "\n".join(planned(asked, region).money.cost.notes)


def test_hours_times_prices() -> None:
    limits = dict.fromkeys(("prepare", "tuning", "training"), 7200 - ENDING_SECONDS)
    assert estimate(jobs()) == {"prepare": 1.0, "tuning": 10.0, "training": 1.0, "total": 12.0}
    assert worst_case(jobs(), limits) == {"prepare": 2.0, "tuning": 20.0, "training": 2.0, "total": 24.0}


def test_a_disk_costs_too() -> None:
    assert estimate(jobs(disk_gb=7300))["training"] == 2.4


def test_the_worst_case_is_on_the_dearest_machine_and_the_estimate_on_the_first() -> None:
    limits = dict.fromkeys(("prepare", "tuning", "training"), 3600 - ENDING_SECONDS)
    made = jobs(types=("ml.m5.large", "ml.m5.xlarge"))
    assert (estimate(made)["training"], worst_case(made, limits)["training"]) == (1.0, 2.0)


def test_spare_machines_make_nothing_cheaper() -> None:
    asked: dict[str, Any] = {"trainable": "all", "instance_type": "ml.g5.xlarge"}
    with_spot, without = planned({**asked, "spot": True}).money.cost, planned(asked).money.cost
    assert (with_spot.estimate, with_spot.worst_case) == (without.estimate, without.worst_case)
    assert "Spot instances usually cost less" in notes({"spot": True})


def test_several_machines_cost_several_times_as_much() -> None:
    asked = {"trainable": "all", "instance_count": 2, "input_mode": "File"}
    several, one = (planned(each).money.cost.worst_case["tuning"] or 0 for each in (asked, {"trainable": "all"}))
    assert several == pytest.approx(2 * one)


def test_without_a_budget_a_job_may_run_for_a_day() -> None:
    assert set(run_time_limits(jobs(), None).values()) == {LONGEST_JOB_SECONDS}
    assert set(run_time_limits(jobs(), Decimal(10_000)).values()) == {LONGEST_JOB_SECONDS}, "nor with one that is never reached"


def test_an_estimate_above_the_budget_is_refused_with_the_figures() -> None:
    with pytest.raises(OverBudget) as refused:
        run_time_limits(jobs(), Decimal("11.5"))
    assert str(refused.value) == (
        "the execution is expected to cost 12.00 USD (prepare 1.00, tuning 10.00, training 1.00), which is more than budget_usd, 11.5; "
        "raise budget_usd, lower tuning.max_jobs or the epochs, or take a cheaper instance_type"
    )


def test_limits_that_would_end_healthy_jobs_are_refused_with_the_least_budget() -> None:
    with pytest.raises(
        OverBudget, match=r"cannot be held to a budget_usd of 20: each job must be allowed 2 times .* could then cost 24.40 USD"
    ):
        run_time_limits(jobs(), Decimal(20))
    assert run_time_limits(jobs(), Decimal("24.4"))["training"] == 7200


def test_the_least_budget_that_is_told_is_enough() -> None:
    with pytest.raises(OverBudget) as refused:
        planned({"budget_usd": 0.5})
    least = float(str(refused.value).rpartition("could then cost ")[2].partition(" USD")[0]) + 0.01
    assert planned({"budget_usd": least}).training.seconds >= 600


@given(
    count=st.integers(1, 750),
    seconds=st.tuples(*[st.integers(1, 100_000)] * 3),
    budget=st.decimals(min_value="0.01", max_value=100_000, places=2),
    prepared=st.booleans(),
)
def test_whatever_the_budget_it_is_refused_or_it_holds(count: int, seconds: tuple[int, int, int], budget: Decimal, prepared: bool) -> None:
    machines = Machines(("ml.m5.large", "ml.m5.xlarge"), 1, 50)
    made = job_costs(count, Durations(*seconds), None if prepared else machines, machines, ROUND)
    try:
        limits = run_time_limits(made, budget)
    except OverBudget:
        assert total(made, {job.kind: job.least_seconds for job in made}) > budget
    else:
        assert total(made, limits) <= budget
        assert all(job.least_seconds <= limits[job.kind] <= LONGEST_JOB_SECONDS for job in made)


@given(st.decimals(min_value=25, max_value=287, places=2))
def test_the_limits_use_the_budget_up(budget: Decimal) -> None:
    assert budget - total(jobs(), run_time_limits(jobs(), budget)) < Decimal("0.02")


def test_a_price_that_nobody_knows_makes_the_figures_null_and_is_told() -> None:
    made = planned({"instance_type": "ml.g7.2xlarge", "prepare": {"instance_type": "ml.g5.xlarge"}}).money.cost
    assert made.estimate == {"prepare": made.estimate["prepare"], "tuning": None, "training": None, "total": None}
    assert (made.estimate["prepare"] or 0) > 0
    assert "The price of ml.g7.2xlarge is not known" in "\n".join(made.notes)


def test_a_price_that_nobody_knows_holds_no_budget() -> None:
    with pytest.raises(OverBudget, match=r"what ml.g7.2xlarge costs in us-east-1 is not known.* put the prices an hour into prices.json"):
        planned({"budget_usd": 100, "instance_type": "ml.g7.2xlarge", "prepare": {"instance_type": "ml.g5.xlarge"}})


def test_another_region_is_estimated_by_the_list_and_held_to_no_budget_by_it() -> None:
    assert planned({}, "eu-central-1").money.cost.estimate == planned({}).money.cost.estimate
    assert "eu-central-1 has other prices, mostly higher ones" in notes({}, "eu-central-1")
    assert "other prices" not in notes({}, "us-west-2")
    with pytest.raises(OverBudget, match=r"what ml.m5.2xlarge costs in eu-central-1 is not known"):
        planned({"budget_usd": 100}, "eu-central-1")


def test_the_cost_of_an_endpoint() -> None:
    assert planned({"deployment": {"instance_count": 3}}).money.cost.endpoint_per_hour == 0.345
    assert "0.115 USD an hour (83.95 a month), and up to 0.230 when there are many requests" in notes({})
    assert "and up to" not in notes({"deployment": {"max_instance_count": 1}})
    assert planned({"deployment": {"kind": "serverless"}}).money.cost.endpoint_per_hour == 0.0
    assert "0.00008 USD a second while it answers one" in notes({"deployment": {"kind": "serverless"}})
    assert planned({"deployment": {"kind": "none"}}).money.cost.endpoint_per_hour == 0.0
    assert "endpoint" not in notes({"deployment": {"kind": "none"}})
    assert planned({"deployment": {"instance_type": "ml.m4.xlarge"}}).money.cost.endpoint_per_hour is None
    assert "the price of ml.m4.xlarge is missing" in notes({"deployment": {"instance_type": "ml.m4.xlarge"}})


def test_a_job_that_would_take_longer_than_a_day_is_told() -> None:
    many = replace(FOUND, files=10**8)
    assert "and SageMaker ends it after 86,400" in "\n".join(planned({"trainable": "all"}, photos=many).money.cost.notes)


def test_small_amounts_do_not_become_nothing() -> None:
    assert [in_dollars(amount) for amount in (None, Decimal(0), Decimal("0.0012"), Decimal("1234.5"))] == [
        "unknown",
        "0.00",
        "0.0012",
        "1,234.50",
    ]


def expected(photos: Photos = FOUND, **asked: Any) -> Durations:
    return expected_durations(ExecutionInput.parse(asked), photos)


def test_what_is_more_takes_longer() -> None:
    more = replace(FOUND, files=8000)
    assert expected(more).prepare > expected().prepare
    assert expected(trainable="all").training > expected(trainable="last_stage").training > expected().training
    assert expected(trainable="all", epochs=40).training > expected(trainable="all").training
    assert expected(trainable="all", tuning={"epochs": 40}).tuning_job > expected(trainable="all").tuning_job
    assert expected(trainable="all").training > expected(trainable="all", instance_count=2).training
    assert expected(trainable="all").training > expected(trainable="all", instance_type="ml.g5.xlarge").training
    assert expected(trainable="all").training > expected(trainable="all", input_mode="FastFile").training


def test_a_gpu_waits_for_the_processors_that_decode() -> None:
    slow, fast = (expected(trainable="last_stage", instance_type=machine).training for machine in ("ml.g5.xlarge", "ml.g5.4xlarge"))
    assert slow > fast


@given(st.sampled_from(sorted(asdict(HOUR))), st.integers(0, 10**9))
def test_durations_are_whole_and_above_nothing(kind: str, files: int) -> None:
    assert asdict(expected(replace(FOUND, files=files)))[kind] >= 90
