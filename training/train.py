"""The training job: a head on cached features, or the network itself, from a prepared data set; the best epoch becomes the artefact.

Runs in SageMaker's PyTorch training image, started by its training toolkit, and anywhere else with the same folders:

    SAGEMAKER_BASE_DIR=folder python -m training.train --lr 0.01 --batch_size 64 --epochs 20 --evaluate_test true

The same data set, weights, hyperparameters and code give the same model on the same kind of machine with the same number of processes and
threads: every random draw follows from the seed. Another processor or version of torch sums in another order and rounds differently.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

if not __package__:  # started as a file: imports start from the folder that holds `training`, not from inside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from torch import nn
from torch.nn.functional import linear

from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset, open_dataset
from training.data.features import Processor, choose_processor
from training.debugger.attach import attach_debugger
from training.debugger.interface import Debugger
from training.debugger.rule_results import RuleResults, evaluate_profile
from training.evaluation.assessment import assess
from training.fit.artefact_refresh import ArtefactWriter, collect_best_metrics
from training.fit.checkpoint import Checkpoints, spread
from training.fit.examples import DecodedPhotos
from training.fit.finetune import FineTuned, build_fine_tuning
from training.fit.head import Head, build_head_training, join
from training.fit.loop import Epoch, Progress, Training, fit, steps_per_epoch
from training.job.distributed import Processes, end_program, join_processes, leave_processes, rank
from training.job.failure import InputRefusedError, write_failure
from training.job.metric_lines import print_metrics
from training.job.micro_batches import Parts
from training.job.provenance import code_sha256, versions
from training.job.stopping import StoppedError, Stopping
from training.network.resnet50 import BackboneDescription, WeightsError, build_resnet50, fill, load_backbone
from training.profiler.profiler import Profiler, start_profiler
from training.report.write import Report, write_report
from training.serving.artefact import save_artefact
from training.serving.prediction import Model, logits, prepare_network
from training.settings import Folders, parse_hyperparameters

EVALUATED = ("valid", "test")
"""Splits on which the report evaluates the saved weights."""
EVALUATED_AT_ONCE = 32
"""Photos per forward pass when a fine-tuned network is evaluated."""
NO_RESULTS = RuleResults()


def main(arguments: Sequence[str], folders: Folders, stopping: Stopping | None = None) -> int:
    """Train; return the exit status. An input that cannot be used is reported in one sentence, in the log and as the FailureReason."""
    try:
        settings = parse_hyperparameters(arguments)
        if settings.trainable == "head" and rank() > 0:
            return 0  # a head takes seconds: one process trains it, and the others have nothing to do
        with profile(settings, folders) as profiler:
            processes = Processes() if settings.trainable == "head" else join_processes()
            run(settings, folders, processes, stopping or Stopping(), profiler)
            leave_processes(processes)
    except (InputRefusedError, WeightsError) as error:
        write_failure(folders.failure, str(error))
        print(f"the job failed: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


@contextmanager
def profile(settings: Hyperparameters, folders: Folders) -> Iterator[Profiler]:
    """Start the profiler first, because it measures the time until the first step; end it whatever happens."""
    mode = settings.debugger if rank() == 0 else "off"
    folder = folders.managed_profiler_output if mode == "managed" else folders.profiler_output
    profiler = start_profiler(mode, folder, choose_device(settings))
    try:
        yield profiler
    finally:
        profiler.close()


def choose_device(settings: Hyperparameters) -> torch.device:
    """Return the training's device: a head is trained on the CPU before a GPU would be warm."""
    return torch.device("cuda" if settings.trainable != "head" and torch.cuda.is_available() else "cpu")


