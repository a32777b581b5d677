"""What an execution will cost, what it can cost at most, and how long its jobs may run so that a budget holds.

Runs inside `prepare_execution`; standard library only. Two figures: the estimate, which is the cost if the jobs take the time that
lambdas/planning/durations.py expects; and the worst case, in which every job runs until SageMaker ends it, on its most expensive instance
type, without a spot discount. An execution is refused if its estimate exceeds the budget; run times are limited so that its worst case
does not.

    jobs = job_costs(12, durations, preparing, training, prices)
    limits = run_time_limits(jobs, budget)                          # seconds that each job may run
    estimate(jobs), worst_case(jobs, limits)                        # {"prepare": …, "tuning": …, "training": …, "total": …} each
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from lambdas.planning.durations import Durations
from lambdas.planning.prices import HOURS_PER_MONTH, OVERRIDES, STORAGE_PER_GB_MONTH, Prices
from training.contract.limits import LONGEST_JOB_SECONDS

LEAST_SECONDS = 600
PATIENCE = 2
"""A job may run at least this many times as long as expected, and LEAST_SECONDS: a limit at the estimate would end half of all jobs."""
ENDING_SECONDS = 120
"""Time between the signal to a job that has reached its limit and its end."""

STEPS = 40
"""Halvings of the search for the longest limits: enough for less than a second."""

KINDS = ("prepare", "tuning", "training")
Limits = dict[str, int]
"""Kind of job -> seconds that each job of it may run."""
Amounts = dict[str, float | None]
"""Kind of job, and `total` -> US dollars; None where a price is not known."""


class OverBudget(ValueError):  # noqa: N818 - the name is what the state machine shows
    """The execution is expected to cost more than `budget_usd`, or cannot be held to it; the message gives the figures."""


@dataclass(frozen=True)
class Machines:
    """What a job runs on."""

    instance_types: tuple[str, ...]
    """The requested one, then those that are tried where there is no capacity for it."""
    count: int
    disk_gb: int


@dataclass(frozen=True)
class JobCost:
    """The jobs of one kind."""

    kind: str
    """`prepare`, `tuning` or `training`."""
    jobs: int
    """How many there are at most; 0 where an earlier execution left the data set."""
    seconds: int
    """Expected of each job."""
    machines: Machines
    prices: Prices

    @property
    def least_seconds(self) -> int:
        """Shortest limit of each job."""
        return min(LONGEST_JOB_SECONDS, max(LEAST_SECONDS, PATIENCE * self.seconds))

    def expected(self) -> Decimal | None:
        """Return what the jobs should cost; None where a price is not known."""
        return self.dollars(self.seconds, self.machines.instance_types[:1])

    def at_most(self, seconds: int) -> Decimal | None:
        """Return what they cost if each runs for so long on its most expensive instance type."""
        return self.dollars(seconds + ENDING_SECONDS, self.machines.instance_types)

    def dollars(self, seconds: int, instance_types: tuple[str, ...]) -> Decimal | None:
        """Return what so many seconds of each job cost."""
        hourly = [self.prices.per_hour(instance) for instance in instance_types]
        known = [price for price in hourly if price is not None]
        if self.jobs and len(known) < len(hourly):
            return None
        disk = self.machines.disk_gb * STORAGE_PER_GB_MONTH / HOURS_PER_MONTH
        return self.jobs * self.machines.count * seconds * (max(known, default=Decimal(0)) + disk) / 3600


def job_costs(tuning_jobs: int, expected: Durations, preparing: Machines | None, training: Machines, prices: Prices) -> tuple[JobCost, ...]:
    """Return one for each kind; `preparing` is None where an earlier execution left the data set."""
    return (
        JobCost("prepare", 1 if preparing else 0, expected.prepare, preparing or training, prices),
        JobCost("tuning", tuning_jobs, expected.tuning_job, training, prices),
        JobCost("training", 1, expected.training, training, prices),
    )


def run_time_limits(jobs: tuple[JobCost, ...], budget: Decimal | None) -> Limits:
    """Return the longest run times with which all jobs together cost no more than the budget; raise OverBudget if they are too short."""
    if budget is None:
        return dict.fromkeys(KINDS, LONGEST_JOB_SECONDS)
    require_prices(jobs, budget)
    require_enough(jobs, budget)
    return longest(jobs, lambda limits: total(jobs, limits) <= budget)


def longest(jobs: tuple[JobCost, ...], affordable: Callable[[Limits], bool]) -> Limits:
    """Return the same multiple of each job's shortest limit, the largest that is affordable; no job runs longer than a day."""

    def multiple(factor: float) -> Limits:
        return {job.kind: min(LONGEST_JOB_SECONDS, int(factor * job.least_seconds)) for job in jobs}

    low, high = 1.0, LONGEST_JOB_SECONDS / LEAST_SECONDS
    for _step in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if affordable(multiple(middle)) else (low, middle)
    return multiple(high) if affordable(multiple(high)) else multiple(low)


