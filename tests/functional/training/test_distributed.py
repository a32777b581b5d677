"""Two processes give what one gives: losses, weights, and one decision when to end. Run: `make test`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import REPOSITORY
from tests.fixtures.training import small
from tests.fixtures.training.processes import run_processes
from training.fit.loop import fit
from training.job.distributed import Processes, join_processes
from training.job.safetensors_file import read_tensors


@pytest.mark.parametrize(("processes", "tidied"), [("1", "tidied\n"), ("2", "")])
def test_one_of_several_processes_ends_without_tidying_up(processes: str, tidied: str) -> None:
    program = (
        "import atexit; from training.job.distributed import end_program; atexit.register(print, 'tidied'); print('said'); end_program(3)"
    )
    environment = {**os.environ, "WORLD_SIZE": processes, "PYTHONUNBUFFERED": "", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (3, "said\n" + tidied)


def test_two_processes_give_the_result_of_one(tmp_path: Path, prepared: Path, photos: Path, weights: Path) -> None:
    run_processes(Path(small.__file__), prepared, photos, weights, tmp_path)
    training = small.small_training(prepared, photos, weights)
    expected = small.losses(fit(training))
    for rank in (0, 1):
        got = json.loads((tmp_path / f"{rank}.json").read_text())
        assert [epoch.keys() for epoch in got] == [epoch.keys() for epoch in expected]
        for epoch, other in zip(got, expected, strict=True):
            assert epoch == pytest.approx(other, rel=1e-4, abs=1e-5)
        state, _ = read_tensors(tmp_path / f"{rank}.safetensors")
        assert all(torch.allclose(state[name], value, atol=1e-5) for name, value in training.state().items())
        assert json.loads((tmp_path / f"{rank}-resumed.json").read_text()) == got  # with the same momentum, however it lies in memory
        resumed, _ = read_tensors(tmp_path / f"{rank}-resumed.safetensors")
        if rank == 0:  # the others do not keep the best epoch's parameters across a resume
            assert all(torch.equal(resumed[name], value) for name, value in state.items())


@pytest.mark.parametrize("photos", [0, 1, 5, 8])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_photo_of_a_batch_is_one_processes_own(photos: int, size: int) -> None:
    shares = [Processes(rank, size).share(torch.zeros(photos)) for rank in range(size)]
    assert sorted(torch.cat(shares).tolist()) == list(range(photos))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_by_itself_meets_nobody() -> None:
    processes = join_processes({})
    assert processes == Processes(0, 1)
    total = torch.ones(2)
    processes.sum(total)
    assert total.tolist() == [1, 1]
    assert processes.agree(True, torch.device("cpu"))
