"""A job that is told to end, and one that is killed: the best model is saved, and what is started again goes on. Run: `make test`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from tests import REPOSITORY
from tests.fixtures.training import small
from tests.fixtures.training.jobs import job_folders, run_quietly
from training.contract.metrics import METRICS
from training.data.dataset import open_dataset
from training.fit.artefact_refresh import SECONDS_BETWEEN_ARTEFACTS, ArtefactWriter
from training.fit.loop import Progress, Training, fit
from training.job.failure import InputRefusedError
from training.job.micro_batches import Parts
from training.job.stopping import Stopping
from training.network.resnet50 import load_backbone
from training.serving.artefact import load_artefact
from training.serving.prediction import Model
from training.settings import Folders
from training.train import compute_logits, finish, main, save_best

PROGRAM = REPOSITORY / "training" / "train.py"
ARGUMENTS = ["--lr", "0.01", "--batch_size", "4", "--epochs", "30", "--debugger", "off"]


def start(folders: Folders, base: Path, *arguments: str) -> subprocess.Popen[str]:
    """The job as the training toolkit starts it."""
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "SM_CHANNEL_DATASET": str(folders.dataset),
        "SM_CHANNEL_WEIGHTS": str(folders.weights),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen([sys.executable, PROGRAM, *arguments], env=environment, text=True, stdout=subprocess.PIPE)


def wait_for_epoch(job: subprocess.Popen[str], number: int) -> None:
    assert job.stdout is not None
    for line in job.stdout:
        if line.startswith(f"epoch {number}:"):
            return
    raise AssertionError("the job ended before that epoch")


def test_a_job_that_is_told_to_end_saves_its_best_model_within_seconds(tmp_path: Path, prepared: Path, weights: Path) -> None:
    folders = job_folders(tmp_path, prepared, weights, tmp_path)
    arguments = [*ARGUMENTS, "--evaluate_test", "true", "--epochs", "1000"]
    with start(folders, tmp_path, *arguments) as job:
        wait_for_epoch(job, 3)
        job.send_signal(signal.SIGTERM)
        told = time.monotonic()
        log, _ = job.communicate(timeout=60)
    assert job.returncode == 0
    assert time.monotonic() - told < 20  # on a busy machine
    assert "the job was stopped" in log
    assert "test:" not in log
    description = load_artefact(folders.model).description
    assert description["metrics"]["best_epoch"] >= 3
    assert list((folders.checkpoints / "resume/job").iterdir())


def test_rules_that_hang_delay_neither_the_model_nor_the_end(tmp_path: Path, prepared: Path, weights: Path, photos: Path) -> None:
    """The model is saved before they are waited for, and a job that is told to end waits no longer."""
    folders = job_folders(tmp_path, prepared, weights, photos)
    arguments = ["--lr", "0.01", "--batch_size", "4", "--epochs", "300", "--evaluate_test", "true"]
    with start(folders, tmp_path, *arguments) as job:
        wait_for_epoch(job, 1)
        rules = [child for child in psutil.Process(job.pid).children() if "training.rule_evaluation.evaluate" in child.cmdline()]
        rules[0].suspend()
        wait_for_epoch(job, 300)
        model = folders.model / "model.json"
        deadline = time.monotonic() + 30
        while not model.exists():
            assert time.monotonic() < deadline, "no model before the rules were done"
            time.sleep(0.1)
        assert rules[0].is_running()
        job.send_signal(signal.SIGTERM)
        log, _ = job.communicate(timeout=60)
    assert (job.returncode, "no report is written" in log) == (0, True)
    assert load_artefact(folders.model).description["metrics"]["best_epoch"] >= 1
    assert list((folders.checkpoints / "resume/job").iterdir())


def test_a_killed_job_that_is_started_again_ends_with_the_same_bits(tmp_path: Path, prepared: Path, weights: Path) -> None:
    contents, logs = [], []
    for name in ("whole", "killed"):
        folders = job_folders(tmp_path / name, prepared, weights, tmp_path)
        if name == "killed":
            with start(folders, tmp_path / name, *ARGUMENTS) as job:
                wait_for_epoch(job, 7)
                job.kill()
        with start(folders, tmp_path / name, *ARGUMENTS) as job:
            logs.append(job.communicate(timeout=60)[0])
        assert job.returncode == 0
        contents.append((folders.model / "model.safetensors").read_bytes())
    assert contents[0] == contents[1]
    assert "the job resumes after epoch" in logs[1]
    assert metrics(logs[0])[-1] == metrics(logs[1])[-1]


def metrics(log: str) -> list[str]:
    return re.findall(METRICS["best:valid_loss"], log)


class EndsAfter(Stopping):
    """Told to end after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def requested(self) -> bool:  # type: ignore[override]
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("looks", [0, 1, 5, 11, 12, 13, 30])
def test_wherever_it_ends_there_is_a_model_and_it_goes_on_to_the_same_one(
    tmp_path: Path, prepared: Path, weights: Path, looks: int
) -> None:
    arguments = ["--lr", "0.01", "--batch_size", "4", "--epochs", "4", "--debugger", "off"]
    whole = job_folders(tmp_path / "whole", prepared, weights, tmp_path)
    assert run_quietly(arguments, whole)[0] == 0
    folders = job_folders(tmp_path / "ended", prepared, weights, tmp_path)
    assert main(arguments, folders, EndsAfter(looks)) == 0
    assert folders.model.exists() == (looks >= 11)  # before, nothing has been learnt that was looked at
    assert main(arguments, folders) == 0
    assert (folders.model / "model.safetensors").read_bytes() == (whole.model / "model.safetensors").read_bytes()
    assert not any(file.stat().st_size for file in folders.resume.glob("*"))