def run(settings: Hyperparameters, folders: Folders, processes: Processes, stopping: Stopping, profiler: Profiler) -> None:
    """Load, build, resume from a checkpoint, train, save."""
    torch.manual_seed(settings.seed)
    torch.backends.cudnn.deterministic = True
    dataset = open_dataset(folders.dataset)
    backbone, weights = load_backbone(folders.weights)
    refuse_other_weights(dataset, weights)

    processor = choose_processor()
    training, plain_state = build(settings, folders, dataset, backbone, processor, processes, stopping)
    checkpoints = Checkpoints(folders.resume, describe_identity(settings, dataset, weights, processor, processes))
    if processes.rank == 0:
        checkpoints.drop_others()
    progress = spread(training, checkpoints.load(training) if processes.rank == 0 else None)
    if processes.rank > 0:
        fit(training, progress)
        return

    steps = steps_per_epoch(len(training.train.labels), settings.batch_size)
    with attach(settings, folders, training, steps, progress) as debugger:
        training = replace(training, debugger=debugger, profiler=profiler)
        artefact = ArtefactWriter(folders.model, dataset, weights, settings, plain_state)
        progress = fit(training, progress, after_epoch=lambda done: end_epoch(done, training, checkpoints, artefact))
        save_best(progress, artefact)
        debugger.close(judge=not progress.stopped)
    progress.stopped |= settings.evaluate_test and stopping.requested
    profiler.close()
    profiled = RuleResults() if progress.stopped else evaluate_profile(settings, folders, profiler.problem)
    results = replace(profiled, rules=debugger.statuses())
    finish(progress, artefact, folders, training, results)
    if not progress.stopped:
        checkpoints.remove()


@contextmanager
def attach(settings: Hyperparameters, folders: Folders, training: Training, steps: int, progress: Progress | None) -> Iterator[Debugger]:
    """Attach the debugger; an error that ends the training closes the debugger and its rules too."""
    debugger = attach_debugger(settings, folders, training.watched, steps, len(progress.history) if progress else 0)
    try:
        yield debugger
    except BaseException:
        debugger.close(judge=False)
        raise


def build(
    settings: Hyperparameters,
    folders: Folders,
    dataset: Dataset,
    backbone: nn.Module,
    processor: Processor,
    processes: Processes,
    stopping: Stopping,
) -> tuple[Training, Callable[[], dict[str, torch.Tensor]]]:
    """Return the training, and a function that returns its weights as the state_dict of a plain ResNet50."""
    print(f"{settings} on {processor}, {torch.get_num_threads()} threads, process {processes.rank + 1} of {processes.size}", flush=True)
    if settings.trainable == "head":
        training = build_head_training(dataset, settings, stopping)
        return training, lambda: join(backbone, cast("Head", training.network))
    training = build_fine_tuning(dataset, folders.photos, backbone, settings, processor, processes, stopping)
    return training, cast("FineTuned", training.network).plain_state


def refuse_other_weights(dataset: Dataset, weights: BackboneDescription) -> None:
    """Reject a backbone other than the one that computed the data set's features.

    Raises:
        InputRefusedError: with both digests.
    """
    if dataset.description.weights_sha256 != weights.sha256:
        raise InputRefusedError(
            f"the data set holds features of weights {dataset.description.weights_sha256}, but the weights channel has {weights.sha256}: "
            "start a new execution, which prepares the photos with these weights"
        )


def describe_identity(
    settings: Hyperparameters, dataset: Dataset, weights: BackboneDescription, processor: Processor, processes: Processes
) -> dict[str, object]:
    """Return everything that determines the result of the job."""
    return {
        **asdict(settings),
        "data_sha256": dataset.description.data_sha256,
        "weights_sha256": weights.sha256,
        "code_sha256": code_sha256(),
        "processor": str(processor),
        "processes": processes.size,
        "versions": versions(),
    }


def end_epoch(progress: Progress, training: Training, checkpoints: Checkpoints, artefact: ArtefactWriter) -> None:
    """Report the epoch, and save it so that it survives the process."""
    print_epoch(progress.history[-1], cast("Epoch", progress.best))
    try:
        checkpoints.save(training, progress)
    except OSError as error:
        print(f"the checkpoint of epoch {progress.history[-1].epoch} was not saved: {error}. A killed job repeats this epoch.", flush=True)
    artefact.refresh(progress, training)


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


def save_best(progress: Progress, artefact: ArtefactWriter) -> None:
    """Save the artefact of the best epoch before the slow parts: rules, profile, test photos.

    An error or SIGTERM during these then finds the artefact saved.
    """
    state, metrics = artefact.plain_state(), collect_best_metrics(progress)
    if state["fc.weight"].any():
        print_metrics(**metrics)
        save_artefact(artefact.model, state, artefact.dataset, artefact.weights, artefact.settings, metrics, check=False)


