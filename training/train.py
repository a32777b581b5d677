"""The training job: photos through a frozen ResNet50 once, a head trained on the features, the best epoch kept.

Runs in SageMaker's PyTorch training image, started by its training toolkit, and anywhere else with the same folders:

    SAGEMAKER_BASE_DIR=folder python -m training.train --lr 0.01 --batch_size 64 --epochs 20 --evaluate_test true
"""

import copy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if not __package__:  # started as a file: what lies beside `training` is imported from there, and nothing from inside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from torch import nn
from torch.nn.functional import linear

from training.artefact import save_artefact
from training.data import SPLITS, LeftOut, PhotoSets, find_photos, refuse_empty_classes, refuse_too_many_left_out
from training.debugger import attach_debugger
from training.evaluate import evaluate_logits
from training.features import Features, Processor, choose_processor, extract_features
from training.head import build_head, join
from training.loop import Epoch, fit, steps_per_epoch
from training.metrics import print_metrics
from training.model import WeightsError, fold_batch_norm, load_backbone
from training.preprocessing import Preprocessing
from training.refusal import InputRefusedError, write_failure
from training.report import Report, write_report
from training.settings import Folders, Hyperparameters, parse_hyperparameters

JUDGED = ("valid", "test")
"""Splits that the report judges the saved weights by."""


def main(arguments: Sequence[str], folders: Folders) -> int:
    """Train; return the exit status. What the input makes impossible is said in one sentence, in the log and as the FailureReason."""
    try:
        run(parse_hyperparameters(arguments), folders)
    except (InputRefusedError, WeightsError) as error:
        write_failure(folders.failure, str(error))
        print(f"the job cannot go on: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def run(settings: Hyperparameters, folders: Folders) -> None:
    """Load, build, loop, save."""
    torch.manual_seed(settings.seed)
    processor, preprocessing = choose_processor(), Preprocessing()
    print(f"{settings} on {processor}", flush=True)

    sets = find_photos(folders.photos, settings.seed)
    backbone, weights = load_backbone(folders.weights)
    features, left_out = read_features(backbone, sets, preprocessing, processor, evaluate_test=settings.evaluate_test)
    train, valid = features["train"], features["valid"]

    head, loss = build_head(len(sets.classes), train), nn.CrossEntropyLoss()
    debugger = attach_debugger(settings.debugger, folders.debug_output, head, loss, steps_per_epoch(train, settings.batch_size))
    history, best = fit(head, loss, train, valid, settings, debugger, report=print_epoch)
    debugger.close()
    metrics = {"best_epoch": best.epoch, "best_valid_loss": best.valid_loss, "best_valid_accuracy": best.valid_accuracy}

    state = join(backbone, head)
    evaluations = {}
    if settings.evaluate_test:
        evaluations = {split: evaluate_logits(logits(state, features[split]), features[split].labels, sets.classes) for split in JUDGED}
        metrics |= {"test_loss": evaluations["test"].loss, "test_accuracy": evaluations["test"].accuracy}
    print_metrics(**metrics)

    description = save_artefact(folders.model, state, sets.classes, preprocessing, weights, settings, metrics)
    if evaluations:
        write_report(folders.report, Report(sets, left_out, history, best, evaluations, debugger, description))


def read_features(
    backbone: nn.Module, sets: PhotoSets, preprocessing: Preprocessing, processor: Processor, *, evaluate_test: bool
) -> tuple[dict[str, Features], list[LeftOut]]:
    """Return the features of train and valid, of test only where it is to be evaluated, and every file left out with its reason.

    Raises:
        InputRefusedError: too many files are unusable, or a class or a split is left without photos.
    """
    folded = fold_batch_norm(copy.deepcopy(backbone))
    features: dict[str, Features] = {}
    left_out = list(sets.left_out)
    for split in SPLITS if evaluate_test else ("train", "valid"):
        features[split], unread = extract_features(folded, sets.splits[split], preprocessing, processor, Progress(split))
        left_out += unread
        if not features[split].photos:
            raise InputRefusedError(f"no readable photo in {split}: add photos to it, or remove its folder so that it is cut from train")
    for item in left_out:
        print(f"left out {item.name!r}: {item.reason}", flush=True)
    refuse_too_many_left_out(left_out, len(sets.left_out) + sum(map(len, sets.splits.values())))
    refuse_empty_classes(sets.classes, features["train"].photos)
    return features, left_out


class Progress:
    """Prints a line at each tenth of a split's photos."""

    def __init__(self, split: str) -> None:
        """`split`: name for the log."""
        self.split, self.tenths = split, 0

    def __call__(self, done: int, total: int, seconds: float) -> None:
        """Say how far the photos have come."""
        if done * 10 // total > self.tenths:
            self.tenths = done * 10 // total
            print(f"{self.split}: {done} of {total} photos through the backbone, {done / max(seconds, 1e-9):.1f} a second", flush=True)


def print_epoch(epoch: Epoch, best: Epoch) -> None:
    """Print the metrics of an epoch, and the lowest validation loss so far: the tuning job's objective."""
    print(f"epoch {epoch.epoch}: {epoch.seconds:.2f} s", flush=True)
    print_metrics(
        train_loss=epoch.train_loss,
        train_accuracy=epoch.train_accuracy,
        valid_loss=epoch.valid_loss,
        valid_accuracy=epoch.valid_accuracy,
        objective_valid_loss=best.valid_loss,
    )


def logits(state: Mapping[str, torch.Tensor], photos: Features) -> torch.Tensor:
    """Return float32 [n, classes], by the weights that are saved and with no hook looking on."""
    return linear(photos.values, state["fc.weight"], state["fc.bias"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Folders.from_environment()))