def total(jobs: tuple[JobCost, ...], limits: Limits) -> Decimal:
    """Return what all jobs cost at their limits, without those of unknown price."""
    return sum((job.at_most(limits[job.kind]) or Decimal(0) for job in jobs), Decimal(0))


def require_prices(jobs: tuple[JobCost, ...], budget: Decimal) -> None:
    """Refuse a budget where the prices of this account's region are not known."""
    unsure = {each: None for job in jobs if job.jobs for each in job.machines.instance_types if not job.prices.is_sure(each)}
    if unsure:
        region = jobs[0].prices.region
        raise OverBudget(
            f"budget_usd is {budget:,}, but what {', '.join(unsure)} costs in {region} is not known, so it cannot be enforced; "
            f'put the prices an hour into {OVERRIDES} in the stack\'s bucket, such as {{"{next(iter(unsure))}": 1.23}}, '
            "or leave budget_usd out"
        )


def require_enough(jobs: tuple[JobCost, ...], budget: Decimal) -> None:
    """Refuse a budget below the estimate, or one that would limit a job to less than PATIENCE times its expected time."""
    expected = sum((job.expected() or Decimal(0) for job in jobs), Decimal(0))
    parts = ", ".join(f"{job.kind} {in_dollars(job.expected())}" for job in jobs if job.jobs)
    change = "raise budget_usd, lower tuning.max_jobs or the epochs, or take a cheaper instance_type"
    if expected > budget:
        raise OverBudget(
            f"the execution is expected to cost {in_dollars(expected)} USD ({parts}), which is more than budget_usd, {budget:,}; {change}"
        )
    least = total(jobs, {job.kind: job.least_seconds for job in jobs})
    if least > budget:
        raise OverBudget(
            f"the execution is expected to cost {in_dollars(expected)} USD ({parts}), but it cannot be held to a budget_usd of {budget:,}: "
            f"each job must be allowed {PATIENCE} times what is expected of it and at least {LEAST_SECONDS // 60} minutes, "
            f"and together they could then cost {in_dollars(least)} USD; {change}"
        )


def estimate(jobs: tuple[JobCost, ...]) -> Amounts:
    """Return what each kind of job should cost."""
    return add_total({job.kind: job.expected() for job in jobs})


def worst_case(jobs: tuple[JobCost, ...], limits: Limits) -> Amounts:
    """Return what each kind of job can cost at most."""
    return add_total({job.kind: job.at_most(limits[job.kind]) for job in jobs})


def add_total(amounts: dict[str, Decimal | None]) -> Amounts:
    """Return the amounts, and their sum where all are known."""
    known = [amount for amount in amounts.values() if amount is not None]
    whole = sum(known, Decimal(0)) if len(known) == len(amounts) else None
    return {kind: rounded(amount) for kind, amount in {**amounts, "total": whole}.items()}


def rounded(amount: Decimal | None) -> float | None:
    """Return an amount to a hundredth of a cent, as JSON has it."""
    return None if amount is None else float(round(amount, 4))


def in_dollars(amount: Decimal | None) -> str:
    """Return `1.23`, or `0.0012` for less than a cent."""
    if amount is None:
        return "unknown"
    return f"{amount:,.2f}" if not amount or amount >= Decimal("0.01") else f"{amount:.4f}"