def finish(progress: Progress, artefact: ArtefactWriter, folders: Folders, training: Training, results: RuleResults = NO_RESULTS) -> None:
    """Report how the training ended; the final job evaluates its model on the test photos, once, and writes the report."""
    state = artefact.plain_state()
    if not state["fc.weight"].any():
        print("the job was stopped before its first epoch ended: nothing was learnt, and no artefact is saved", flush=True)
        return
    if not progress.stopped and artefact.settings.evaluate_test:
        training.release()
        evaluate_and_report(progress, artefact, folders, training, state, results)
    if progress.stopped:
        model = "its best model so far" if progress.best else "the head that was fitted on the cached features"
        print(f"the job was stopped: {model} is the artefact, and no report is written", flush=True)


def evaluate_and_report(
    progress: Progress,
    artefact: ArtefactWriter,
    folders: Folders,
    training: Training,
    state: Mapping[str, torch.Tensor],
    results: RuleResults,
) -> None:
    """Evaluate the model, save the result with the artefact, and write the report; if SIGTERM comes first, note that instead."""
    try:
        evaluated = {split: compute_split_logits(split, state, artefact, folders.photos, training.stopping) for split in EVALUATED}
    except StoppedError:
        progress.stopped = True
        return
    assessment = assess(evaluated, artefact.dataset)
    print_metrics(**assessment.metrics())
    metrics = collect_best_metrics(progress) | assessment.metrics()
    description = save_artefact(
        artefact.model, state, artefact.dataset, artefact.weights, artefact.settings, metrics, assessment.temperature
    )
    best = cast("Epoch", progress.best)
    report = Report(
        artefact.dataset,
        progress.history,
        best,
        assessment,
        training.debugger,
        description,
        rule_statuses=results.rules,
        profiler_rule_statuses=results.profiler_rules,
        profile=results.profile,
        ended_by=progress.ended_by,
    )
    write_safely(folders.report, report)


def write_safely(folder: Path, report: Report) -> None:
    """Write the report; if that fails, the log says why."""
    try:
        write_report(folder, report)
    except OSError as error:
        print(f"the report cannot be written: {error}. The model is saved as the artefact.", flush=True)
    except Exception as error:  # noqa: BLE001 - the model is trained, evaluated and saved: a fault of its report must not lose it
        problem = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode()
        print(f"the report failed: {problem}. The model is saved as the artefact.", flush=True)


@torch.no_grad()
def compute_split_logits(
    split: str, state: Mapping[str, torch.Tensor], artefact: ArtefactWriter, photos: Path, stopping: Stopping
) -> torch.Tensor:
    """Return the saved weights' logits for a split, float32 [n, classes], in manifest order.

    A fine-tuned network is evaluated as it is served: in float32, from the photos. A head is evaluated on the cached features, which are
    stored in float16 and were computed in bfloat16 if the processing job's hardware has it.

    Raises:
        StoppedError: the job has received SIGTERM.
    """
    dataset = artefact.dataset
    if artefact.settings.trainable == "head":
        return linear(dataset.features(split).values, state["fc.weight"], state["fc.bias"])
    network = fill(build_resnet50(artefact.weights.stride, len(dataset.classes)), dict(state), "the trained network")
    model = Model(prepare_network(network), dataset.classes, dataset.preprocessing, temperature=1.0, name="")
    examples, parts, kept = DecodedPhotos(photos, dataset.split(split), dataset.preprocessing), Parts(EVALUATED_AT_ONCE), []
    for squares in examples.batches(torch.split(torch.arange(len(examples.labels)), EVALUATED_AT_ONCE), epoch=0):
        kept.append(compute_logits(model, squares, parts))
        if stopping.requested:
            raise StoppedError
    return torch.cat(kept)


def compute_logits(model: Model, squares: torch.Tensor, parts: Parts) -> torch.Tensor:
    """Return float32 [n, classes] of uint8 [n, side, side, 3], as many at once as fit into memory."""

    def attempt(at_once: int) -> torch.Tensor:
        return torch.cat([logits(model, model.preprocessing.scale(part)) for part in torch.split(squares, at_once)])

    return parts.run(attempt)


if __name__ == "__main__":
    stopping = Stopping()
    stopping.listen()
    end_program(main(sys.argv[1:], Folders.from_environment(), stopping))
