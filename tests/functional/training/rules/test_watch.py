"""The rules' process: it follows a training that goes on, ends with it, and says so when it could not. Run: `make test`."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.fixtures.training.rules.recorded import configuration, rule
from tests.fixtures.training.rules.steps import LOSS, WEIGHT
from training.contract.rules import STOP_TRAINING
from training.debugger.hook import Hook, build_hook
from training.rule_evaluation import evaluate
from training.rule_evaluation.evaluate import Evaluation
from training.rule_evaluation.watch import LOG, STATUSES, RuleWatch

RULES = [rule("ExplodingTensor", action_json=STOP_TRAINING), rule("VanishingGradient")]


class Job:
    """A training that saves what a test tells it to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hook: Hook = build_hook(configuration(folder, ()), folder.with_suffix(".json"), 0, 0)

    def save(self, tensors: Mapping[str, Any]) -> None:
        self.hook.save_step("TRAIN", {name: torch.as_tensor(np.asarray(value, dtype=np.float32)) for name, value in tensors.items()})
        self.hook.files.flush()
        until(lambda: any(self.folder.rglob(f"{self.hook.step:012d}_*.json")), nap=0.002)

    def leave(self) -> None:
        """Save no more, without a word to readers."""
        self.hook.files.close()


def until(condition: Callable[[], bool], seconds: float = 60, nap: float = 0.1) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(nap)


def written(output: Path) -> dict[str, str]:
    found = json.loads((output / STATUSES).read_text())
    return {status["RuleConfigurationName"]: status["RuleEvaluationStatus"] for status in found}


@pytest.fixture
def started(tmp_path: Path) -> tuple[RuleWatch, Path, Path]:
    watch = RuleWatch()
    watch.start(tmp_path / "tensors", tmp_path / "rule-output", RULES)
    return watch, tmp_path / "tensors", tmp_path / "rule-output"


def test_it_follows_a_training_finds_an_issue_on_the_way_and_judges_the_rest(started: tuple[RuleWatch, Path, Path]) -> None:
    watch, tensors, output = started
    until((output / STATUSES).exists)
    assert set(written(output).values()) == {"InProgress"}
    job = Job(tensors)
    job.save({LOSS: 1.0, WEIGHT: [1.0]})
    assert watch.stop_reason() is None
    job.save({LOSS: float("nan"), WEIGHT: [1.0]})
    until(lambda: written(output)["ExplodingTensor"] == "IssuesFound")
    assert written(output)["VanishingGradient"] == "InProgress"
    until(lambda: watch.stop_reason() is not None)
    assert str(watch.stop_reason()).startswith("ExplodingTensor: RuleEvaluationConditionMet: the condition was met once, at TRAIN step 1")
    job.save({"gradient/Net_fc.weight": [1e-9]})
    job.leave()
    exploding, vanishing = watch.finish(60)
    assert (exploding.RuleEvaluationStatus, vanishing.RuleEvaluationStatus) == ("IssuesFound", "IssuesFound")
    assert (exploding.Evidence[0]["value"], exploding.RuleParameters["action_json"]) == ("nan", STOP_TRAINING)


def test_the_end_of_the_job_ends_it_while_its_input_is_open(started: tuple[RuleWatch, Path, Path]) -> None:
    """As the plane runs it."""
    watch, tensors, output = started
    assert watch._process
    job = Job(tensors)
    job.save({LOSS: 1.0, "gradient/Net_fc.weight": [1.0]})
    job.hook.close()
    assert watch._process.wait(60) == 0
    assert set(written(output).values()) == {"NoIssuesFound"}
    assert [status.RuleEvaluationStatus for status in watch.finish(1)] == ["NoIssuesFound", "NoIssuesFound"]


def test_a_process_that_died_is_an_error_but_what_it_found_stands(started: tuple[RuleWatch, Path, Path]) -> None:
    watch, tensors, output = started
    job = Job(tensors)
    job.save({LOSS: float("nan")})
    job.leave()
    until(lambda: (output / STATUSES).exists() and written(output)["ExplodingTensor"] == "IssuesFound")
    assert watch._process
    os.kill(watch._process.pid, signal.SIGKILL)
    exploding, vanishing = watch.finish(60)
    assert (exploding.RuleEvaluationStatus, vanishing.RuleEvaluationStatus) == ("IssuesFound", "Error")
    assert "ended with code -9" in vanishing.StatusDetails


def test_a_process_that_hangs_is_killed_and_is_an_error(started: tuple[RuleWatch, Path, Path]) -> None:
    watch, _, output = started
    until((output / STATUSES).exists)
    assert watch._process
    os.kill(watch._process.pid, signal.SIGSTOP)
    found = watch.finish(0.5)
    assert {status.RuleEvaluationStatus for status in found} == {"Error"}
    assert "had not finished after 0.5 s" in found[0].StatusDetails
    assert watch._process.poll() is not None


def test_a_job_that_is_told_to_end_waits_no_longer(started: tuple[RuleWatch, Path, Path]) -> None:
    watch, _, output = started
    until((output / STATUSES).exists)
    assert watch._process
    os.kill(watch._process.pid, signal.SIGSTOP)
    looks = iter((False, True))
    began = time.monotonic()
    found = watch.finish(60, lambda: next(looks))
    assert time.monotonic() - began < 10
    assert {status.RuleEvaluationStatus for status in found} == {"Stopped"}
    assert found[0].StatusDetails == "the job was stopped before the rules had finished"
    assert watch._process.poll() is not None