def test_fine_tuning_that_ends_at_once_keeps_its_fitted_head(prepared: Path, photos: Path, weights: Path) -> None:
    training = small.small_training(prepared, photos, weights)
    training.stopping.requested = True
    start = training.state()
    progress = fit(training)
    assert (progress.stopped, progress.history, progress.best) == (True, [], None)
    assert all((start[name] == value).all() for name, value in training.state().items())


def trained(tmp_path: Path, prepared: Path, photos: Path, weights: Path) -> tuple[Progress, ArtefactWriter, Folders, Training]:
    """A final job that has its model, and is about to judge it."""
    training = small.small_training(prepared, photos, weights, epochs=1, evaluate_test=True)
    plain_state = training.network.plain_state
    output = ArtefactWriter(tmp_path / "model", small.small_dataset(prepared), load_backbone(weights)[1], training.settings, plain_state)  # type: ignore[arg-type]
    progress = fit(training)
    save_best(progress, output)
    return progress, output, job_folders(tmp_path, prepared, weights, photos), training


def test_a_job_that_is_told_to_end_while_it_judges_has_its_model(tmp_path: Path, prepared: Path, photos: Path, weights: Path) -> None:
    progress, output, folders, training = trained(tmp_path, prepared, photos, weights)
    training.stopping.requested = True
    finish(progress, output, folders, training)
    assert progress.stopped
    assert load_artefact(folders.model).description["metrics"]["best_epoch"] == 1
    assert not folders.report.exists()


def test_an_error_while_it_judges_costs_the_report_not_the_model(tmp_path: Path, prepared: Path, photos: Path, weights: Path) -> None:
    progress, output, folders, training = trained(tmp_path, prepared, photos, weights)
    with pytest.raises(InputRefusedError, match="was usable"):
        finish(progress, output, replace(folders, photos=tmp_path / "gone"), training)
    assert load_artefact(folders.model).description["metrics"]["best_epoch"] == 1


def test_photos_are_judged_as_many_at_once_as_the_memory_holds(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Narrow(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            if len(pixels) > 3:
                raise torch.OutOfMemoryError
            return pixels.mean(dim=(2, 3))

    model = Model(Narrow(), ("a", "b", "c"), open_dataset(prepared).preprocessing, 1.0, "")
    assert compute_logits(model, torch.zeros(7, 8, 8, 3, dtype=torch.uint8), Parts(7)).shape == (7, 3)
    assert "runs again with 3" in capsys.readouterr().out


def test_a_running_job_keeps_its_best_model_in_the_model_folder(tmp_path: Path, prepared: Path, photos: Path, weights: Path) -> None:
    """Not at each epoch: writing takes time, and the folder becomes the artefact in any case."""
    training = small.small_training(prepared, photos, weights, epochs=3)
    saved, now = [], 0.0
    output = ArtefactWriter(
        tmp_path / "model",
        small.small_dataset(prepared),
        load_backbone(weights)[1],
        training.settings,
        training.network.plain_state,  # type: ignore[arg-type]
        clock=lambda: now,
    )

    def after_epoch(progress: Progress) -> None:
        nonlocal now
        output.refresh(progress, training)
        saved.append((tmp_path / "model").exists())
        now += SECONDS_BETWEEN_ARTEFACTS

    before = fit(training, None, after_epoch)
    assert saved == [False, True, True]
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    assert description["metrics"]["best_epoch"] >= 1
    assert before.best is not None
