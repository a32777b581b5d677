"""The debugger fails and the training goes on; a configuration that came with the request is followed. Run: `make test`.

Each run is a process of its own: smdebug keeps its hook in the process.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from tests import REPOSITORY
from tests.fixtures.training import small
from training.contract import DEGRADED
from training.contract.hyperparameters import Hyperparameters, Rules
from training.data.features import Processor
from training.debugger.attach import attach_debugger
from training.debugger.interface import NoDebugger
from training.debugger.intervals import BUDGET
from training.debugger.rule_results import mark_incomplete, select_debugger_rules
from training.fit.finetune import FineTuned
from training.fit.head import build_head
from training.fit.loop import fit
from training.job.micro_batches import Parts
from training.rule_evaluation.status import RuleStatus
from training.settings import Folders

EPOCHS = 11
ONE_RULE = "('ExplodingTensor',)"

PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
import psutil
import torch
from tests.fixtures.training.clusters import clusters, training_of
from training.debugger.attach import attach_debugger
from training.fit.loop import Progress, fit, steps_per_epoch
from training.contract.hyperparameters import Rules
from training.settings import Folders

mode, base, epochs, photos, done = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
folders = Folders(base, base, base, base / "model", base, base / "output/failure")
settings = {{"lr": 0.01, "batch_size": 16, "epochs": epochs, "debugger": mode, "rules": Rules(evaluate={rules})}}
training = training_of(clusters(photos, 1, noise=6.0), clusters(30, 2, noise=6.0), **settings)
debugger = attach_debugger(training.settings, folders, training.watched, steps_per_epoch(photos, 16), done)
training = replace(training, debugger=debugger)
{fault}
progress = fit(training, Progress(training.state()))
assert len(progress.history) == epochs - done, progress
assert progress.history[-1].train_accuracy > 0.5
debugger.close()
print("WRITERS", sum("event_file" in " ".join(child.cmdline()) for child in psutil.Process().children()))
print("PROBLEM", debugger.problem)
print("FOLDER", debugger.folder)
print("VERDICTS", *(status.RuleEvaluationStatus for status in debugger.statuses()))
print("DETAILS", {{status.StatusDetails for status in debugger.statuses()}})
"""


def run(
    tmp_path: Path,
    rules: str = "()",
    fault: str = "",
    mode: str = "embedded",
    epochs: int = EPOCHS,
    photos: int = 60,
    **environment: str,
) -> dict[str, str]:
    """Run the program with a fault in it and return what it said, by first word; without rules it starts no second process."""
    program = PROGRAM.format(rules=rules, fault=fault)
    done = subprocess.run(
        [sys.executable, "-c", program, mode, str(tmp_path), str(epochs), str(photos), "0"],
        cwd=REPOSITORY,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in done.stdout.splitlines()}


def opened(folder: Path) -> tuple[Any, Any]:
    """smdebug's own reader, and its modes."""
    from smdebug import modes
    from smdebug.trials import create_trial

    return create_trial(str(folder)), modes


def saved(folder: Path) -> dict[str, dict[str, list[int]]]:
    """Tensor -> mode -> steps, as smdebug's readers find them."""
    trial, modes = opened(folder)
    named = {name: trial.tensor(name) for name in trial.tensor_names()}
    return {name: {mode.name: tensor.steps(mode=mode) for mode in (modes.TRAIN, modes.EVAL)} for name, tensor in named.items()}


def request(tmp_path: Path, content: object) -> None:
    """The hook configuration of a request, where SageMaker writes it."""
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/debughookconfig.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_sound_hook_records_marks_the_end_and_starts_afresh_in_a_used_folder(tmp_path: Path) -> None:
    (tmp_path / "debug-output").mkdir()
    (tmp_path / "debug-output" / DEGRADED).write_text("of an earlier run")
    for _ in range(2):
        said = run(tmp_path, TRAINING_JOB_NAME="whippet-job")
        assert said["PROBLEM"] == "None"
        assert (tmp_path / "debug-output/training_job_end.ts").exists()
        assert not (tmp_path / "debug-output" / DEGRADED).exists()
    found = saved(tmp_path / "debug-output")
    assert found["CrossEntropyLoss_output_0"] == {"TRAIN": list(range(44)), "EVAL": list(range(11))}
    assert found["Head_fc.weight"] == found["gradient/Head_fc.weight"] == {"TRAIN": list(range(0, 44, 2)), "EVAL": []}
    assert "gradient/Head_fc.bias" not in found  # nought at the start of every head
    assert found["labels"] == found["predictions"] == {"TRAIN": [], "EVAL": list(range(11))}
    trial, modes = opened(tmp_path / "debug-output")
    labels = trial.tensor("labels").value(0, mode=modes.EVAL)
    assert (labels.dtype, labels.tolist()) == ("uint8", [number % 3 for number in range(30)])


