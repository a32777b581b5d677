"""Rules that look at time and at other runs, and rules under smdebug's own runner. Run: `make test`."""

import os
from pathlib import Path

import pytest
from smdebug.exceptions import NoMoreData
from smdebug.rules.rule_invoker import invoke_rule
from smdebug.trials import create_trial

from tests.fixtures.training.rules.recorded import record, rule
from tests.fixtures.training.rules.steps import GRADIENT, LOSS, WEIGHT, falling, losses, tensors
from training.contract.rules import STOP_TRAINING
from training.rule_evaluation.builtin import ConfigurationError, build_rule, stops_training
from training.rule_evaluation.judge import Judging, judge
from training.rule_evaluation.status import RuleStatus, utc_now
from training.rules.overfit import Overfit
from training.rules.stalled_training import StalledTrainingRule
from training.rules.vanishing_gradient import VanishingGradient


def one(folder: str, name: str, **parameters: object) -> RuleStatus:
    (found,) = judge(folder, [rule(name, **parameters)])
    return found


def saved_at(folder: str, *seconds: float) -> str:
    """Say when each step was saved."""
    files = sorted(Path(folder, "events").rglob("*.tfevents"))
    for file, second in zip(files, seconds, strict=True):
        os.utime(file, (1e9 + second, 1e9 + second))
    return folder


def test_a_long_time_without_tensors_is_found(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", losses(falling(3)))
    found = one(saved_at(folder, 0, 60, 60 + 1801), "StalledTraining", rule_to_invoke="StalledTrainingRule")
    assert found.RuleEvaluationStatus == "IssuesFound"
    assert found.Evidence[0] == {"mode": "TRAIN", "step": 2, "tensor": "any tensor", "value": 1801.0, "threshold": 1800}
    assert one(saved_at(folder, 0, 60, 60 + 1800), "StalledTraining").RuleEvaluationStatus == "NoIssuesFound"


def test_one_step_tells_nothing_of_time(tmp_path: Path) -> None:
    assert one(record(tmp_path / "run", losses([1.0])), "StalledTraining").RuleEvaluationStatus == "Error"


def test_a_training_that_stands_still_now_is_found_once(tmp_path: Path) -> None:
    folder = saved_at(record(tmp_path / "run", losses([1.0])), 0)
    now = [1e9 + 100]
    stalled = StalledTrainingRule(create_trial(folder), threshold=100, clock=lambda: now[0])
    assert not stalled.wait()
    stalled.invoke(0)
    assert not stalled.wait()
    now[0] += 1
    assert stalled.wait()
    assert not stalled.wait()
    assert [finding.value for finding in stalled.findings] == [101]


def test_the_time_for_which_a_job_was_interrupted_does_not_count(tmp_path: Path) -> None:
    folder = saved_at(record(tmp_path / "run", losses([1.0, 0.9])), 0, 5000)
    verdicts = {}
    for running_since in (0.0, 1e9 + 4000):
        judging = Judging(create_trial(folder), [rule("StalledTraining")], running_since)
        judging.advance()
        verdicts[running_since] = judging.statuses(utc_now, ended=True)[0].RuleEvaluationStatus
    assert list(verdicts.values()) == ["IssuesFound", "NoIssuesFound"]


def test_the_same_again_is_found(tmp_path: Path) -> None:
    steps = tensors(WEIGHT, [1.0], [2.0])
    other = record(tmp_path / "other", steps)
    found = one(record(tmp_path / "run", steps), "SimilarAcrossRuns", other_trials=other)
    assert (found.RuleEvaluationStatus, found.Evidence[0]["step"]) == ("IssuesFound", 1)


def test_runs_that_begin_alike_and_then_differ_are_sound(tmp_path: Path) -> None:
    other = record(tmp_path / "other", tensors(WEIGHT, [1.0], [2.0]))
    run = record(tmp_path / "run", tensors(WEIGHT, [1.0], [2.001]))
    assert one(run, "SimilarAcrossRuns", other_trials=other).RuleEvaluationStatus == "NoIssuesFound"
    near = record(tmp_path / "near", tensors(WEIGHT, [1.0], [2.00001]))
    assert one(near, "SimilarAcrossRuns", other_trials=other).RuleEvaluationStatus == "IssuesFound"


def test_runs_with_nothing_in_common_cannot_be_compared(tmp_path: Path) -> None:
    other = record(tmp_path / "other", tensors(GRADIENT, [1.0], [2.0]))
    run = record(tmp_path / "run", tensors(WEIGHT, [1.0], [2.0]))
    assert one(run, "SimilarAcrossRuns", other_trials=other).RuleEvaluationStatus == "Error"


def test_reductions_of_two_runs_are_compared(tmp_path: Path) -> None:
    kept = ["min", "mean"]
    other = record(tmp_path / "other", tensors(WEIGHT, [1.0], [2.0]), kept)
    assert one(record(tmp_path / "a", tensors(WEIGHT, [1.0], [2.0]), kept), "SimilarAcrossRuns", other_trials=other).Evidence
    assert not one(record(tmp_path / "b", tensors(WEIGHT, [1.0], [3.0]), kept), "SimilarAcrossRuns", other_trials=other).Evidence


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("Overfits", {}, "rule_to_invoke names Overfits, which is not one of VanishingGradient, "),
        ("Overfit", {"source_s3_uri": "s3://bucket/rule.py"}, "custom rules from a source file are not supported"),
        ("Overfit", {"patience": "many"}, "patience of Overfit must be int, got 'many'"),
        ("Overfit", {"patience": "1.5"}, "patience of Overfit must be int, got '1.5'"),
        ("ExplodingTensor", {"only_nan": "maybe"}, "only_nan of ExplodingTensor must be bool, got 'maybe'"),
        ("Overfit", {"ratio": "1"}, "ratio is not a parameter of Overfit; allowed: tensor_regex, start_step, patience, ratio_threshold"),
        ("SimilarAcrossRuns", {}, "other_trials"),
        ("SimilarAcrossRuns", {"other_trials": ""}, "SimilarAcrossRuns needs other_trials"),
        ("SimilarAcrossRuns", {"other_trials": "/no/such/folder"}, "no tensors were saved in /no/such/folder"),
        ("TensorVariance", {}, "TensorVariance needs max_threshold or min_threshold"),
        ("UnchangedTensor", {"num_steps": "1"}, "num_steps must be at least 2"),
        ("LossNotDecreasing", {"mode": "VALID"}, "mode must be one of EVAL, TRAIN, GLOBAL, got 'VALID'"),
    ],
)
def test_a_configuration_that_cannot_be_evaluated_is_an_error_of_that_rule_alone(
    tmp_path: Path, name: str, parameters: dict[str, str], said: str
) -> None:
    folder = record(tmp_path / "run", losses(falling(3)))
    broken, whole = judge(folder, [rule(name, **parameters), rule("ExplodingTensor")])
    assert (broken.RuleEvaluationStatus, whole.RuleEvaluationStatus) == ("Error", "NoIssuesFound")
    assert said in broken.StatusDetails
    with pytest.raises(ConfigurationError):
        build_rule(create_trial(folder), rule(name, **parameters))


