"""The training job: a head on cached features, or the network itself, from a prepared data set; the best epoch becomes the artefact.

Runs in SageMaker's PyTorch training image, started by its training toolkit, and anywhere else with the same folders:

    SAGEMAKER_BASE_DIR=folder python -m training.train --lr 0.01 --batch_size 64 --epochs 20 --evaluate_test true

The same data set, weights, hyperparameters and code give the same model on the same kind of machine with the same number of processes and
threads: nothing is drawn but from the seed. Another processor or version of torch adds up in another order, and rounds differently.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

if not __package__:  # started as a file: what lies beside `training` is imported from there, and nothing from inside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from torch import nn
from torch.nn.functional import linear

from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset, open_dataset
from training.data.features import Processor, choose_processor
from training.debugger.attach import attach_debugger
from training.debugger.interface import Debugger
from training.debugger.rule_results import Verdicts, judge_profile
from training.evaluation.assessment import assess
from training.fit.artefact_refresh import Output, best_metrics
from training.fit.checkpoint import Checkpoints, spread
from training.fit.examples import DecodedPhotos
from training.fit.finetune import FineTuned, fine_tuning
from training.fit.head import Head, head_training, join
from training.fit.loop import Epoch, Progress, Training, fit, steps_per_epoch
from training.job.distributed import Processes, end_program, join_processes, leave_processes, rank
from training.job.metric_lines import print_metrics
from training.job.micro_batches import Parts
from training.job.provenance import code_sha256, versions
from training.job.refusal import InputRefusedError, write_failure
from training.job.stopping import StoppedError, Stopping
from training.network.resnet50 import BackboneDescription, WeightsError, build_resnet50, fill, load_backbone
from training.profiler.profiler import Profiler, start_profiler
from training.report.write import Report, write_report
from training.serving.artefact import save_artefact
from training.serving.prediction import Model, logits, prepare_network
from training.settings import Folders, parse_hyperparameters

JUDGED = ("valid", "test")
"""Splits that the report judges the saved weights by."""
JUDGED_AT_ONCE = 32
"""Photos at once where the trained network itself is judged."""
NO_VERDICTS = Verdicts()


def main(arguments: Sequence[str], folders: Folders, stopping: Stopping | None = None) -> int:
    """Train; return the exit status. What the input makes impossible is said in one sentence, in the log and as the FailureReason."""
    try:
        settings = parse_hyperparameters(arguments)
        if settings.trainable == "head" and rank() > 0:
            return 0  # a head takes seconds: one process trains it, the others that were started have nothing to do
        with measured(settings, folders) as profiler:
            processes = Processes() if settings.trainable == "head" else join_processes()
            run(settings, folders, processes, stopping or Stopping(), profiler)
            leave_processes(processes)
    except (InputRefusedError, WeightsError) as error:
        write_failure(folders.failure, str(error))
        print(f"the job cannot go on: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


@contextmanager
def measured(settings: Hyperparameters, folders: Folders) -> Iterator[Profiler]:
    """Start the profiler before anything else, for the time until the first step counts; end it whatever happens."""
    mode = settings.debugger if rank() == 0 else "off"
    folder = folders.managed_profiler_output if mode == "managed" else folders.profiler_output
    profiler = start_profiler(mode, folder, device(settings))
    try:
        yield profiler
    finally:
        profiler.close()


def device(settings: Hyperparameters) -> torch.device:
    """Return what the training computes on: a head's is over on the CPU before a GPU is warm."""
    return torch.device("cuda" if settings.trainable != "head" and torch.cuda.is_available() else "cpu")