FAULTS = {
    "a disk that takes no more": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))",
    "a hook that fails in a step": "debugger._hook._end = None",
    "tensors that no file can hold": "import training.debugger.event_writer as e; e.kind_of = None",
    "a process for files that does not run": "import training.debugger.event_writer as e; e.PROGRAM = Path('missing.py')",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_while_it_trains_stops_the_debugger_not_the_training(tmp_path: Path, fault: str) -> None:
    said = run(tmp_path, ONE_RULE, fault=FAULTS[fault])
    assert said["PROBLEM"].startswith("recording stopped: ")
    assert said["debugger"].startswith("degraded")
    assert set(said["VERDICTS"].split()) == {"Error"}
    assert published(tmp_path) == ["Error"]
    assert said["WRITERS"] == "0"
    assert not (tmp_path / "debug-output/training_job_end.ts").exists()
    assert not [file for name in ("debug-output/events", "debug-output/index", "rule-output") for file in (tmp_path / name).rglob("*.tmp")]
    assert (tmp_path / "debug-output" / DEGRADED).read_text().startswith("recording stopped: ")


FAILS_LATER = """
keep = debugger._hook._keep_loss
def keep_or_fail(loss):
    if debugger._hook.step == 16:
        raise RuntimeError("what was never seen before")
    keep(loss)
debugger._hook._keep_loss = keep_or_fail
"""


def test_losses_of_just_before_a_failure_are_there(tmp_path: Path) -> None:
    said = run(tmp_path, fault=FAILS_LATER, epochs=2, photos=16 * 101)
    assert said["PROBLEM"] == "recording stopped: RuntimeError: what was never seen before"
    assert saved(tmp_path / "debug-output")["CrossEntropyLoss_output_0"] == {"TRAIN": [0, 4, 8, 12], "EVAL": []}


def published(base: Path) -> list[str]:
    """What the rules' file says in the end."""
    return [status["RuleEvaluationStatus"] for status in json.loads((base / "rule-output/statuses.json").read_text())]


TOLD_TO_END = "close = debugger.close; debugger.close = lambda: close(judge=False)"


def test_a_job_that_is_told_to_end_does_not_say_that_its_tensors_are_complete(tmp_path: Path) -> None:
    """It may be started again: rules that saw the end would not see what follows."""
    said = run(tmp_path, ONE_RULE, fault=TOLD_TO_END)
    assert (said["PROBLEM"], said["VERDICTS"], published(tmp_path)) == ("None", "", ["Stopped"])
    assert saved(tmp_path / "debug-output")["CrossEntropyLoss_output_0"]["TRAIN"] == list(range(44))
    assert not (tmp_path / "debug-output/training_job_end.ts").exists()
    run(tmp_path)
    assert (tmp_path / "debug-output/training_job_end.ts").exists()


USED_UP = "debugger._hook.spent = 10**9"


def test_rules_that_did_not_see_all_for_want_of_space_say_so(tmp_path: Path) -> None:
    said = run(tmp_path, "('LossNotDecreasing', 'UnchangedTensor')", fault=USED_UP)
    assert said["PROBLEM"] == "None"
    assert said["VERDICTS"].split() == published(tmp_path)
    assert published(tmp_path)[0] in ("NoIssuesFound", "IssuesFound")
    assert published(tmp_path)[1] == "Error"
    assert "losses alone were saved" in said["DETAILS"]
    assert (tmp_path / "debug-output" / DEGRADED).read_text().startswith("losses alone: ")


SHORT_OF_MEMORY = """
record, short = debugger._hook._record, []
def record_or_fail(name, value):
    if "gradient" in name and len(short) < {times}:
        short.append(name)
        raise torch.OutOfMemoryError("CUDA out of memory")
    record(name, value)
debugger._hook._record = record_or_fail
"""


def test_one_shortage_of_memory_costs_the_parameters_of_a_step(tmp_path: Path) -> None:
    said = run(tmp_path, fault=SHORT_OF_MEMORY.format(times=1))
    assert said["PROBLEM"] == "None"
    found = saved(tmp_path / "debug-output")
    assert found["gradient/Head_fc.weight"]["TRAIN"] == list(range(2, 44, 2))
    assert found["CrossEntropyLoss_output_0"]["TRAIN"] == list(range(44))


def test_a_second_shortage_of_memory_ends_the_recording(tmp_path: Path) -> None:
    said = run(tmp_path, fault=SHORT_OF_MEMORY.format(times=2))
    assert said["PROBLEM"] == "recording stopped: OutOfMemoryError: CUDA out of memory"


