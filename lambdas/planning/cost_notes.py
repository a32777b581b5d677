"""What the output of an execution says of its cost: the figures, where they come from, and what is not in them.

Runs inside `prepare_execution`; standard library only.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from lambdas.planning.cost import JobCost, Limits, in_dollars, rounded, told
from lambdas.planning.prices import HOURS_PER_MONTH, LIST_REGION, OVERRIDES, PRICES_DATE, SAME_REGIONS, SERVERLESS_PER_GB_SECOND, Prices
from lambdas.request.deployment import Deployment
from lambdas.request.execution_input import ExecutionInput

CURRENCY = "USD"


def cost_told(asked: ExecutionInput, jobs: tuple[JobCost, ...], limits: Limits, prices: Prices) -> dict[str, Any]:
    """Estimate, worst case, what the endpoint costs an hour, and sentences on all of it."""
    return {
        "currency": CURRENCY,
        "prices_date": PRICES_DATE,
        "region": prices.region,
        **told(jobs, limits),
        "endpoint_per_hour": rounded(endpoint_per_hour(asked.deployment, asked.deployment.instance_count, prices)),
        "notes": [*price_notes(jobs, prices), *figure_notes(asked, jobs, limits), *endpoint_notes(asked.deployment, prices)],
    }


def endpoint_per_hour(asked: Deployment, machines: int, prices: Prices) -> Decimal | None:
    """So many machines of the endpoint; nothing where none runs, None where the price is not known."""
    if asked.kind != "instance":
        return Decimal(0)
    price = prices.per_hour(asked.instance_type)
    return None if price is None else machines * price


def price_notes(jobs: tuple[JobCost, ...], prices: Prices) -> Iterator[str]:
    """Where the prices come from, and which are missing."""
    yield f"Prices: AWS's list of {PRICES_DATE} for {LIST_REGION}, on demand, before discounts, free tier and taxes."
    if prices.own:
        yield f"{OVERRIDES} in the bucket goes before it for {', '.join(sorted(prices.own))}."
    types = {each: None for job in jobs if job.jobs for each in job.machines.instance_types}
    if prices.region not in SAME_REGIONS and any(not prices.is_sure(each) for each in types):
        yield f"{prices.region} has other prices, mostly higher ones: put them into {OVERRIDES} in the bucket."
    unknown = [each for each in types if prices.per_hour(each) is None]
    if unknown:
        yield f"The price of {', '.join(unknown)} is not known, so what depends on it is null: put it into {OVERRIDES} in the bucket."


def figure_notes(asked: ExecutionInput, jobs: tuple[JobCost, ...], limits: Limits) -> Iterator[str]:
    """What the two figures are, and what neither holds."""
    yield "The estimate takes rough times for each photo and epoch: it may be wrong by a factor of two either way."
    yield "The worst case lets every job run until its time limit" + (
        ", on the dearest of its instance types." if asked.instance_fallbacks else "."
    )
    for job in jobs:
        if job.jobs and job.seconds > limits[job.kind]:
            yield f"A {job.kind} job is expected to take {job.seconds:,} seconds, and SageMaker ends it after {limits[job.kind]:,}."
    if asked.spot:
        yield "Spare machines usually cost less than half; neither figure counts on it, for they may be none."
    again = "a redrive, or a search that goes on with another instance type, runs again"
    yield f"Not in either: S3, logs, Lambda and Step Functions, which are cents here, and what {again}."


def endpoint_notes(asked: Deployment, prices: Prices) -> Iterator[str]:
    """What goes on costing after the execution."""
    if asked.kind == "serverless":
        second = SERVERLESS_PER_GB_SECOND * asked.memory_mb / 1024
        yield f"The endpoint costs nothing between two requests, and {second:f} USD a second while it answers one."
    if asked.kind != "instance":
        return
    least, most = (endpoint_per_hour(asked, machines, prices) for machines in (asked.instance_count, asked.max_instance_count))
    if least is None or most is None:
        yield f"What the endpoint costs is not known: the price of {asked.instance_type} is missing."
        return
    busy = f", and up to {most:.3f} where requests become many" if most > least else ""
    yield f"The endpoint costs {least:.3f} USD an hour ({in_dollars(least * HOURS_PER_MONTH)} a month){busy}, until it is deleted."
