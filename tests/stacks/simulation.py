"""Whole executions of the real state machine, with the real Lambda functions, in an account where everything goes wrong now and then.

`simulate(seed)` plays one story, always the same for a seed: one execution or two at once; calls that are throttled, refused, slow, or
carried out without an answer; jobs that fail, are stopped, get no machine or never end; endpoints that fail, roll back or take for ever;
executions that are aborted, time out and are redriven; the reaper after them. It raises Violation where something is not as it must be:

    every execution comes to an end: it succeeded, or failed with a sentence that names a state
    no job of an execution runs an hour after its end, and none at all after a good one
    no two jobs of an attempt run at the same time; a redrive may meet the job of an aborted one, which is stopped by its end
    an execution that failed has left no job and no endpoint of its own, or says so; a deployed model answers as its training job promised
    no execution undoes what another has deployed, and none brings two endpoint configs into service in one attempt
    in the end the endpoint is absent, or in service with a config whose model is there and which somebody verified
    what the jobs cost is within the worst case that the first state told

Waiting takes no time here: each execution has a clock, and the one that is furthest behind goes on.
"""

import contextlib
import io
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.aws import executions
from lambdas.aws.run_names import run_name
from lambdas.planning.bill import bill_of
from lambdas.reap_execution import reap
from stacks.state_machine.definition import definition
from tests.stacks.execution import Execution, filled_in
from tests.stacks.simulated_account import EPOCH, INITIAL_CONFIG, PROJECT, Account, Job, Request, require, with_a_model_before
from tests.stacks.simulated_calls import PRICES, Calls
from tests.stacks.simulated_clients import StepFunctions

REAPER_SECONDS = 15 * 60
STOPPING_SECONDS = 60
"""What a job takes that is told to end."""
AFTER_THE_END = 3600
LOST_JOB_SECONDS = 3600
"""What a job whose start nobody answered may run until it is stopped; it is paid for beside the worst case."""
BAD_ENDS = ("FAILED", "ABORTED", "TIMED_OUT")
TYPES = ("ml.m5.xlarge", "ml.m5.2xlarge", "ml.c5.4xlarge")
MOST_TUNED = 4
BILLED_AS = {"processing job": "prepare", "tuning job": "tuning", "training job": "training"}
"""Kind of job in a bill -> what the worst case calls it."""


@cache
def machine() -> Request:
    """The real definition, with its real bounds."""
    return filled_in(definition())


def simulate(seed: int, played: Request | None = None, reaped: bool = True) -> Counter[str]:
    """Plays the story of a seed, and gives what happened, counted; raises Violation. `played`: another machine than the real one."""
    with contextlib.redirect_stdout(io.StringIO()):
        return Story(seed, played or machine(), reaped).play()


@dataclass
class Story:
    """One seed's account, executions and faults."""

    seed: int
    machine: Request = field(default_factory=machine)
    reaped: bool = True
    """Whether ReapExecution does its work."""
    random: Random = field(init=False)
    account: Account = field(init=False)
    runners: "list[Runner]" = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """An account with a model in service or without, and one execution or two in it."""
        self.random = Random(self.seed)
        self.account = Account(self.random)
        if self.random.random() < 0.7:
            with_a_model_before(self.account, "InService" if self.random.random() < 0.9 else "Failed")
        self.rate = self.random.choice([0.0, 0.01, 0.03, 0.1])
        starts = [0.0, self.random.choice([0.0, self.random.uniform(0, 20_000)])]
        self.runners = [Runner(self, number, starts[number]) for number in range(2 if self.random.random() < 0.4 else 1)]

    def play(self) -> Counter[str]:
        """To the end of all executions and of what is done after them."""
        reaper = Reaper(self)
        while any(runner.goes_on for runner in self.runners) or reaper.is_needed:
            actors: list[Runner | Reaper] = [*self.runners, reaper]
            actor = min((each for each in actors if each.goes_on), key=lambda each: each.at)
            self.account.now = actor.at
            self.account.settle()
            actor.step()
            reaper.hear_of(actor)
        for runner in self.runners:
            self.told.update(f"state {name}" for name in runner.execution.visited)
            runner.look_at_the_end()
        self.look_at_the_endpoint()
        return self.told

    def look_at_the_endpoint(self) -> None:
        """Absent, or sound; one that had failed before anything began is removed by nobody but who deploys."""
        endpoint, account = self.account.endpoint, self.account
        if endpoint is not None:
            sound = endpoint.status == "InService" or (endpoint.status, endpoint.config) == ("Failed", INITIAL_CONFIG)
            require(sound, f"the endpoint is {endpoint.status} with {endpoint.config}")
            require(account.is_whole(endpoint.config), f"the endpoint serves {endpoint.config}, which is no longer whole")
            require(endpoint.config in {INITIAL_CONFIG, *account.recorded}, f"the endpoint serves {endpoint.config}, which nobody verified")


