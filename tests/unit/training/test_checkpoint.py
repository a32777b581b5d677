"""Going on from a checkpoint: the same bits as without the interruption, and never from one damaged or foreign. Run: `make test`."""

from pathlib import Path

import pytest
import torch
from torch.optim import SGD

from tests.fixtures.training.clusters import clusters, training_of
from training.fit.checkpoint import FILES, Checkpoints
from training.fit.loop import Progress, Training, fit
from training.job.safetensors_file import read_tensors, write_tensors


class KilledError(Exception):
    """The process is gone."""


def new_training(*, sgd: bool = False) -> Training:
    training = training_of(clusters(40, 1, noise=6.0), clusters(20, 2, noise=6.0), batch_size=8, epochs=6, lr=0.02)
    if not sgd:
        return training
    optimizer = SGD(training.network.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    return Training(training.network, optimizer, training.train, training.valid, training.class_weights, training.settings, training.parts)


def run(checkpoints: Checkpoints, *, killed_after: int | None = None, sgd: bool = False) -> tuple[dict[str, torch.Tensor], Progress]:
    training = new_training(sgd=sgd)

    def after_epoch(progress: Progress) -> None:
        checkpoints.save(training, progress)
        if len(progress.history) == killed_after:
            raise KilledError

    progress = fit(training, checkpoints.load(training), after_epoch)
    return training.state(), progress


def losses(progress: Progress) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.valid_loss) for epoch in progress.history]


@pytest.mark.parametrize("sgd", [False, True])
@pytest.mark.parametrize("killed_after", [1, 4, 6])
def test_a_killed_job_ends_with_the_same_bits(tmp_path: Path, killed_after: int, sgd: bool) -> None:
    whole, expected = run(Checkpoints(tmp_path / "whole", {}), sgd=sgd)
    with pytest.raises(KilledError):
        run(Checkpoints(tmp_path / "killed", {"seed": 1}), killed_after=killed_after, sgd=sgd)
    state, progress = run(Checkpoints(tmp_path / "killed", {"seed": 1}), sgd=sgd)
    assert all(torch.equal(whole[name], state[name]) for name in whole)
    assert losses(progress) == losses(expected)
    assert progress.best is not None
    assert expected.best is not None
    assert progress.best.epoch == expected.best.epoch


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_left_for_the_one_before(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints(tmp_path, {})
    with pytest.raises(KilledError):
        run(checkpoints, killed_after=4)
    newest = tmp_path / FILES[0]
    content = bytearray(newest.read_bytes())
    content[-9] ^= 1
    newest.write_bytes(bytes({"cut": content[:-9], "flipped": content}[damage]))
    progress = checkpoints.load(new_training())
    assert progress is not None
    assert len(progress.history) == 3
    assert f"checkpoint {newest.name} is not used" in capsys.readouterr().out


def test_a_checkpoint_of_another_job_is_not_gone_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KilledError):
        run(Checkpoints(tmp_path, {"data_sha256": "a", "lr": 0.1}), killed_after=2)
    assert Checkpoints(tmp_path, {"data_sha256": "b", "lr": 0.1}).load(new_training()) is None
    assert "it belongs to another job: data_sha256 changed" in capsys.readouterr().out


def test_a_file_that_is_no_checkpoint_is_not_used(tmp_path: Path) -> None:
    write_tensors(tmp_path / FILES[0], {"a": torch.zeros(1)})
    assert Checkpoints(tmp_path, {}).load(new_training()) is None


def test_a_complete_job_leaves_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints(tmp_path / "resume" / "job", {})
    run(checkpoints)
    assert len(list(checkpoints.folder.iterdir())) == 2
    tensors, _ = read_tensors(checkpoints.folder / FILES[0])
    assert {name.partition("/")[0] for name in tensors} == {"parameters", "best", "optimizer"}
    checkpoints.remove()
    assert [file.stat().st_size for file in checkpoints.folder.iterdir()] == [0, 0]  # a deleted file would stay in S3
    assert checkpoints.load(new_training()) is None
    assert "not used" not in capsys.readouterr().out


def test_what_other_jobs_left_is_deleted_and_what_a_killed_run_left_unfinished(tmp_path: Path) -> None:
    checkpoints, other = Checkpoints(tmp_path / "resume/job", {}), tmp_path / "resume/other"
    for folder in (checkpoints.folder, other):
        folder.mkdir(parents=True)
        (folder / f".{FILES[0]}.unfinished").write_bytes(b"half")
    checkpoints.drop_others()
    assert list((tmp_path / "resume").iterdir()) == [checkpoints.folder]
    training = new_training()
    checkpoints.save(training, Progress(training.state()))
    assert [file.name for file in checkpoints.folder.iterdir()] == [FILES[0]]
