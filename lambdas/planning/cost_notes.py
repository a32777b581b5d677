"""The cost in the output of an execution: the figures, where they come from, and what they do not include.

Runs inside `prepare_execution`; standard library only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from lambdas.planning.cost import Amounts, JobCost, Limits, estimate, in_dollars, rounded, worst_case
from lambdas.planning.prices import HOURS_PER_MONTH, LIST_REGION, OVERRIDES, PRICES_DATE, SAME_REGIONS, SERVERLESS_PER_GB_SECOND, Prices
from lambdas.request.deployment import Deployment
from lambdas.request.execution_input import ExecutionInput

CURRENCY = "USD"


@dataclass(frozen=True)
class Cost:
    """What an execution should cost, and can cost at most."""

    currency: str
    prices_date: str
    region: str
    estimate: Amounts
    worst_case: Amounts
    endpoint_per_hour: float | None
    """0 for an endpoint without instances, None where the price is not known."""
    notes: tuple[str, ...]


def estimate_cost(requested: ExecutionInput, jobs: tuple[JobCost, ...], limits: Limits, prices: Prices) -> Cost:
    """Return the figures, with notes on all of them."""
    deployment = requested.deployment
    return Cost(
        currency=CURRENCY,
        prices_date=PRICES_DATE,
        region=prices.region,
        estimate=estimate(jobs),
        worst_case=worst_case(jobs, limits),
        endpoint_per_hour=rounded(price_endpoint(deployment, deployment.instance_count, prices)),
        notes=(*note_prices(jobs, prices), *note_figures(requested, jobs, limits), *note_endpoint(deployment, prices)),
    )


def price_endpoint(deployment: Deployment, instances: int, prices: Prices) -> Decimal | None:
    """Return what so many instances cost an hour; 0 for an endpoint without any, None where the price is not known."""
    if deployment.kind != "instance":
        return Decimal(0)
    price = prices.per_hour(deployment.instance_type)
    return None if price is None else instances * price


def note_prices(jobs: tuple[JobCost, ...], prices: Prices) -> Iterator[str]:
    """Yield where the prices come from, and which are missing."""
    yield f"Prices: AWS's list of {PRICES_DATE} for {LIST_REGION}, on demand, before discounts, free tier and taxes."
    if prices.own:
        yield f"{OVERRIDES} in the bucket overrides it for {', '.join(sorted(prices.own))}."
    types = {each: None for job in jobs if job.jobs for each in job.machines.instance_types}
    if prices.region not in SAME_REGIONS and any(not prices.is_sure(each) for each in types):
        yield f"{prices.region} has other prices, mostly higher ones: put them into {OVERRIDES} in the bucket."
    unknown = [each for each in types if prices.per_hour(each) is None]
    if unknown:
        yield f"The price of {', '.join(unknown)} is not known, so what depends on it is null: put it into {OVERRIDES} in the bucket."


def note_figures(requested: ExecutionInput, jobs: tuple[JobCost, ...], limits: Limits) -> Iterator[str]:
    """Yield what the two figures are, and what neither includes."""
    yield "The estimate uses rough times per photo and epoch: it may be wrong by a factor of two in either direction."
    dearest = ", on the most expensive of its instance types" if requested.instance_fallbacks else ""
    yield f"In the worst case every job runs until its time limit{dearest}."
    for job in jobs:
        if job.jobs and job.seconds > limits[job.kind]:
            yield f"A {job.kind} job is expected to take {job.seconds:,} seconds, and SageMaker ends it after {limits[job.kind]:,}."
    if requested.spot:
        yield "Spot instances usually cost less than half; neither figure includes the discount, because there may be no capacity."
    again = "jobs that a redrive, or a search that continues with another instance type, runs again"
    yield f"Not included in either: S3, logs, Lambda and Step Functions, which cost cents here, and {again}."


def note_endpoint(deployment: Deployment, prices: Prices) -> Iterator[str]:
    """Yield what costs money after the execution."""
    if deployment.kind == "serverless":
        second = SERVERLESS_PER_GB_SECOND * deployment.memory_mb / 1024
        yield f"The endpoint costs nothing between two requests, and {second:f} USD a second while it answers one."
    if deployment.kind != "instance":
        return
    least, most = (price_endpoint(deployment, count, prices) for count in (deployment.instance_count, deployment.max_instance_count))
    if least is None or most is None:
        yield f"The cost of the endpoint is not known: the price of {deployment.instance_type} is missing."
        return
    busy = f", and up to {most:.3f} when there are many requests" if most > least else ""
    yield f"The endpoint costs {least:.3f} USD an hour ({in_dollars(least * HOURS_PER_MONTH)} a month){busy}, until it is deleted."
