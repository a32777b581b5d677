"""Whippet beside fastai, Lightning and timm: the same photos, split and weights; accuracy, wall, CPU seconds and peak memory of each.

Runs on any machine; each peer in a virtual environment of its own, made on the first run. Nothing else should run meanwhile.

    python -m benchmarks.side_by_side [flowers5.zip dogs20.zip:10 …] [--seeds 5] [--tools whippet fastai …]

`:10` behind a data set takes at most ten photos of each class in each split.

Every run is written down as it ends, and a second call goes on where the first was stopped: see `runs.jsonl` below local mode's home.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import mean_and_spread, median, table
from benchmarks.inputs import copy_used, photos_of, prepared_dataset, say, title, weights_channel
from benchmarks.results import REPOSITORY, write_result
from benchmarks.side_by_side.measured_process import run_measured
from cli.account.target import home
from training.job.provenance import code_sha256

HERE = Path(__file__).parent
PEERS = ("fastai", "lightning", "timm")
TOOLS = ("whippet", *PEERS)
WHAT = (
    "Each run is one process (and its children) from start to exit, imports included: photos to test accuracy. Whippet is its head mode "
    "with default settings, its data set prepared anew in every run. fastai: `vision_learner(…).fine_tune(1)`. Lightning: frozen body, "
    "linear head, 2 epochs, AdamW. timm: whole network, 1 epoch, AdamW with cosine schedule. No tool was "
    "tuned; each computes in the precision that it chooses by itself. Files that Whippet excludes as duplicates or unreadable are given to "
    "none. Wall and CPU seconds and peak memory (proportional set size of the process tree, sampled "
    "every 0.5 s) are medians over seeds, accuracies mean ± standard deviation."
)


def main(arguments: Sequence[str]) -> None:
    """Run what has not been run yet, then write the result."""
    options = parse(arguments)
    folder = home() / "benchmarks" / "side_by_side"
    record = folder / "runs.jsonl"
    weights = weights_channel()
    pythons = {tool: sys.executable if tool == "whippet" else peer_python(tool, folder) for tool in options.tools}
    measured: dict[str, dict[str, Any]] = {}
    for name, at_most in map(subset, options.data):
        with tempfile.TemporaryDirectory() as scratch:
            dataset = prepared_dataset(name)
            photos = copy_used(dataset, photos_of(name), Path(scratch), at_most)
            same = {"data": title(name), "data_sha256": dataset.description.data_sha256, "photos_a_class": at_most}
            runs: dict[str, list[dict[str, Any]]] = {tool: [] for tool in options.tools}
            for seed in range(options.seeds):
                for tool in options.tools:
                    run = {**same, "tool": tool, "code_sha256": code_of(tool), "seed": seed}
                    runs[tool].append(once(record, run, pythons[tool], photos, weights))
        shown = f"{title(name)}, {at_most} photos a class" if at_most else title(name)
        measured[shown] = {tool: summarise(found) for tool, found in runs.items()}
    print(write_result("side_by_side", {"seeds": options.seeds, "data_sets": measured}, describe(measured, options)))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side")
    parser.add_argument("data", nargs="*", default=["chess"], help="chess, a zip or a folder of class folders; :N behind it takes a part")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    return parser.parse_args(arguments)


def subset(argument: str) -> tuple[str, int | None]:
    """The data set, and how many photos of each class in each split are taken at most; None takes all."""
    name, _, at_most = argument.partition(":")
    return name, int(at_most) if at_most else None


def peer_python(peer: str, folder: Path) -> str:
    """The interpreter of the peer's own virtual environment, made where it is not there yet."""
    home_of_peer, wanted = folder / peer, HERE / f"requirements-{peer}.txt"
    python, stamp = home_of_peer / "bin" / "python", home_of_peer / "installed.txt"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted.read_text(encoding="utf-8"):
        say(f"installing {peer} into {home_of_peer}")
        venv.create(home_of_peer, with_pip=True, clear=True)
        run_measured([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(wanted)])
        stamp.write_text(wanted.read_text(encoding="utf-8"), encoding="utf-8")
    return str(python)


def code_of(tool: str) -> str:
    """The digest of what a run depends on: a run of other code is no longer the same."""
    files = [HERE / f"with_{tool}.py", HERE / "shared_parts.py", HERE / f"requirements-{tool}.txt"]
    content = b"".join(file.read_bytes() for file in files if file.is_file())
    return hashlib.sha256(content + (code_sha256().encode() if tool == "whippet" else b"")).hexdigest()


def once(record: Path, run: dict[str, Any], python: str, photos: Path, weights: Path) -> dict[str, Any]:
    """What a run measured: read from the record, or run now and written there."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    for known in map(json.loads, lines):
        if all(known.get(name) == value for name, value in run.items()):
            return dict(known)
    with tempfile.TemporaryDirectory() as scratch:
        module = f"benchmarks.side_by_side.with_{run['tool']}"
        folders = ["--photos", str(photos), "--weights", str(weights), "--scratch", scratch]
        measured = {**run, **run_measured([python, "-m", module, *folders, "--seed", str(run["seed"])], REPOSITORY)}
    say(json.dumps(measured))
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(measured) + "\n")
    return measured


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one tool on one data set."""
    spread = {name: mean_and_spread([run[name] for run in runs]) for name in ("test_accuracy", "test_macro_f1")}
    return {**spread, **{name: median([run[name] for run in runs]) for name in ("wall_s", "cpu_s", "peak_mib")}, "runs": list(runs)}


def describe(measured: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """The result as a page."""
    rows = [
        [
            data,
            tool,
            "{mean:.3f} ± {std:.3f}".format(**found["test_accuracy"]),
            f"{found['wall_s']:.1f}",
            f"{found['wall_s'] / tools['whippet']['wall_s']:.2f}" if "whippet" in tools else "",
            f"{found['cpu_s']:.1f}",
            f"{found['peak_mib']:.0f}",
        ]
        for data, tools in measured.items()
        for tool, found in tools.items()
    ]
    columns = ["data set", "tool", "test accuracy", "wall s", "wall / Whippet's", "CPU s", "peak MiB"]
    return f"{WHAT} {options.seeds} seeds.\n\n{table(columns, rows)}"


if __name__ == "__main__":
    main(sys.argv[1:])