def run(settings: Hyperparameters, folders: Folders, processes: Processes, stopping: Stopping, profiler: Profiler) -> None:
    """Load, build, go on from a checkpoint, loop, save."""
    torch.manual_seed(settings.seed)
    torch.backends.cudnn.deterministic = True
    dataset = open_dataset(folders.dataset)
    backbone, weights = load_backbone(folders.weights)
    refuse_other_weights(dataset, weights)

    processor = choose_processor()
    training, plain_state = build(settings, folders, dataset, backbone, processor, processes, stopping)
    checkpoints = Checkpoints(folders.resume, identity(settings, dataset, weights, processor, processes))
    if processes.rank == 0:
        checkpoints.drop_others()
    progress = spread(training, checkpoints.load(training) if processes.rank == 0 else None)
    if processes.rank > 0:
        fit(training, progress)
        return

    steps = steps_per_epoch(len(training.train.labels), settings.batch_size)
    with attached(settings, folders, training, steps, progress) as debugger:
        training = replace(training, debugger=debugger, profiler=profiler)
        output = Output(folders.model, dataset, weights, settings, plain_state)
        progress = fit(training, progress, after_epoch=lambda done: end_epoch(done, training, checkpoints, output))
        save_best(progress, output)
        debugger.close(judge=not progress.stopped)
    progress.stopped |= settings.evaluate_test and stopping.asked
    profiler.close()
    profiled = Verdicts() if progress.stopped else judge_profile(settings, folders, profiler.problem)
    verdicts = replace(profiled, rules=debugger.statuses())
    finish(progress, output, folders, training, verdicts)
    if not progress.stopped:
        checkpoints.remove()


@contextmanager
def attached(settings: Hyperparameters, folders: Folders, training: Training, steps: int, progress: Progress | None) -> Iterator[Debugger]:
    """Attach the debugger; what ends the training by an error ends it and its rules too."""
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
    """Return the training, and what gives the state_dict of a plain ResNet50 with what it has learnt."""
    print(f"{settings} on {processor}, {torch.get_num_threads()} threads, process {processes.rank + 1} of {processes.size}", flush=True)
    if settings.trainable == "head":
        training = head_training(dataset, settings, stopping)
        return training, lambda: join(backbone, cast("Head", training.network))
    training = fine_tuning(dataset, folders.photos, backbone, settings, processor, processes, stopping)
    return training, cast("FineTuned", training.network).plain_state


def refuse_other_weights(dataset: Dataset, weights: BackboneDescription) -> None:
    """Refuse a backbone that is not the one whose features the data set holds.

    Raises:
        InputRefusedError: with both digests.
    """
    if dataset.description.weights_sha256 != weights.sha256:
        raise InputRefusedError(
            f"the data set holds features of weights {dataset.description.weights_sha256}, but the weights channel has {weights.sha256}: "
            "start a new execution, which prepares the photos with these weights"
        )


def identity(
    settings: Hyperparameters, dataset: Dataset, weights: BackboneDescription, processor: Processor, processes: Processes
) -> dict[str, object]:
    """Return everything that the result of the job follows from."""
    return {
        **asdict(settings),
        "data_sha256": dataset.description.data_sha256,
        "weights_sha256": weights.sha256,
        "code_sha256": code_sha256(),
        "processor": str(processor),
        "processes": processes.size,
        "versions": versions(),
    }


def end_epoch(progress: Progress, training: Training, checkpoints: Checkpoints, output: Output) -> None:
    """Say what the epoch brought, and make it outlive the process."""
    print_epoch(progress.history[-1], cast("Epoch", progress.best))
    try:
        checkpoints.save(training, progress)
    except OSError as error:
        print(f"no checkpoint of epoch {progress.history[-1].epoch}: {error}. A job that is killed now begins anew.", flush=True)
    output.refresh(progress, training)


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


def save_best(progress: Progress, output: Output) -> None:
    """Save the artefact of the best epoch, before anything that takes its time: rules, profile, test photos.

    What ends the job during these, an error or SIGTERM, finds the artefact saved.
    """
    state, metrics = output.plain_state(), best_metrics(progress)
    if state["fc.weight"].any():
        print_metrics(**metrics)
        save_artefact(output.model, state, output.dataset, output.weights, output.settings, metrics, check=False)


