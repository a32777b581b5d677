"""The training job from end to end on real files: log, artefact, report, saved tensors, refusals. Run: `make test`."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from tests import REPOSITORY
from tests.fixtures.training.jobs import Job, describe_weights, job_folders, run_quietly
from training.contract.hyperparameters import Hyperparameters
from training.contract.metrics import METRICS, OBJECTIVE_METRIC
from training.contract.rules import PROFILER_RULES, default_rules
from training.data.dataset import open_dataset
from training.data.features import Processor
from training.data.preprocessing import read_photo
from training.job.distributed import Processes
from training.job.failure import write_failure
from training.network.resnet50 import load_backbone
from training.report.write import Report
from training.serving.artefact import load_artefact
from training.serving.inference import model_fn
from training.serving.prediction import logits
from training.train import choose_device, describe_identity, write_safely


def read(job: Job, name: str) -> Any:
    return json.loads((job.folders.report / f"{name}.json").read_text())


def test_the_job_succeeds_and_every_metric_of_the_contract_is_in_its_log(finished: Job) -> None:
    assert finished.status == 0, finished.log
    found = {name: re.findall(pattern, finished.log) for name, pattern in METRICS.items()}
    assert [name for name, values in found.items() if not values] == []
    assert len(found[OBJECTIVE_METRIC]) == 12
    assert len(found["test:accuracy"]) == 1


def test_the_objective_is_the_lowest_validation_loss_so_far(finished: Job) -> None:
    losses = [float(value) for value in re.findall(METRICS["valid:loss"], finished.log)]
    objective = [float(value) for value in re.findall(METRICS[OBJECTIVE_METRIC], finished.log)]
    assert objective == [min(losses[: number + 1]) for number in range(len(losses))]


def test_it_learns_colours(finished: Job) -> None:
    assert read(finished, "evaluation")["test_accuracy"] >= 0.8


def test_the_report_agrees_with_itself(finished: Job) -> None:
    evaluation, data, history = read(finished, "evaluation"), read(finished, "data"), read(finished, "history")
    matrix = torch.tensor(evaluation["confusion_matrix"])
    assert matrix.sum().item() == sum(data["photos"]["test"].values()) == 6
    assert evaluation["test_accuracy"] == pytest.approx(matrix.diagonal().sum().item() / 6)
    assert data["test_photos"] == [photo.name for photo in open_dataset(finished.folders.dataset).split("test")]
    assert data["left_out"] == [{"file": "red/no_photo.jpg", "reason": "it is none of JPEG, PNG, WEBP, GIF, BMP, TIFF"}]
    assert [epoch["epoch"] for epoch in history] == list(range(1, 13))


def test_the_served_model_says_of_the_test_photos_what_training_said(finished: Job) -> None:
    """Features and head while training, one folded network while serving: the same loss, and the logits of the plain network."""
    model = model_fn(str(finished.folders.model))
    photos = open_dataset(finished.folders.dataset).split("test")
    pixels = torch.stack([model.preprocessing(read_photo(finished.folders.photos / photo.name)) for photo in photos])
    with torch.inference_mode():
        served, plain = logits(model, pixels), load_artefact(finished.folders.model).network(pixels)
    assert torch.allclose(served, plain, atol=1e-4, rtol=1e-4)
    loss = torch.nn.functional.cross_entropy(served, torch.tensor([photo.label for photo in photos])).item()
    assert loss == pytest.approx(read(finished, "evaluation")["test_loss"], abs=1e-4)


def test_train_and_eval_losses_are_read_back_by_smdebug(finished: Job) -> None:
    from smdebug import modes
    from smdebug.trials import create_trial

    trial = create_trial(str(finished.folders.debug_output))
    losses = trial.tensor("CrossEntropyLoss_output_0")
    assert losses.steps(mode=modes.TRAIN) == list(range(12 * math.ceil(18 / 8)))
    saved = [float(losses.value(step, mode=modes.EVAL)) for step in losses.steps(mode=modes.EVAL)]
    assert saved == pytest.approx([epoch["valid_loss"] for epoch in read(finished, "history")], abs=1e-6)
    gradient = trial.tensor("gradient/Head_fc.weight")
    assert gradient.reduction_value(gradient.steps(mode=modes.TRAIN)[0], "mean", mode=modes.TRAIN, abs=True) > 0


def test_every_rule_has_a_verdict(finished: Job) -> None:
    statuses = read(finished, "rule_statuses")
    assert [status["RuleConfigurationName"] for status in statuses] == list(default_rules("head"))
    unjudged = [status["StatusDetails"] for status in statuses if status["RuleEvaluationStatus"] not in ("NoIssuesFound", "IssuesFound")]
    assert all("nothing to compare" in details for details in unjudged)  # six photos are few for a rule that counts classes
    verdicts = {status["RuleConfigurationName"]: status["RuleEvaluationStatus"] for status in statuses}
    assert verdicts["ExplodingTensor"] == verdicts["UnchangedTensor"] == "NoIssuesFound"
    assert {status["RuleConfigurationName"] for status in read(finished, "profiler_rule_statuses")} == set(PROFILER_RULES)
    assert read(finished, "profile")["steps"]["train"]["count"] == 12 * math.ceil(18 / 8)


def test_the_artefact_says_where_it_comes_from(finished: Job) -> None:
    description = json.loads((finished.folders.model / "model.json").read_text())
    assert description["classes"] == ["blue", "green", "red"]
    assert description["training_job"] == "whippet-test-train"
    assert description["backbone"]["stride"] == "v1.5"
    assert description["hyperparameters"]["lr"] == 0.01
    assert (finished.folders.model / "code/training/serving/server.py").is_file()
    assert (finished.folders.model / "code/serve").stat().st_mode & 0o111


def test_the_page_needs_nothing_beside_it(finished: Job) -> None:
    page = (finished.folders.report / "report.html").read_text()
    assert "<svg" in page
    assert "no_photo.jpg" in page
    assert not re.search(r"<script|src=|@import|url\(", page)
    assert set(re.findall(r'href="([^"]*)"', page)) <= {"profiler-report.html"}  # which lies beside it


def test_where_nothing_but_the_model_can_be_written_there_is_the_model(tmp_path: Path, prepared: Path, weights: Path, photos: Path) -> None:
    """A file where the checkpoints' folder should be: what a read-only disk does to everybody, this does to root too."""
    (tmp_path / "file").touch()
    folders = replace(job_folders(tmp_path, prepared, weights, photos), checkpoints=tmp_path / "file" / "checkpoints")
    status, log = run_quietly(["--epochs", "3", "--batch_size", "8", "--evaluate_test", "true"], folders)
    assert status == 0, log
    for sentence in (
        "debugger degraded: ",
        "profiler degraded: ",
        "the checkpoint of epoch 3 was not saved: ",
        "the report cannot be written: ",
    ):
        assert sentence in log
    assert load_artefact(folders.model).description["metrics"]["test_accuracy"] > 0


