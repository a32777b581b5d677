"""Whether the rules find what is wrong, and are silent where nothing is: planted faults, and healthy trainings.

Runs on any machine with at least two cores; trainings are real, by the job's own loop, hook and rules:

    python -m benchmarks.faults chess flowers5.zip dogs20.zip [--seeds 100]

A fault is found when every rule that is named for it finds an issue. A healthy training raises a false alarm when any of the default rules,
debugger's or profiler's, finds one. The rules get what our jobs pass them, see training.rules.names.
"""

import argparse
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")  # before it is imported, here and in the processes that are started
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")  # trainings are over when they are judged

import torch

from benchmarks.faults.fault import Fault, Workplace
from benchmarks.faults.heads import HEADS
from benchmarks.faults.healthy import healthy
from benchmarks.faults.machines import MACHINES, judged, sound
from benchmarks.faults.networks import NETWORKS
from benchmarks.faults.page import describe
from benchmarks.inputs import photos_of, prepared_dataset, say, title, weights_channel
from benchmarks.results import write_result

FAULTS: tuple[Fault, ...] = (*HEADS, *NETWORKS, *MACHINES)
PROCESSES = 2
SUMMARY = "ProfilerReport"
"""Says what the other profiler rules say; it is told of, but neither finds nor alarms by itself."""


def main(arguments: Sequence[str]) -> None:
    """Plant, train, judge, write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    parser.add_argument("data", nargs=3, help="chess, flowers5 and dogs20, in this order: names, zips or folders of class folders")
    parser.add_argument("--seeds", type=int, default=100, help="healthy trainings, and as many sound machines")
    parser.add_argument("--prepared", nargs=3, type=Path, help="the same data sets as PrepareDataset left them; made where not given")
    options = parser.parse_args(arguments)
    prepared = tuple(options.prepared or (prepared_dataset(name).folder for name in options.data))
    place = Workplace(prepared, tuple(map(photos_of, options.data)), weights_channel())
    with multiprocessing.get_context("spawn").Pool(PROCESSES, initializer=torch.set_num_threads, initargs=(1,)) as processes:
        faults = told(processes.imap(partial(find, place), range(len(FAULTS))))
        trainings = told(processes.imap(partial(train_healthy, place), range(options.seeds)))
        machines = told(processes.imap(judge_sound, range(options.seeds)))
    measured = {
        "data_sets": [title(name) for name in options.data],
        "found": sum(each["found"] for each in faults),
        "planted": len(faults),
        "healthy_trainings": summed(trainings),
        "sound_machines": summed(machines),
        "faults": faults,
    }
    print(write_result("faults", measured, describe(measured)))


def find(place: Workplace, number: int) -> dict[str, Any]:
    """Plant a fault; return who found it, and who else spoke."""
    fault = FAULTS[number]
    said = fault.run(place)
    issues = [name for name in said.of("IssuesFound") if name != SUMMARY]
    details = {each.RuleConfigurationName: each.StatusDetails for each in said.statuses}
    control = fault.control(place).of("IssuesFound") if fault.control else ()
    return {
        "planted": fault.planted,
        "must_find": list(fault.found_by),
        "found": set(fault.found_by) <= set(issues) and not set(fault.found_by) & set(control),
        "others": [name for name in issues if name not in fault.found_by],
        "no_verdict": list(said.of("Error")),
        "details": {name: details.get(name) for name in fault.found_by},
    }


def train_healthy(place: Workplace, seed: int) -> dict[str, Any]:
    """Train one; return who spoke."""
    said = healthy(place, seed)
    return {"seed": seed, **alarms(said)}


def judge_sound(seed: int) -> dict[str, Any]:
    """Judge one machine; return who spoke."""
    return {"seed": seed, **alarms(judged(sound(seed), seed))}


def alarms(said: Any) -> dict[str, Any]:
    """Return false alarms, with what they say, and rules without a verdict."""
    issues = {each.RuleConfigurationName: each.StatusDetails for each in said.statuses if each.RuleEvaluationStatus == "IssuesFound"}
    return {"alarms": {name: details for name, details in issues.items() if name != SUMMARY}, "no_verdict": list(said.of("Error"))}


def summed(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many runs alarmed, and which rules."""
    return {
        "runs": len(runs),
        "with_false_alarms": sum(bool(run["alarms"]) for run in runs),
        "by_rule": dict(Counter(name for run in runs for name in run["alarms"])),
        "without_verdict_by_rule": dict(Counter(name for run in runs for name in run["no_verdict"])),
        "alarms": [run for run in runs if run["alarms"]],
    }


def told(results: Any) -> list[dict[str, Any]]:
    """Say each result as it comes; return all."""
    kept = []
    for result in results:
        kept.append(result)
        say(str({name: value for name, value in result.items() if name != "details"}))
    return kept


if __name__ == "__main__":
    main(sys.argv[1:])