def finish(progress: Progress, output: Output, folders: Folders, training: Training, verdicts: Verdicts = NO_VERDICTS) -> None:
    """Say what became of the training; the final job judges its model by the test photos, once, and writes the report."""
    state = output.plain_state()
    if not state["fc.weight"].any():
        print("the job was told to end before its first epoch was done: nothing has been learnt, and there is no artefact", flush=True)
        return
    if not progress.stopped and output.settings.evaluate_test:
        training.release()
        judge_and_report(progress, output, folders, training, state, verdicts)
    if progress.stopped:
        model = "its best model so far" if progress.best else "the head that was fitted on the cached features"
        print(f"the job was told to end: {model} is the artefact, and there is no report", flush=True)


def judge_and_report(
    progress: Progress, output: Output, folders: Folders, training: Training, state: Mapping[str, torch.Tensor], verdicts: Verdicts
) -> None:
    """Look at the test photos, save what they said with the artefact, and write the report; note where the job was told to end before."""
    try:
        judged = {split: judge(split, state, output, folders.photos, training.stopping) for split in JUDGED}
    except StoppedError:
        progress.stopped = True
        return
    assessment = assess(judged, output.dataset)
    print_metrics(**assessment.metrics())
    metrics = best_metrics(progress) | assessment.metrics()
    description = save_artefact(output.model, state, output.dataset, output.weights, output.settings, metrics, assessment.temperature)
    best = cast("Epoch", progress.best)
    report = Report(
        output.dataset,
        progress.history,
        best,
        assessment,
        training.debugger,
        description,
        rule_statuses=verdicts.rules,
        profiler_rule_statuses=verdicts.profiler_rules,
        profile=verdicts.profile,
        ended_by=progress.ended_by,
    )
    write_safely(folders.report, report)


def write_safely(folder: Path, report: Report) -> None:
    """Write the report; where that fails the log says why."""
    try:
        write_report(folder, report)
    except OSError as error:
        print(f"the report cannot be written: {error}. The model is the artefact all the same.", flush=True)
    except Exception as error:  # noqa: BLE001 - the model is trained, judged and saved: nothing that is told of it may cost it
        said = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode()
        print(f"the report failed: {said}. The model is the artefact all the same.", flush=True)


@torch.no_grad()
def judge(split: str, state: Mapping[str, torch.Tensor], output: Output, photos: Path, stopping: Stopping) -> torch.Tensor:
    """Return float32 [n, classes] of a split, in manifest order, by the weights that are saved.

    A network that was trained is judged as it is served, in float32 from the photos; a head from the cached features, which are kept in
    float16 and were computed in bfloat16 where the processing job's hardware has it.

    Raises:
        StoppedError: the job has been told to end.
    """
    dataset = output.dataset
    if output.settings.trainable == "head":
        return linear(dataset.features(split).values, state["fc.weight"], state["fc.bias"])
    network = fill(build_resnet50(output.weights.stride, len(dataset.classes)), dict(state), "the trained network")
    model = Model(prepare_network(network), dataset.classes, dataset.preprocessing, temperature=1.0, name="")
    examples, parts, kept = DecodedPhotos(photos, dataset.split(split), dataset.preprocessing), Parts(JUDGED_AT_ONCE), []
    for squares in examples.batches(torch.split(torch.arange(len(examples.labels)), JUDGED_AT_ONCE), epoch=0):
        kept.append(answer(model, squares, parts))
        if stopping.asked:
            raise StoppedError
    return torch.cat(kept)


def answer(model: Model, squares: torch.Tensor, parts: Parts) -> torch.Tensor:
    """Return float32 [n, classes] of uint8 [n, side, side, 3], as many at once as the memory holds."""

    def attempt(at_once: int) -> torch.Tensor:
        return torch.cat([logits(model, model.preprocessing.scale(part)) for part in torch.split(squares, at_once)])

    return parts.run(attempt)


if __name__ == "__main__":
    told = Stopping()
    told.listen()
    end_program(main(sys.argv[1:], Folders.from_environment(), told))