def test_a_tuning_job_needs_no_photos_prints_no_test_figure_and_leaves_no_report(tmp_path: Path, prepared: Path, weights: Path) -> None:
    folders = job_folders(tmp_path, prepared, weights, tmp_path / "no photos")
    status, log = run_quietly(["--epochs", "2", "--batch_size", "512", "--debugger", "off"], folders)
    assert status == 0, log
    assert "test:" not in log
    assert not [file for file in folders.checkpoints.rglob("*") if file.is_file() and file.stat().st_size]
    assert load_artefact(folders.model).classes == ("blue", "green", "red")


def test_the_same_seed_gives_the_same_artefact(tmp_path: Path, prepared: Path, weights: Path) -> None:
    contents = []
    for name, seed in (("first", "1"), ("second", "1"), ("third", "2")):
        folders = job_folders(tmp_path / name, prepared, weights, tmp_path)
        assert run_quietly(["--epochs", "2", "--batch_size", "8", "--debugger", "off", "--seed", seed], folders)[0] == 0
        contents.append((folders.model / "model.safetensors").read_bytes())
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--lr", "7"], "--lr: must be a number above 0 and at most 1, got 7.0"),
        (["--momentum", "0.9"], "unrecognized arguments: --momentum"),
        (["--debugger", "remote"], "--debugger: must be one of"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_a_sentence(
    tmp_path: Path, prepared: Path, weights: Path, arguments: list[str], sentence: str
) -> None:
    folders = job_folders(tmp_path, prepared, weights, tmp_path)
    status, _ = run_quietly(arguments, folders)
    assert status == 1
    assert sentence in folders.failure.read_text()
    assert not folders.model.exists()


def test_a_reason_is_cut_between_two_characters(tmp_path: Path) -> None:
    write_failure(tmp_path / "output/failure", "x" + "é" * 1000 + "\udc80")
    content = (tmp_path / "output/failure").read_bytes()
    assert content.decode() == "x" + "é" * 511


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path, weights: Path) -> None:
    folders = job_folders(tmp_path, tmp_path / "nothing", weights, tmp_path)
    assert run_quietly([], folders)[0] == 1
    assert "lacks dataset.json" in folders.failure.read_text()


