"""Whether the rules find what is wrong, and are silent where nothing is: planted faults, and healthy trainings.

Runs on any machine with at least two cores; trainings are real, by the job's own loop, hook and rules:

    python -m benchmarks.faults chess flowers5.zip dogs20.zip [--seeds 100]

A fault is found when every rule that is named for it finds an issue. A healthy training raises a false alarm when any of the default rules,
debugger's or profiler's, finds one. The rules get what our jobs pass them, see training.contract.rules.
"""

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults.fault import Workplace
from benchmarks.faults.judging import FAULTS, find, judge_sound, train_healthy
from benchmarks.faults.page import describe
from benchmarks.inputs import photos_of, prepared_dataset, say, title, weights_channel
from benchmarks.results import write_result

PROCESSES = 2
FIRST_SEED = 200
"""The rules' parameters were chosen with lower ones: what is measured are others."""


def main(arguments: Sequence[str]) -> None:
    """Plant, train, judge, write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    parser.add_argument("data", nargs=3, help="chess, flowers5 and dogs20, in this order: names, zips or folders of class folders")
    parser.add_argument("--seeds", type=int, default=100, help="healthy trainings, and as many sound machines")
    parser.add_argument("--prepared", nargs=3, type=Path, help="the same data sets as PrepareDataset left them; made where not given")
    options = parser.parse_args(arguments)
    prepared = tuple(options.prepared or (prepared_dataset(name).folder for name in options.data))
    place = Workplace(prepared, tuple(map(photos_of, options.data)), weights_channel())
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    with multiprocessing.get_context("spawn").Pool(PROCESSES, initializer=torch.set_num_threads, initargs=(1,)) as processes:
        faults = told(processes.imap(partial(find, place), range(len(FAULTS))))
        trainings = told(processes.imap(partial(train_healthy, place), seeds))
        machines = told(processes.imap(judge_sound, seeds))
    measured = {
        "data_sets": [title(name) for name in options.data],
        "found": sum(each["found"] for each in faults),
        "planted": len(faults),
        "healthy_trainings": summed(trainings),
        "sound_machines": summed(machines),
        "faults": faults,
    }
    print(write_result("faults", measured, describe(measured)))


def summed(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many runs alarmed, and which rules."""
    return {
        "runs": len(runs),
        "with_false_alarms": sum(bool(run["alarms"]) for run in runs),
        "by_rule": dict(Counter(name for run in runs for name in run["alarms"])),
        "without_verdict_by_rule": dict(Counter(name for run in runs for name in run["no_verdict"])),
        "alarms": [run for run in runs if run["alarms"]],
    }


def told(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say each result as it comes; return all."""
    kept = []
    for result in results:
        kept.append(result)
        say(str({name: value for name, value in result.items() if name != "details"}))
    return kept


if __name__ == "__main__":
    main(sys.argv[1:])
