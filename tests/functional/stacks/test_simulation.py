"""Simulated executions: nothing that they must never do happens in any of these seeds; and the simulation would see it if it did.

`python -m benchmarks.simulation` plays ten thousand. A seed that fails there or here stays in REGRESSIONS, with what it had found.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fixtures.stacks.simulation import machine, simulate

SEEDS = 150

REGRESSIONS = {
    431: "an execution that was aborted and redriven before its job had been stopped went on beside that job",
    1652: "the same, where ReapExecution could not stop the tuning job and the redrive then hid it",
    62: "a tuning job that SageMaker had refused was asked for its training jobs",
    1071: "an update whose answer was lost was not undone, since the look after it was refused",
    1507: "the same",
    1830: "the same, for a look that could not be understood",
    3408: "a redriven execution failed while the endpoint still had the config of the attempt before, and did not say so",
    4948: "a redriven execution brought the endpoint back to the unverified config of its own earlier attempt",
}
"""Seed -> what it had found."""


@pytest.mark.parametrize("first", range(0, SEEDS, 15))
def test_nothing_happens_that_never_must(first: int) -> None:
    for seed in range(first, first + 15):
        simulate(seed)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_a_seed_once_found_is_mended(seed: int) -> None:
    simulate(seed)


def test_a_seed_is_always_the_same_story() -> None:
    assert simulate(7) == simulate(7)


def test_the_seeds_come_to_most_states() -> None:
    """What they leave out is rare, as a rollback of a rollback is; other tests walk each state."""
    told: Counter[str] = sum((simulate(seed) for seed in range(60)), Counter())
    states = set(machine()["States"])
    assert len({each.removeprefix("state ") for each in told if each.startswith("state ")} & states) > 0.8 * len(states)
    assert min(told[end] for end in ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT", "redriven", "deployed")) > 3


def going(state: str, to: str) -> Callable[[dict[str, Any]], None]:
    """The machine with all ways to one state leading to another."""

    def mutate(states: dict[str, Any]) -> None:
        written = json.dumps(states).replace(f'"Next": "{state}"', f'"Next": "{to}"').replace(f'"Default": "{state}"', f'"Default": "{to}"')
        states |= json.loads(written)

    return mutate


def rewritten(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    """The machine with another expression."""

    def mutate(states: dict[str, Any]) -> None:
        written = json.dumps(states)
        assert old in written
        states |= json.loads(written.replace(old, new))

    return mutate


WORSE: dict[str, tuple[Callable[[dict[str, Any]], None], str, int]] = {
    "deployments are not undone": (going("LookBeforeUndo", "CleanUp"), "it failed, and the endpoint has", 0),
    "what the endpoint answers is not looked at": (rewritten("$verification.verified", "true"), "was deployed and answers wrongly", 0),
    "lost jobs are not stopped": (going("StopLostJob", "WaitAfterLostJob"), "was started at", 0),
    "jobs run for as long as they like": (rewritten("$plan.training_seconds", "864000"), "may cost", 0),
    "another execution's endpoint is undone": (rewritten("$endpoint_serves != $endpoint_config or", "false or"), "not its own", 1600),
    "failures clean nothing up": (going("CleanUp", "NotifyFailed"), "it failed while", 0),
    "a lost update is not undone": (going("WasEndpointAsked", "CleanUp"), "it failed, and the endpoint has", 300),
}
"""What could be wrong -> how, a part of what the simulation says of it, and the first seed to look in: some faults must meet."""


@pytest.mark.parametrize("what", WORSE)
def test_a_worse_machine_is_seen(what: str) -> None:
    mutate, said, first = WORSE[what]
    assert next((each for each in violations(mutate, first) if said in each), "")


def violations(mutate: Callable[[dict[str, Any]], None], first: int, reaped: bool = True) -> Iterator[str]:
    """What the seeds from the first on say in which something is not as it must be."""
    worse = copy.deepcopy(machine())
    mutate(worse["States"])
    for seed in range(first, first + 200):
        try:
            simulate(seed, worse, reaped)
        except AssertionError as found:
            yield str(found)


def test_executions_that_are_stopped_from_outside_need_the_reaper() -> None:
    """Otherwise their jobs run on."""
    assert "still ran an hour after the end" in next(violations(lambda _: None, 0, reaped=False))
