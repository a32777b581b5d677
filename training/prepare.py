"""PrepareDataset: reads, checks and splits every photo once, and computes its features: the data set that training jobs learn from.

Runs in SageMaker's PyTorch training image as a processing job, and anywhere else with the same folders:

    python -m training.prepare --photos folder --weights folder --dataset folder --report folder --message file --seed 42

`dataset` receives the files that training/data/dataset.py describes: the same input gives the same bytes. `report` receives summary.json,
also if the job fails. The optional `--files 1000 --bytes 123456789` give the number and total length of the files in `photos`: the job
fails if they differ. A photo that cannot be used is left out and listed with the reason. An input that cannot be used, a fault of the
machine and an unexpected error end the job with a sentence in `message`, which SageMaker shows as the job's ExitMessage.
"""

import argparse
import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # started as a file: imports start from the folder that holds `training`, not from inside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from torch import nn

from training.contract import PREPARE_OPTIONS
from training.contract.photos import SPLITS
from training.data.dataset import SCHEMA_VERSION, SUMMARY, Description, Photo
from training.data.dataset_writer import data_sha256, write_description, write_photos
from training.data.duplicates import Duplicates, find_duplicates
from training.data.features import Processor, choose_processor, extract_features
from training.data.folders import FoundPhotos, UnusedFile, find_look_alikes, find_photos, refuse_too_many_unused
from training.data.inspection import Inspected, MachineError
from training.data.preprocessing import Preprocessing
from training.data.splits import draw_splits, find_missing_splits
from training.data.spool import Spool
from training.data.summary import Summary, list_files
from training.job.failure import InputRefusedError, write_failure
from training.job.provenance import code_sha256
from training.network.resnet50 import WeightsError, fold_batch_norm, load_backbone

MAX_PRINTED = 100
"""Most files that the log lists one by one."""
DISK_ADVICE = "it holds the photos and the data set; give the job a larger volume, or use folders on a larger disk"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Options:
    """The options in training.contract.PREPARE_OPTIONS."""

    photos: Path
    weights: Path
    dataset: Path
    """Folder for the data set; must be empty."""
    report: Path
    """Folder for summary.json."""
    message: Path
    """File for the sentence if the job fails."""
    seed: int
    files: int | None = None
    """How many files the photos folder holds, if known."""
    bytes: int | None = None
    """Their total length, if known."""


def main(arguments: Sequence[str], work: Callable[[Options, Summary], None] | None = None) -> int:
    """Prepare; return the exit status. A failure is reported in one sentence, in the log and as the ExitMessage.

    `work`: called in place of `prepare`.

    Raises:
        Exception: an unexpected error, which the summary and the ExitMessage name too.
    """
    options = parse(arguments)
    summary = Summary()
    try:
        (work or prepare)(options, summary)
        summary.write(options.report)
    except (InputRefusedError, WeightsError, MachineError) as error:
        return fail(str(error), options, summary)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            return fail(f"the job's disk is full ({error.strerror}): {DISK_ADVICE}", options, summary)
        fail(f"unexpected: {type(error).__name__}: {error}", options, summary)
        raise
    return 0


def fail(sentence: str, options: Options, summary: Summary) -> int:
    """Report why the data set is missing: in the log, as the ExitMessage and in the summary; return the exit status."""
    sentence = sentence.encode("utf-8", "backslashreplace").decode("utf-8")
    print(f"the data set cannot be prepared: {sentence}", file=sys.stderr, flush=True)
    summary.error = sentence
    write_failure(options.message, sentence)
    summary.write(options.report)
    return 1


def parse(arguments: Sequence[str]) -> Options:
    """Parse the command line; exits with the usage if it is wrong."""
    parser = argparse.ArgumentParser(prog="training/prepare.py", allow_abbrev=False, description="Prepare a data set for training jobs.")
    for option in PREPARE_OPTIONS:
        number, optional = option in ("--seed", "--files", "--bytes"), option in ("--files", "--bytes")
        parser.add_argument(option, type=int if number else Path, required=not optional)
    return Options(**vars(parser.parse_args(arguments)))


def prepare(options: Options, summary: Summary) -> None:
    """Find, read, split, write; the summary is filled on the way.

    Raises:
        InputRefusedError: the photos cannot train a model, or the data set's folder is not empty.
        WeightsError: the weights channel cannot be used.
        MachineError: the disk cannot be read.
    """
    processor, preprocessing = choose_processor(), Preprocessing()
    refuse_other_photos(options)
    found = find_splittable(options.photos, options.seed, summary)
    backbone, weights = load_backbone(options.weights)
    print(f"{len(found.photos)} files of {len(found.classes)} classes, on {processor}", flush=True)

    with Spool(make_folder(options.dataset) / ".spool") as spool:
        inspected = read_photos(found, fold_batch_norm(backbone), preprocessing, processor, spool, summary)
        duplicates = find_duplicates(inspected, spool.previews)
        summary.add_duplicates(duplicates)
        rows = choose_rows(inspected, duplicates)
        used = [inspected[row].photo for row in rows]
        splits = draw_splits(used, summary.drawn_splits, found.classes, options.seed, duplicates.groups)
        photos = [build_manifest_entry(inspected[row], split) for row, split in zip(rows, splits, strict=True)]
        summary.count(photos)
        summary.warn_of_gaps()
        refuse_empty_splits(photos)
        write_photos(options.dataset, photos, rows, spool, found.folder)
    summary.write(options.dataset)
    description = Description(
        schema_version=SCHEMA_VERSION,
        data_sha256=data_sha256(photos, found.classes),
        weights_sha256=weights.sha256,
        code_sha256=code_sha256(),
        seed=options.seed,
        classes=found.classes,
        preprocessing=preprocessing.to_json(),
        processor=str(processor),
        files={},
    )
    write_description(options.dataset, description)
    print(f"prepared {len(photos)} photos: {describe_counts(summary)}", flush=True)