def test_a_configuration_that_is_no_json_stops_the_debugger_not_the_training(tmp_path: Path) -> None:
    request(tmp_path, "{")
    said = run(tmp_path, ONE_RULE)
    assert said["PROBLEM"].startswith("the hook cannot be made: JSONDecodeError")
    assert set(said["VERDICTS"].split()) == {"Error"}


def test_an_output_that_cannot_be_written_to_stops_the_debugger_not_the_training(tmp_path: Path) -> None:
    """A file where the folder should be: what a read-only file system does to everybody, this does to root too."""
    (tmp_path / "debug-output").write_text("")
    said = run(tmp_path, ONE_RULE)
    assert "NotADirectoryError" in said["PROBLEM"] or "FileExistsError" in said["PROBLEM"]
    assert set(said["VERDICTS"].split()) == {"Error"}


def test_an_smdebug_that_cannot_be_imported_stops_the_debugger_not_the_training(tmp_path: Path) -> None:
    """Beside a protobuf that its messages were not made for, the import ends in a TypeError."""
    (tmp_path / "smdebug").mkdir()
    (tmp_path / "smdebug" / "__init__.py").write_text("raise TypeError('Descriptors cannot be created directly')")
    said = run(tmp_path, ONE_RULE, PYTHONPATH=str(tmp_path))
    assert said["PROBLEM"] == "the hook cannot be made: TypeError: Descriptors cannot be created directly"
    assert (tmp_path / "debug-output" / DEGRADED).read_text() == said["PROBLEM"] + "\n"
    assert set(said["VERDICTS"].split()) == {"Error"}


def test_a_long_epoch_of_a_head_saves_no_more_losses_than_promised(tmp_path: Path) -> None:
    run(tmp_path, epochs=2, photos=16 * 101)
    steps = saved(tmp_path / "debug-output")["CrossEntropyLoss_output_0"]
    assert steps == {"TRAIN": list(range(0, 202, 4)), "EVAL": [0, 1]}


def test_a_job_that_goes_on_keeps_what_was_saved_of_its_epochs_and_counts_on(tmp_path: Path) -> None:
    run(tmp_path, epochs=4)  # as killed after its third epoch's checkpoint
    program = PROGRAM.format(rules="()", fault="").replace("Progress(training.state())", "Progress(training.state(), [None] * done)")
    program = program.replace("len(progress.history) == epochs - done", "len(progress.history) == epochs")
    subprocess.run([sys.executable, "-c", program, "embedded", str(tmp_path), "6", "60", "3"], check=True, cwd=REPOSITORY)
    steps = saved(tmp_path / "debug-output")["CrossEntropyLoss_output_0"]
    assert steps == {"TRAIN": list(range(24)), "EVAL": list(range(6))}


def test_a_run_that_took_no_step_and_finds_none_says_so(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        ONE_RULE,
        fault="fit = lambda _training, progress: type('P', (), {'history': [type('E', (), {'train_accuracy': 1})] * epochs})",
    )
    assert said["PROBLEM"] == "recording stopped: RuntimeError: no tensor was recorded"
    assert set(said["VERDICTS"].split()) == {"Error"}