class Runner:
    """One execution, and what happens to it."""

    def __init__(self, story: Story, number: int, start: float) -> None:
        """It is about to begin."""
        self.story, self.account, self.random = story, story.account, story.random
        began = EPOCH + timedelta(seconds=round(start, 3))
        arn = f"arn:aws:states:us-east-1:000000000000:execution:{PROJECT}:{story.seed}-{number}"
        self.calls = Calls(self.account, self.random, story.rate, start)
        moment = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.execution = Execution(story.machine, self.calls, some_input(self.random), id=arn, start_time=moment)
        self.calls.execution, self.calls.run = self.execution, run_name(PROJECT, arn, began)
        self.calls.running_runs = lambda: {runner.run for runner in story.runners if runner.goes_on}
        self.began = began
        self.enter(story.machine["StartAt"], self.execution.input)
        self.ended = 0.0
        self.stops_at = start + self.random.expovariate(1 / 5000) if self.random.random() < 0.25 else float("inf")

    def enter(self, state: str, value: Any) -> None:
        self.status = "RUNNING"
        self.walk = self.execution.walk(state, value)
        self.state = next(self.walk)

    @property
    def run(self) -> str:
        return self.calls.run

    @property
    def at(self) -> float:
        return self.calls.at

    @property
    def goes_on(self) -> bool:
        return self.status == "RUNNING"

    def step(self) -> None:
        """One state; an abort in the middle of it leaves the variables as they were when it was entered."""
        variables, waited, state = dict(self.execution.variables), self.execution.waited, self.state
        self.calls.begun = self.at
        following = next(self.walk, None)
        self.calls.at += max(0.05, self.execution.waited - waited)
        if self.at >= self.stops_at:
            self.execution.variables, self.execution.failed_in = variables, state
            self.calls.at = max(self.calls.begun, self.stops_at)
            self.end(self.random.choice(["ABORTED", "TIMED_OUT"]))
        elif following is None:
            self.end("FAILED" if self.execution.failed_in else "SUCCEEDED")
        else:
            self.state = following

    def end(self, status: str) -> None:
        self.status, self.ended, self.stops_at = status, self.at, float("inf")
        self.story.told[status] += 1
        self.story.told.update({f"call {each}": count for each, count in Counter(self.calls.wrong).items()})
        self.calls.wrong.clear()
        if status == "FAILED":
            self.look_at_the_failure()
        if status == "SUCCEEDED":
            self.look_at_the_success()

    def look_at_the_failure(self) -> None:
        """It said what failed, and left nothing behind, or said what."""
        cause, last = self.execution.cause, self.execution.visited[-1]
        require(cause.partition(" failed")[0] in self.story.machine["States"], f"{cause!r} names no state")
        require(last in ("ExecutionFailed", "FailedForGood"), f"it failed in {last}")
        told = any(each in cause for each in ("could not be", "is not known"))
        require(told or not self.running_jobs(self.at), f"it failed while {self.running_jobs(self.at)} ran: {cause}")
        endpoint = self.account.endpoint
        made = {name for name, attempt in self.calls.attempts.items() if attempt == self.execution.redrives}
        ours = endpoint is not None and endpoint.status != "Deleting" and made & {endpoint.config, endpoint.pending}
        require("may be left with" in cause or not ours, f"it failed, and the endpoint has {endpoint}: {cause}")

    def look_at_the_success(self) -> None:
        """Nothing runs, and what was deployed answers as it should."""
        output = self.execution.output
        told = any("earlier attempt" in each or "still run" in each for each in output["warnings"])
        require(told or not self.running_jobs(self.at), f"it succeeded while {self.running_jobs(self.at)} ran")
        if output["deployed"]:
            require(output["endpoint_config"] in self.account.recorded, "a deployment was not recorded")
            require(output["model"] not in self.account.wrong_models, f"{output['model']} was deployed and answers wrongly")
            self.story.told["deployed"] += 1

    def redrive(self) -> None:
        """From the state that failed, as RedriveExecution does."""
        self.story.told["redriven"] += 1
        self.execution.redrives += 1
        state, self.execution.failed_in = self.execution.failed_in, ""
        self.calls.at = self.account.now
        self.enter(state, {})

    def attempt_of(self, job: Job) -> int:
        return self.calls.attempts[job.name]

    @property
    def jobs(self) -> list[Job]:
        return sorted((job for job in self.account.jobs.values() if job.run == self.run), key=lambda job: job.start)

    def running_jobs(self, now: float) -> list[str]:
        """But those that have been told to end."""
        return [job.name for job in self.jobs if job.end > now + STOPPING_SECONDS]

    def look_at_the_end(self) -> None:
        """Raises Violation."""
        for earlier, later in pairwise(self.jobs):
            apart = later.start >= earlier.end - STOPPING_SECONDS - 1 or self.attempt_of(later) > self.attempt_of(earlier)
            require(apart, f"{later.name} was started at {later.start:.0f}, while {earlier.name} ran until {earlier.end:.0f}")
        attempts = Counter(self.calls.attempts[config] for config in set(self.account.served) if config in self.calls.attempts)
        require(all(count < 2 for count in attempts.values()), f"an attempt of {self.run} deployed twice: {attempts}")
        self.look_at_the_bill()

    def look_at_the_bill(self) -> None:
        """Jobs that were lost come on top, and each redrive may spend as much again."""
        if not self.calls.worst_case:
            return
        dearest = max(PRICES.per_hour(each) or Decimal(0) for each in TYPES)
        lost = self.calls.lost_jobs * MOST_TUNED * dearest * LOST_JOB_SECONDS / 3600
        spent: Counter[str] = Counter()
        for line in bill_of(self.run, self.calls.clients(), PRICES.per_hour).lines:
            spent[BILLED_AS[line.kind]] += line.usd or Decimal(0)  # type: ignore[assignment]
        for kind, dollars in spent.items():
            allowed = self.calls.worst_case[kind] * (1 + self.execution.redrives) + lost
            require(dollars <= allowed + Decimal("0.01"), f"the {kind} of {self.run} cost {dollars:.2f}, and may cost {allowed:.2f}")


