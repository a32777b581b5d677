"""Tests of Dataloader."""

import numpy as np

from tests.fixtures.training.profiler.planted import PHASES, job, level
from training.profiler.advice_table import get_cure
from training.profiler.rules.dataloader import Dataloader

STARVED = {"data": 0.8, "forward": 0.06, "backward": 0.1, "optimizer": 0.03, "rest": 0.01}
IDLE = {"cpu0": level(30), "cpu1": level(20)}


def test_a_loader_that_leaves_cores_idle_is_found() -> None:
    finding = Dataloader().judge(job(cores=IDLE, phases=STARVED))
    assert finding.triggered == 1
    assert finding.evidence[0]["value"] == 0.8
    assert "the 2 cores were busy for 25 %" in finding.said
    assert finding.advice == get_cure("Dataloader", "idle cores")


def test_a_loader_that_all_cores_do_not_suffice_for_is_found() -> None:
    finding = Dataloader().judge(job(phases=STARVED))
    assert finding.triggered == 1
    assert finding.advice == get_cure("Dataloader")


def test_steps_that_compute_are_fine() -> None:
    finding = Dataloader().judge(job(cores=IDLE))
    assert (finding.triggered, finding.violations) == (0, 0)
    assert finding.said.startswith("training steps waited 4 % of their time")


def test_half_a_second_in_all_is_not_worth_a_change() -> None:
    finding = Dataloader().judge(job(4, init=2, cores=IDLE, phases=STARVED, step_seconds=np.full(200, 0.002)))
    assert (finding.triggered, finding.unjudged) == (0, False)


def test_steps_without_phases_are_not_judged() -> None:
    finding = Dataloader().judge(job(phases={}))
    assert finding.unjudged


def test_a_third_is_the_limit() -> None:
    assert Dataloader().judge(job(cores=IDLE, phases={**PHASES, "data": 0.3})).triggered == 0
    assert Dataloader().judge(job(cores=IDLE, phases={**PHASES, "data": 0.36})).triggered == 1
