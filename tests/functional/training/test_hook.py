"""The numbers that are kept of a tensor are the tensor's, however it lies in memory. Run: `make test`."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from smdebug import modes
from smdebug.trials import create_trial

from training.debugger.configuration import build_own_configuration, complete
from training.debugger.event_file import Step
from training.debugger.event_writer import WAIT_S, EventWriter
from training.debugger.hook import USUAL, Hook, build_hook, compute_reductions, list_saved_files, remove_steps_after
from training.debugger.intervals import Intervals, class_type

LOSS = "CrossEntropyLoss_output_0"
CLASSES = (256, 1000, 40_000)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last),
        torch.randn(6, 5, generator=torch.Generator().manual_seed(2)).t(),
        torch.randn(7, generator=torch.Generator().manual_seed(3)).bfloat16(),
        torch.full((1000,), 1.0) + 1e-3 * torch.randn(1000, generator=torch.Generator().manual_seed(4)),
    ],
    ids=["channels_last", "transposed", "bfloat16", "nearly constant"],
)
def test_reductions_are_the_tensors(tensor: torch.Tensor) -> None:
    values = tensor.double()
    expected = {
        ("min", False): values.min(),
        ("max", False): values.max(),
        ("mean", False): values.mean(),
        ("std", False): values.std(),
        ("mean", True): values.abs().mean(),
        ("l2", False): values.norm(),
    }
    found = dict(zip(USUAL, compute_reductions(tensor), strict=True))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), rel=1e-4, abs=1e-7), name


def test_one_number_has_no_deviation_and_what_is_no_number_shows() -> None:
    assert compute_reductions(torch.tensor([3.0])).tolist() == [3, 3, 3, 3, 0, 3]
    assert np.isnan(compute_reductions(torch.tensor([1.0, float("nan")]))).all()


def test_what_a_hook_did_not_write_is_nothing_of_an_earlier_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A request may name the folder of the model or of the checkpoints."""
    others = ["model.safetensors", "resume/job/epoch.pt", "000000000001_other.json", "code/events.py"]
    own = ["events/000000000000/000000000000_worker_0.tfevents", "index/000000000/000000000007_worker_0.json", "training_job_end.ts"]
    for name in (*others, *own):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_steps_after(tmp_path, 3)
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == {*others, own[0]}
    assert "1 files of saved steps are kept and 2 are removed" in capsys.readouterr().out


def test_of_an_empty_folder_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remove_steps_after(tmp_path, 0)
    remove_steps_after(tmp_path / "missing", 0)
    assert capsys.readouterr().out == ""


def test_answers_of_any_number_of_classes_are_read_back_by_smdebug(tmp_path: Path) -> None:
    configuration = complete(build_own_configuration(tmp_path / "tensors", {"labels": "^labels$"}), Intervals(1, 1, 1, 1, 1))
    hook = build_hook(configuration, tmp_path / "configuration.json", 0, 0)
    for classes in CLASSES:
        hook.save_step("EVAL", {"labels": torch.arange(classes).to(class_type(classes))})
    hook.close()
    labels = create_trial(str(tmp_path / "tensors")).tensor("labels")
    assert [labels.value(step, mode=modes.EVAL).tolist() for step in range(len(CLASSES))] == [list(range(classes)) for classes in CLASSES]


class Noting(EventWriter):
    """Notes which steps it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []

    def write(self, steps: Sequence[Step], size: int) -> None:
        self.given += [step.number for step in steps]
        super().write(steps, size)


@pytest.mark.parametrize("short_way", [True, False])
def test_what_is_saved_is_as_it_was_at_its_step_though_files_are_written_later(tmp_path: Path, short_way: bool) -> None:
    configuration = complete(build_own_configuration(tmp_path / "tensors", {"losses": None, "own": "^own$"}), Intervals(1, 2, 1, 1, 1))
    hook = build_hook(configuration, tmp_path / "configuration.json", 0, 0)
    hook.files = files = Noting()
    if short_way:
        hook.watch({}, LOSS, ())
    parameter, loss = torch.zeros(3), torch.tensor(0.0)
    for step in range(5):
        loss.fill_(step)
        hook.save_step("TRAIN", {"own": parameter, LOSS: loss})
        assert hook.only_loss == (short_way and step % 2 == 1)
        parameter += 1
    hook.close()
    assert files.given == [0, 1, 2, 3, 4]  # in order: who reads while it is written looks for nothing before what was found
    trial = create_trial(str(tmp_path / "tensors"))
    own, losses = trial.tensor("own"), trial.tensor(LOSS)
    assert {step: own.value(step).tolist() for step in own.steps()} == {0: [0.0] * 3, 2: [2.0] * 3, 4: [4.0] * 3}
    assert [losses.value(step).item() for step in losses.steps()] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_losses_alone_are_written_within_a_second_and_count_for_the_budget(tmp_path: Path) -> None:
    """An epoch may take hours, and the rules look at its losses while it lasts."""
    hook = build_hook(complete(build_own_configuration(tmp_path, {"losses": None}), Intervals(1, 1, 1, 1, 1)), tmp_path / "hook.json", 0, 0)
    hook.watch({}, LOSS, ())
    for pause, kept in ((0, 0), (1.1 * WAIT_S, 1), (0, 0)):  # the first is due at once, the second waits for the third
        hook.save_step("TRAIN", {LOSS: torch.tensor(1.0)})
        assert hook.only_loss
        assert len(hook._waiting) == kept
        time.sleep(pause)
    deadline = time.monotonic() + 30
    while len(found := [file for file in list_saved_files(tmp_path) if file.name.startswith("0")]) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {file.name for file in found} == {f"00000000000{step}_worker_0.{kind}" for step in range(3) for kind in ("tfevents", "json")}
    assert (tmp_path / "collections/000000000/worker_0_collections.json").exists()
    assert 0.4 * hook.spent < sum(file.stat().st_size for file in found) <= hook.spent
    hook.close()


def hook_of(folder: Path, losses: str | None) -> Hook:
    """A hook that saves the losses of each training step, and all of that name with them."""
    return build_hook(complete(build_own_configuration(folder, {"losses": losses}), Intervals(1, 1, 1, 1, 1)), folder / "hook.json", 0, 0)


def test_a_step_has_no_short_way_where_more_than_its_loss_is_saved_as_losses(tmp_path: Path) -> None:
    for losses, others, short in ((None, ["relu_input_0"], True), ("relu", ["relu_input_0"], False), (None, [LOSS + "s"], False)):
        hook = hook_of(tmp_path, losses)
        hook.watch({}, LOSS, others)
        hook.save_step("TRAIN", {LOSS: torch.tensor(1.0)})
        assert hook.only_loss == short
        hook.close()


def test_losses_that_were_kept_are_written_though_recording_failed(tmp_path: Path) -> None:
    hook = hook_of(tmp_path, None)
    hook.watch({}, LOSS, ())
    hook.files.write([], 0)  # none is due for half a second
    for _ in range(3):
        hook.save_step("TRAIN", {LOSS: torch.tensor(1.0)})
    hook.close(failed=True)
    assert len([file for file in list_saved_files(tmp_path) if file.name.startswith("0")]) == 6