def test_nothing_saved_is_an_error(started: tuple[RuleWatch, Path, Path]) -> None:
    found = started[0].finish(60)
    assert [status.RuleEvaluationStatus for status in found] == ["Error", "Error"]
    assert "no tensors were saved" in found[0].StatusDetails


def test_what_an_earlier_run_said_does_not_count(tmp_path: Path) -> None:
    output = tmp_path / "rule-output"
    output.mkdir()
    (output / "stop.json").write_text('{"rule": "Overfit", "details": "long ago"}')
    watch = RuleWatch()
    watch.start(tmp_path / "tensors", output, RULES)
    assert watch.stop_reason() is None
    assert len(watch.finish(0)) == len(RULES)


def test_a_process_that_cannot_run_says_why(tmp_path: Path) -> None:
    watch = RuleWatch()
    watch.start(tmp_path / "tensors", tmp_path / "rule-output", RULES)
    assert watch._process
    watch._process.kill()
    watch._process.wait()
    (tmp_path / "rule-output" / LOG).write_text("Traceback\nMemoryError\n")
    assert watch.finish(1)[0].StatusDetails.endswith("ended with code -9: MemoryError")


def test_a_watch_that_was_never_started_has_no_verdicts() -> None:
    assert (RuleWatch().stop_reason(), RuleWatch().finish(1)) == (None, [])


def test_statuses_are_written_only_when_they_change(tmp_path: Path) -> None:
    statuses, states = tmp_path / "statuses.json", []
    evaluation = Evaluation(str(tmp_path / "tensors"), RULES, statuses, None)

    def is_over() -> bool:
        states.append(statuses.stat().st_mtime_ns)
        return len(states) > 3

    evaluation.follow(is_over, sleep=lambda _: None)
    assert len(set(states)) == 1
    assert statuses.stat().st_mtime_ns > states[-1]
    assert list(tmp_path.glob("*.tmp")) == []


def test_the_last_writing_counts_all(tmp_path: Path) -> None:
    """Evidence ends at ten; how often the condition was met goes on being counted."""
    statuses = tmp_path / "statuses.json"
    job, looks = Job(tmp_path / "tensors"), iter((False, True))
    for _ in range(12):
        job.save({LOSS: float("nan")})

    def is_over() -> bool:
        over = next(looks)
        if over:
            for _ in range(48):
                job.save({LOSS: float("nan")})
            job.hook.close()
        return over

    Evaluation(str(tmp_path / "tensors"), RULES[:1], statuses, None).follow(is_over, sleep=lambda _: None)
    assert "the condition was met 60 times" in json.loads(statuses.read_text())[0]["StatusDetails"]


def test_details_alone_are_written_every_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses, said = tmp_path / "statuses.json", []
    job = Job(tmp_path / "tensors")

    def is_over() -> bool:
        if statuses.exists():
            said.append(json.loads(statuses.read_text())[1]["StatusDetails"].partition(" ")[0])
        monkeypatch.setattr(evaluate, "DETAILS_S", 0.0 if len(said) == 4 else 60.0)
        job.save({LOSS: 1.0, "gradient/Net_fc.weight": [1.0]})
        return len(said) > 4

    Evaluation(str(tmp_path / "tensors"), RULES, statuses, None).follow(is_over, sleep=lambda _: None)
    job.leave()
    assert said[:4] == ["no"] * 4
    assert int(said[4]) > 0


def test_a_long_backlog_is_told_of_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issue ends the training, and stands should the rest take too long, though hundreds of steps are still to be judged."""
    monkeypatch.setattr(evaluate, "STEPS_AT_ONCE", 5)
    statuses, stop = tmp_path / "statuses.json", tmp_path / "stop.json"
    states: list[tuple[str, bool, int]] = []
    slept: list[float] = []
    job = Job(tmp_path / "tensors")
    for number in range(18):
        job.save({LOSS: float("nan") if number == 7 else 1.0})
    job.hook.close()

    def is_over() -> bool:
        found = json.loads(statuses.read_text())
        states.append((found[0]["RuleEvaluationStatus"], stop.exists(), len(slept)))
        return len(states) > 3

    Evaluation(str(tmp_path / "tensors"), RULES[:1], statuses, stop).follow(is_over, sleep=slept.append)
    assert states == [("InProgress", False, 0), ("InProgress", False, 0), ("IssuesFound", True, 0), ("IssuesFound", True, 0)]


def test_what_is_left_at_the_end_is_told_of_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "STEPS_AT_ONCE", 5)
    told: list[list[str]] = []
    monkeypatch.setattr(evaluate, "write_file", lambda _, document: told.append([each["RuleEvaluationStatus"] for each in document]))
    job = Job(tmp_path / "tensors")
    for number in range(18):
        job.save({LOSS: float("nan") if number == 7 else 1.0, "gradient/Net_fc.weight": [1.0]})
    job.hook.close()
    Evaluation(str(tmp_path / "tensors"), RULES, tmp_path / "statuses.json", None).follow(lambda: True)
    assert told == [["InProgress", "InProgress"], ["IssuesFound", "InProgress"], ["IssuesFound", "NoIssuesFound"]]
