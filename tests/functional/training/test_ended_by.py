"""A rule ends the training between two steps, in all processes at the same one, and the job goes on to its verdict. Run: `make test`."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from tests import REPOSITORY
from tests.fixtures.training.clusters import clusters, training_of
from tests.fixtures.training.processes import run_processes
from training.debugger.interface import NoDebugger
from training.fit.checkpoint import Checkpoints
from training.fit.loop import Progress, Training, fit, train_one_epoch
from training.job.distributed import end_program, join_processes, leave_processes

REASON = "LossNotDecreasing: the loss stands still"


class StopsAfter(NoDebugger):
    """A debugger whose rule ends the training after so many training steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def save_training_step(self, loss: torch.Tensor) -> None:
        self.left -= 1

    def stop_reason(self) -> str | None:
        return REASON if self.left <= 0 else None


def training_that_ends(steps: int, seed: int = 42) -> Training:
    training = training_of(clusters(40, 1), clusters(20, 2), lr=0.01, batch_size=8, epochs=4, seed=seed)  # 5 steps an epoch
    return dataclasses.replace(training, debugger=StopsAfter(steps))


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (5, 1), (7, 2), (20, 4)])
def test_the_epoch_in_which_a_rule_ends_the_training_is_judged_like_any_other(steps: int, epochs: int) -> None:
    training = training_that_ends(steps)
    progress = fit(training)
    assert (progress.ended_by, progress.stopped) == (REASON, False)
    assert len(progress.history) == epochs
    assert progress.best in progress.history
    assert all(torch.equal(training.state()[name], value) for name, value in progress.best_state.items())


def test_no_rule_no_end() -> None:
    progress = fit(training_that_ends(21))
    assert (progress.ended_by, len(progress.history)) == (None, 4)


def test_the_means_of_an_epoch_that_is_cut_short_are_those_of_its_photos() -> None:
    training = training_that_ends(1, seed=3)
    loss, accuracy = train_one_epoch(training, epoch=1)
    assert loss == pytest.approx(torch.tensor(3.0).log().item(), abs=1e-5)  # zero weights: as it was at the first step, not a fifth of it
    assert 0 < accuracy < 1


def test_a_job_that_a_rule_has_ended_stays_ended_when_it_is_started_again(tmp_path: Path) -> None:
    training, checkpoints = training_that_ends(7), Checkpoints(tmp_path, {})
    fit(training, after_epoch=lambda progress: checkpoints.save(training, progress))
    again = training_that_ends(1000)
    progress = fit(again, checkpoints.load(again))
    assert (progress.ended_by, len(progress.history)) == (REASON, 2)


def main(output: Path) -> None:
    """One of two processes; the rule is process 0's."""
    processes = join_processes()
    training = dataclasses.replace(training_that_ends(7), processes=processes)
    if processes.rank > 0:
        training = dataclasses.replace(training, debugger=NoDebugger())
    progress: Progress = fit(training)
    (output / f"{processes.rank}.json").write_text(json.dumps([len(progress.history), progress.ended_by]))
    torch.save(training.state(), output / f"{processes.rank}.pt")
    leave_processes(processes)
    end_program(0)


def test_all_processes_end_at_the_same_step(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        f"from pathlib import Path\nfrom tests.functional.training.test_ended_by import main\nmain(Path({str(tmp_path)!r}))\n"
    )
    run_processes(program)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == [2, REASON]
    assert second == [2, "a rule of process 0 ended the training"]
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.allclose(states[0][name], value) for name, value in states[1].items())