def make_folder(folder: Path) -> Path:
    """Make the folder, or use an empty one.

    Raises:
        InputRefusedError: it holds files, which would become part of the data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InputRefusedError(f"the folder for the data set, {str(folder)!r}, is not empty: use a new one, or empty it")
    return folder


def refuse_other_photos(options: Options) -> None:
    """Reject a photos folder that differs from the count at the start of the execution: the count is part of the data set's key.

    Raises:
        InputRefusedError: with both counts.
    """
    if options.files is None and options.bytes is None:
        return
    lengths = [(Path(folder) / name).stat().st_size for folder, _, names in os.walk(options.photos) for name in names]
    for what, got, counted in (("files", len(lengths), options.files), ("bytes", sum(lengths), options.bytes)):
        if counted not in (None, got):
            raise InputRefusedError(
                f"the photos folder holds {got:,} {what}, but {counted:,} were counted when the execution started: "
                "photos were added, replaced or deleted meanwhile; start the execution again"
            )


def find_splittable(folder: Path, seed: int, summary: Summary) -> FoundPhotos:
    """Find the photos, and reject early what their names already show.

    Raises:
        InputRefusedError: folders in neither layout, too many files that are not photos, or a class too small to split.
    """
    found = find_photos(folder)
    summary.classes, summary.seed, summary.left_out = found.classes, seed, list_files(found.left_out)
    summary.drawn_splits = find_missing_splits(found.photos)
    summary.warnings = [
        f"classes whose names look the same: {', '.join(map(repr, names))}; they are different classes to the model: "
        "if they are the same, put their photos into one folder"
        for names in find_look_alikes(found.classes)
    ]
    refuse_too_many_unused(found.left_out, found.files)
    draw_splits(found.photos, summary.drawn_splits, found.classes, seed, {})
    return found


def read_photos(
    found: FoundPhotos, backbone: nn.Module, preprocessing: Preprocessing, processor: Processor, spool: Spool, summary: Summary
) -> list[Inspected]:
    """Read each file once; return the usable photos in the order of their rows in the spool.

    Raises:
        InputRefusedError: too many are not usable.
    """
    inspected: list[Inspected] = []
    left_out = list(found.left_out)
    progress = Progress(len(found.photos))
    for batch in extract_features(backbone, found.folder, found.photos, preprocessing, processor):
        spool.add(batch.features, batch.photos)
        inspected += [photo.kept for photo in batch.photos]
        left_out += batch.left_out
        progress.add(len(batch.photos) + len(batch.left_out))
    left_out.sort(key=lambda item: item.name)
    print_unused_files(left_out)
    summary.left_out = list_files(left_out)
    summary.add_sizes(inspected)
    refuse_too_many_unused(left_out, found.files)
    return inspected


class Progress:
    """Prints a line at each tenth of the photos."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`total`: files to come."""
        self._total, self._clock, self._started, self._done = total, clock, clock(), 0

    def add(self, files: int) -> None:
        """Count files that are done."""
        before, self._done = self._done, self._done + files
        if before * 10 // self._total < self._done * 10 // self._total:
            rate = self._done / max(self._clock() - self._started, 1e-9)
            print(f"{self._done} of {self._total} files read, {rate:.1f} per second", flush=True)


def print_unused_files(left_out: Sequence[UnusedFile]) -> None:
    """Print the unused files; of many, the first ones."""
    for item in left_out[:MAX_PRINTED]:
        print(f"left out {item.name!r}: {item.reason}", flush=True)
    if len(left_out) > MAX_PRINTED:
        print(f"left out {len(left_out) - MAX_PRINTED} more files: see {SUMMARY}", flush=True)


def choose_rows(inspected: Sequence[Inspected], duplicates: Duplicates) -> list[int]:
    """Return the positions of the photos that are not excluded as duplicates."""
    excluded = {item.name for item in duplicates.excluded}
    return [row for row, item in enumerate(inspected) if item.photo.name not in excluded]


def build_manifest_entry(inspected: Inspected, split: str) -> Photo:
    """Return the manifest's entry of a photo."""
    return Photo(inspected.photo.name, inspected.sha256, inspected.length, split, inspected.photo.label)


def refuse_empty_splits(photos: Sequence[Photo]) -> None:
    """Reject the photos if a split is empty.

    Raises:
        InputRefusedError: with the split's name.
    """
    for split in SPLITS:
        if not any(photo.split == split for photo in photos):
            raise InputRefusedError(
                f"no usable photo in {split}: add photos to it, or remove its folder so that it is drawn from train; "
                f"{SUMMARY} lists each unused file with the reason"
            )


def describe_counts(summary: Summary) -> str:
    """Return the number of photos of each split in words."""
    return ", ".join(f"{sum(counts.values())} {split}" for split, counts in summary.photos.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