@pytest.mark.parametrize("at_once", [17, 5])
def test_fine_tuning_saves_activations_images_and_the_whole_batchs_gradient(
    tmp_path: Path, prepared: Path, photos: Path, weights: Path, at_once: int
) -> None:
    """In bfloat16 and channels_last; a batch that goes through in parts is one step, with the gradient that the optimizer takes."""
    training = small.small_training(prepared, photos, weights, debugger="embedded", rules=Rules(evaluate=()))
    processor = Processor(torch.device("cpu"), bfloat16=True)
    network = cast("FineTuned", training.network)
    network.processor = processor
    folders = Folders(tmp_path, tmp_path, tmp_path, tmp_path / "model", tmp_path, tmp_path / "failure")
    debugger = attach_debugger(training.settings, folders, training.watched, 2)
    progress = fit(replace(training, parts=Parts(at_once), debugger=debugger))
    gradients = {name: parameter.grad for name, parameter in training.parameters().items()}
    debugger.close()
    assert debugger.problem is None
    found = saved(tmp_path / "debug-output")
    assert found["CrossEntropyLoss_output_0"] == {"TRAIN": [0, 1, 2, 3], "EVAL": [0, 1]}
    assert found["backbone.layer4.0.relu_input_0"] == found["backbone.layer4.2.relu_output_2"] == {"TRAIN": [0, 1, 2, 3], "EVAL": []}
    assert not [name for name in found if "layer3" in name]
    trial, modes = opened(tmp_path / "debug-output")
    output = trial.tensor("backbone.layer4.0.relu_output_0").value(0, mode=modes.TRAIN)
    assert output.shape == (min(at_once, 16), 512)
    assert output.min() >= 0
    images = trial.tensor("images").value(0, mode=modes.EVAL)
    squares = next(training.valid.batches([torch.arange(6)], epoch=0))
    assert images == pytest.approx(small.SMALL.scale(squares).mean(dim=(2, 3)).numpy(), abs=0.1)
    assert [trial.tensor("CrossEntropyLoss_output_0").value(step, mode=modes.EVAL).item() for step in (0, 1)] == pytest.approx(
        [epoch.valid_loss for epoch in progress.history]
    )
    name = "backbone.layer4.0.conv2.weight"
    last = cast("torch.Tensor", gradients[name])
    tensor = trial.tensor(f"gradient/FineTuned_{name}")
    for reduction, absolute, expected in (("mean", True, last.abs().mean()), ("l2", False, last.norm()), ("std", False, last.std())):
        assert tensor.reduction_value(3, reduction, mode=modes.TRAIN, abs=absolute) == pytest.approx(expected.item(), rel=1e-4)
    assert sum(file.stat().st_size for file in (tmp_path / "debug-output").rglob("*")) < BUDGET


def test_off_saves_nothing_and_judges_nothing(tmp_path: Path) -> None:
    from tests.fixtures.training.clusters import clusters, training_of

    training = training_of(clusters(9, 1), clusters(9, 2), debugger="off")
    folders = Folders(tmp_path, tmp_path, tmp_path, tmp_path / "model", tmp_path, tmp_path / "failure")
    debugger = attach_debugger(training.settings, folders, training.watched, 1)
    debugger.close()
    assert isinstance(debugger, NoDebugger)
    assert (debugger.folder, debugger.problem, debugger.statuses(), list(tmp_path.iterdir())) == (None, None, [], [])


COLLECTIONS = [
    {"CollectionName": "losses", "CollectionParameters": {"train.save_interval": "2"}},
    {"CollectionName": "gradients"},
]


@pytest.mark.parametrize("mode", ["managed", "off"])
def test_the_configuration_of_the_request_is_followed_and_its_gaps_are_filled(tmp_path: Path, mode: str) -> None:
    """The service's own file; gradients are asked for, weights are not, and one interval is given."""
    request(tmp_path, {"LocalPath": str(tmp_path / "tensors"), "HookParameters": {}, "CollectionConfigurations": COLLECTIONS})
    said = run(tmp_path, mode=mode, photos=16 * 8, TRAINING_JOB_NAME="whippet-job")
    assert (said["PROBLEM"], said["FOLDER"], said["VERDICTS"]) == ("None", str(tmp_path / "tensors"), "")
    found = saved(tmp_path / "tensors")
    assert found == {
        "CrossEntropyLoss_output_0": {"TRAIN": list(range(0, 88, 2)), "EVAL": list(range(11))},
        "gradient/Head_fc.weight": {"TRAIN": list(range(0, 88, 4)), "EVAL": []},
    }


def test_a_managed_job_without_a_configuration_says_so(tmp_path: Path) -> None:
    said = run(tmp_path, mode="managed")
    assert (said["PROBLEM"], said["VERDICTS"]) == ("the request has no DebugHookConfig", "")


def test_an_issue_that_was_found_stands_whatever_was_not_recorded_later() -> None:
    found, content = (RuleStatus("Overfit", status, "seen", "now") for status in ("IssuesFound", "NoIssuesFound"))
    assert mark_incomplete([found, content], None) == [found, content]
    assert mark_incomplete([found, content], "the disk is full")[0] == found
    assert mark_incomplete([found, content], "the disk is full")[1].RuleEvaluationStatus == "Error"


def test_rules_are_those_of_the_job_unless_the_service_has_them() -> None:
    assert {rule["RuleConfigurationName"] for rule in select_debugger_rules(Hyperparameters())} >= {"LossNotDecreasing", "ExplodingTensor"}
    assert select_debugger_rules(Hyperparameters(debugger="managed")) == select_debugger_rules(Hyperparameters(debugger="off")) == ()


def test_a_head_has_parameters_and_no_relu() -> None:
    from tests.fixtures.training.clusters import clusters
    from training.debugger.activations import channels

    assert channels(build_head(3, clusters(9, 1))) == 0
    assert torch.equal(build_head(3, clusters(9, 1)).fc.weight, torch.zeros(3, 2048))