def test_values_of_every_type_are_read_from_text(tmp_path: Path) -> None:
    trial = create_trial(record(tmp_path / "run", losses(falling(3))))
    made = build_rule(trial, rule("Overfit", patience="3.0", ratio_threshold="1e-3", tensor_regex="loss,Loss"))
    assert isinstance(made, Overfit)
    assert (made.patience, type(made.patience), made.ratio_threshold) == (3, int, 0.001)
    assert build_rule(trial, rule("ExplodingTensor", only_nan="True")).only_nan is True
    assert build_rule(trial, rule("WeightUpdateRatio", num_steps="None")).num_steps is None


def test_an_action_is_read_as_the_sdk_writes_it() -> None:
    assert stops_training(rule("Overfit", action_json=STOP_TRAINING))
    assert stops_training(rule("Overfit", action_json='[{"name": "StopTraining", "parameters": {}}]'))
    assert stops_training(rule("StalledTraining", stop_training_on_fire="True"))
    assert not stops_training(rule("Overfit", patience="1"))


def test_smdebugs_own_runner_invokes_the_rules(tmp_path: Path) -> None:
    vanishing = VanishingGradient(create_trial(record(tmp_path / "run", tensors(GRADIENT, [1.0], [1e-9], [1e-9]))))
    invoke_rule(vanishing, start_step=0, end_step=3)
    assert [finding.step for finding in vanishing.findings] == [1, 2]
    overfit = Overfit(create_trial(record(tmp_path / "other", losses([1.0, 1.0], [1.0, 3.0]))))
    with pytest.raises(NoMoreData):
        invoke_rule(overfit)
    assert [(finding.step, finding.tensor) for finding in overfit.findings] == [(1, LOSS)]


def test_a_rule_that_fails_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    steps = tensors("labels", [[0, 1], [1, 0]], mode="EVAL")
    failed, whole = judge(record(tmp_path / "run", steps), [rule("ClassImbalance"), rule("ExplodingTensor")])
    assert (failed.RuleEvaluationStatus, whole.RuleEvaluationStatus) == ("Error", "NoIssuesFound")
    assert "at step 0: ValueError: labels has the shape [2, 2]" in failed.StatusDetails


def test_a_folder_without_tensors_is_an_error_for_every_rule(tmp_path: Path) -> None:
    found = judge(str(tmp_path / "nothing"))
    assert {status.RuleEvaluationStatus for status in found} == {"Error"}
    assert all("no tensors were saved" in status.StatusDetails for status in found)