class Reaper:
    """ReapExecution after each bad end and every 15 minutes for a day; and somebody who redrives some of the executions in between."""

    def __init__(self, story: Story) -> None:
        """Nothing has ended."""
        self.story, self.goes_on = story, True
        self.due: list[float] = []
        """When the next events, and the schedule after them, call it."""
        self.quiet = 0
        """Times in a row that there was nothing to be done."""
        self.redriven_at: dict[str, float] = {}

    @property
    def at(self) -> float:
        return min(self.due, default=float("inf"))

    @property
    def ended_badly(self) -> list[Runner]:
        return [each for each in self.story.runners if each.status in BAD_ENDS]

    @property
    def is_needed(self) -> bool:
        return bool(self.ended_badly) and self.quiet < 3

    def hear_of(self, actor: Any) -> None:
        """An execution that has just ended badly; one in three is redriven within some hours."""
        if actor in self.ended_badly:
            self.quiet = 0
            self.due.append(actor.at + 5)
            if actor.run not in self.redriven_at and self.story.random.random() < 0.3:
                self.redriven_at[actor.run] = actor.at + self.story.random.uniform(0, 3) * 3600

    def step(self) -> None:
        """Looks at all that ended badly."""
        now = self.at
        self.due.remove(now)
        for runner in self.ended_badly:
            if now >= self.redriven_at.get(runner.run, float("inf")):
                self.redriven_at[runner.run] = float("inf")
                runner.redrive()
            elif now >= runner.ended + AFTER_THE_END:
                require(not runner.running_jobs(now), f"{runner.running_jobs(now)} still ran an hour after the end")
        self.quiet = self.quiet + 1 if not self.reap(now) and not self.is_redrive_due() else 0
        if not any(now < each <= now + REAPER_SECONDS for each in self.due):
            self.due.append(now + REAPER_SECONDS)

    def is_redrive_due(self) -> bool:
        return any(each.run in self.redriven_at and self.redriven_at[each.run] < float("inf") for each in self.ended_badly)

    def reap(self, now: float) -> bool:
        """Whether there was anything to be done, or is."""
        story = self.story
        if not story.reaped:
            return False
        ended = [executions.Execution(each.execution.id, each.began, each.status) for each in self.ended_badly]
        statuses = StepFunctions({each.execution.id: each.status for each in story.runners})
        clients = Calls(story.account, story.random, 0, now).clients(story.rate / 10)
        try:
            answers = reap(ended, PROJECT, statuses, clients, clients)
        except (ClientError, BotoCoreError):
            return True
        moving = story.account.endpoint is not None and story.account.endpoint.settled > 0
        return moving or any(done for answer in answers.values() for done in answer.values())


def some_input(random: Random) -> Request:
    """What somebody may ask of an execution."""
    kind = random.choice(["instance"] * 6 + ["serverless", "none"])
    deployment: Request = {"kind": kind, "keep_versions": random.choice([1, 2, 5])}
    if kind == "instance":
        deployment |= {"instance_type": random.choice(["ml.m5.large", "ml.m5.xlarge"]), "max_instance_count": random.choice([1, 2])}
    return {
        "instance_type": TYPES[1],
        "instance_fallbacks": random.choice([[], [TYPES[2]], [TYPES[0], TYPES[2]]]),
        "tuning": {"max_jobs": random.randint(1, MOST_TUNED)},
        "spot": random.random() < 0.2,
        "debugger": "managed" if random.random() < 0.15 else "embedded",
        "approval": "manual" if random.random() < 0.15 else "automatic",
        "budget_usd": random.choice([None, 30, 100]),
        "deployment": deployment,
    }
