"""The debugger fails and the training goes on; a configuration that came with the request is followed. Run: `make test`.

Each run is a process of its own: smdebug keeps its hook and its failures in the process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from torch import nn

from training.debugger import LOSSES_PER_EPOCH, attach_debugger
from training.report import rule_statuses

EPOCHS = 11
"""Enough for every rule to have something to compare."""

PROGRAM = """
import sys
from pathlib import Path
import torch
from torch import nn
from training.debugger import attach_debugger
from training.report import rule_statuses

head, loss = nn.Linear(4, 3), nn.CrossEntropyLoss()
before = head.weight.detach().clone()
debugger = attach_debugger(sys.argv[1], Path(sys.argv[2]), head, loss, steps_per_epoch={steps})
{fault}
optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
for _ in range({epochs}):
    debugger.training()
    for _ in range({steps}):
        optimizer.zero_grad()
        logits = head(torch.randn(5, 4))
        nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1])).backward()
        debugger.step()
        loss(logits.detach(), torch.tensor([0, 1, 2, 0, 1]))
        optimizer.step()
    debugger.evaluating()
    with torch.no_grad():
        debugger.step()
        loss(head(torch.randn(5, 4)), torch.tensor([0, 1, 2, 0, 1]))
debugger.close()
{spoil}
assert not {epochs} or not torch.equal(before, head.weight)
print("PROBLEM", debugger.problem)
print("FOLDER", debugger.folder)
print("VERDICTS", *(status.RuleEvaluationStatus for status in rule_statuses(debugger)))
"""


def run(
    tmp_path: Path, fault: str = "", spoil: str = "", mode: str = "embedded", steps: int = 4, epochs: int = EPOCHS, **environment: str
) -> dict[str, str]:
    """Run the program with a fault in it, or one afterwards, and return what it said, by first word."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(fault=fault, spoil=spoil, steps=steps, epochs=epochs), mode, str(tmp_path / "debug-output")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in done.stdout.splitlines()}


def test_a_sound_hook_records_marks_the_end_and_starts_afresh_in_a_used_folder(tmp_path: Path) -> None:
    for _ in range(2):
        said = run(tmp_path, TRAINING_JOB_NAME="whippet-job")
        assert said["PROBLEM"] == "None"
        assert (tmp_path / "debug-output/training_job_end.ts").exists()
        assert "Error" not in said["VERDICTS"]


def test_a_writer_that_fails_in_the_backward_pass_stops_the_debugger_not_the_training(tmp_path: Path) -> None:
    said = run(tmp_path, fault="import smdebug.core.writer as w; w.make_tensor_proto = None")
    assert "smdebug failed and stopped recording" in said["PROBLEM"]
    assert set(said["VERDICTS"].split()) == {"Error"}
    assert said["debugger"].startswith("degraded")


def test_a_hook_that_cannot_be_made_stops_the_debugger_not_the_training(tmp_path: Path) -> None:
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/debughookconfig.json").write_text("{")
    said = run(tmp_path)
    assert "could not make its hook" in said["PROBLEM"]
    assert set(said["VERDICTS"].split()) == {"Error"}


def test_an_smdebug_that_cannot_be_imported_stops_the_debugger_not_the_training(tmp_path: Path) -> None:
    """Beside a protobuf that its messages were not made for, the import ends in a TypeError."""
    (tmp_path / "smdebug").mkdir()
    (tmp_path / "smdebug" / "__init__.py").write_text("raise TypeError('Descriptors cannot be created directly')")
    said = run(tmp_path, PYTHONPATH=str(tmp_path))
    assert said["PROBLEM"] == "smdebug cannot be imported: Descriptors cannot be created directly"
    assert set(said["VERDICTS"].split()) == {"Error"}


SPOIL = "[file.write_bytes(file.read_bytes()[:9] + b'x') for file in Path(debugger.folder, 'events').rglob('*.tfevents')]"


def test_tensors_that_cannot_be_read_back_cost_the_verdicts_not_the_job(tmp_path: Path) -> None:
    said = run(tmp_path, spoil=SPOIL, TRAINING_JOB_NAME="whippet-job")
    assert said["PROBLEM"] == "None"
    assert said["VERDICTS"].split() == ["Error"] * 5


def test_a_long_epoch_saves_no_more_losses_than_promised(tmp_path: Path) -> None:
    run(tmp_path, steps=LOSSES_PER_EPOCH + 1)
    saved = list((tmp_path / "debug-output/events").rglob("*.tfevents"))
    assert EPOCHS * LOSSES_PER_EPOCH / 2 < len(saved) <= EPOCHS * (LOSSES_PER_EPOCH + 1)  # with the evaluation of each epoch


def test_a_run_that_took_no_step_says_why_there_is_nothing_to_judge(tmp_path: Path) -> None:
    """A job that goes on after its last epoch: the tensors of the run before are gone."""
    run(tmp_path)
    said = run(tmp_path, epochs=0)
    assert said["PROBLEM"].startswith("an earlier run of the job had done every epoch")
    assert "the rules judge the epochs of this run alone" in said["tensors"]
    assert set(said["VERDICTS"].split()) == {"Error"}


def test_off_saves_nothing_and_judges_nothing(tmp_path: Path) -> None:
    debugger = attach_debugger("off", tmp_path / "debug-output", nn.Linear(4, 3), nn.CrossEntropyLoss(), steps_per_epoch=4)
    debugger.close()
    assert (debugger.folder, debugger.problem, rule_statuses(debugger)) == (None, None, [])
    assert not (tmp_path / "debug-output").exists()


def test_the_configuration_of_the_request_is_followed(tmp_path: Path) -> None:
    """The service's own file, though the hyperparameter says off; gradients are asked for, weights are not."""
    collections = [
        {"CollectionName": "losses", "CollectionParameters": {"train.save_interval": "1", "eval.save_interval": "1"}},
        {"CollectionName": "gradients", "CollectionParameters": {"train.save_interval": "2"}},
    ]
    configuration = {"LocalPath": str(tmp_path / "tensors"), "HookParameters": {}, "CollectionConfigurations": collections}
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/debughookconfig.json").write_text(json.dumps(configuration))
    said = run(tmp_path, mode="off", TRAINING_JOB_NAME="whippet-job")
    assert (said["PROBLEM"], said["FOLDER"]) == ("None", str(tmp_path / "tensors"))
    assert said["VERDICTS"].split().count("Error") == 1
