"""Ten thousand stories of executions in an account where everything goes wrong now and then: how many times something forbidden happened.

Runs on any machine, without AWS and without waiting; the definition and the Lambda functions are the real ones:

    python -m benchmarks.simulation [--seeds 10000] [--first 0]

tests/fixtures/stacks/simulation.py says what a story is and what must never happen. A seed that fails is named and plays the same again:
`python -m benchmarks.simulation --first SEED --seeds 1`.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import table
from benchmarks.results import write_result
from tests.fixtures.stacks.simulation import machine, simulate

CHUNK = 50
"""Seeds that a process plays at a time."""

ENDS = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")
WHAT = (
    "Each seed is one account with one execution or two at once. After every execution, and at the end of each story, what happened is "
    "held against the rules: it came to an end; no job ran on; no two jobs of an attempt ran at once; no attempt deployed twice, and none "
    "undid another's deployment; what is served is whole and was verified; the bill is within the worst case that the first state told."
)


@dataclass(frozen=True)
class Played:
    """What one seed gave."""

    seed: int
    told: Counter[str]
    violation: str = ""


def main(arguments: Sequence[str]) -> int:
    """Play the seeds on all cores, write the result; 1 if something forbidden happened."""
    options = parse(arguments)
    seeds = range(options.first, options.first + options.seeds)
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool() as processes:
        played = list(processes.imap_unordered(play, seeds, chunksize=CHUNK))
    measured = summed_up(played, time.monotonic() - began)
    print(write_result("simulation", {"seeds": options.seeds, "first": options.first, **measured}, describe(measured, options.seeds)))
    return 1 if measured["violations"] else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    return parser.parse_args(arguments)


def play(seed: int) -> Played:
    """One story; a state machine that cannot go on is as bad as one that does what it must not."""
    try:
        return Played(seed, simulate(seed))
    except AssertionError as found:
        return Played(seed, Counter(), str(found))


def summed_up(played: Sequence[Played], seconds: float) -> dict[str, Any]:
    """All seeds together."""
    told: Counter[str] = sum((each.told for each in played), Counter())
    visited = {name.removeprefix("state ") for name in told if name.startswith("state ")}
    return {
        "violations": {str(each.seed): each.violation for each in sorted(played, key=lambda each: each.seed) if each.violation},
        "executions": {end: told[end] for end in ENDS},
        "redriven": told["redriven"],
        "deployed": told["deployed"],
        "faults": {name.removeprefix("call "): count for name, count in sorted(told.items()) if name.startswith("call ")},
        "states_entered": sum(count for name, count in told.items() if name.startswith("state ")),
        "states_visited": len(visited),
        "states": len(machine()["States"]),
        "states_never_visited": sorted(set(machine()["States"]) - visited),
        "seconds": round(seconds, 1),
    }


def describe(measured: dict[str, Any], seeds: int) -> str:
    """The page."""
    ends, faults = measured["executions"], measured["faults"]
    rows = [
        ("stories", f"{seeds:,}"),
        ("stories in which something forbidden happened", str(len(measured["violations"]))),
        ("executions, each counted anew when it was redriven", f"{sum(ends.values()):,}"),
        ("of these succeeded, failed, aborted, timed out", ", ".join(f"{ends[end]:,}" for end in ENDS)),
        ("redriven", f"{measured['redriven']:,}"),
        ("models deployed", f"{measured['deployed']:,}"),
        ("calls that went wrong", f"{sum(faults.values()):,} ({', '.join(f'{name} {count:,}' for name, count in faults.items())})"),
        ("states entered", f"{measured['states_entered']:,}"),
        ("states of the machine that were entered", f"{measured['states_visited']} of {measured['states']}"),
        ("seconds", f"{measured['seconds']:,.0f}"),
    ]
    failed = "".join(f"\n- seed {seed}: {found}" for seed, found in measured["violations"].items())
    never = ", ".join(measured["states_never_visited"]) or "none"
    return f"{WHAT}\n\n{table(('', ''), rows)}\n\nNever entered: {never}.\n{failed}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