def other_weights(folder: Path, weights: Path, **changes: str) -> Path:
    """The same file with a byte more, and its description."""
    folder.mkdir()
    (folder / "resnet50.pth").write_bytes((weights / "resnet50.pth").read_bytes() + b"\0")
    return describe_weights(folder, **changes)


def test_weights_that_are_not_the_described_ones_are_refused(tmp_path: Path, prepared: Path, weights: Path) -> None:
    folders = job_folders(tmp_path, prepared, other_weights(tmp_path / "weights", weights, sha256="0" * 64), tmp_path)
    assert run_quietly([], folders)[0] == 1
    assert "changed or cut short" in folders.failure.read_text()


def test_weights_that_did_not_make_the_features_are_refused(tmp_path: Path, prepared: Path, weights: Path) -> None:
    folders = job_folders(tmp_path, prepared, other_weights(tmp_path / "weights", weights), tmp_path)
    assert run_quietly([], folders)[0] == 1
    assert "start a new execution" in folders.failure.read_text()


def test_of_several_processes_one_trains_a_head(tmp_path: Path, prepared: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    folders = job_folders(tmp_path, prepared, weights, tmp_path)
    assert run_quietly([], folders) == (0, "")
    assert not folders.model.exists()


def test_the_program_starts_as_a_file_from_anywhere(tmp_path: Path) -> None:
    """As the training toolkit starts it: nothing on the path but the script's own folder."""
    program = REPOSITORY / "training" / "train.py"
    environment = {"SAGEMAKER_BASE_DIR": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, program, "--lr", "none"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "--lr: must be a number above 0 and at most 1, got 'none'" in (tmp_path / "output/failure").read_text()


def test_a_checkpoint_of_a_processor_that_rounds_otherwise_is_of_another_job(prepared: Path, weights: Path) -> None:
    dataset, (_, description) = open_dataset(prepared), load_backbone(weights)
    processors = (Processor(torch.device("cpu"), bfloat16) for bfloat16 in (False, True))
    one, other = (describe_identity(Hyperparameters(), dataset, description, processor, Processes()) for processor in processors)
    assert {name for name in one if one[name] != other[name]} == {"processor"}


def test_a_head_is_measured_where_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(Hyperparameters(trainable=trainable)).type for trainable in ("head", "last_stage", "all")] == [
        "cpu",
        "cuda",
        "cuda",
    ]


def test_whatever_fails_in_the_report_is_said_and_costs_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Unreadable:
        def __getattr__(self, name: str) -> object:
            raise KeyError(f"caf\udce9 {name}")

    write_safely(tmp_path / "report", cast("Report", Unreadable()))
    assert capsys.readouterr().out == "the report failed: KeyError: 'caf\\udce9 dataset'. The model is saved as the artefact.\n"
