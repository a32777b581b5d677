"""Each rule on saved tensors: the fault found, a sound run not, values at the threshold, and what is missing. Run: `make test`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smdebug.trials import create_trial

from tests.fixtures.training.rules.recorded import Step, as_json, record, rule
from tests.fixtures.training.rules.steps import GRADIENT, LOSS, WEIGHT, falling, losses, tensors
from training.contract.rules import DEBUG_RULES, INVOKED, job_parameters
from training.rule_evaluation.builtin import RULES
from training.rule_evaluation.judge import judge
from training.rule_evaluation.status import RuleStatus
from training.rules.loss_not_decreasing import LossNotDecreasing

ALL = ("min", "max", "mean", "std", "abs_mean", "l2_norm")


def answers(*pairs: tuple[Sequence[int], Sequence[int]]) -> list[Step]:
    return [("EVAL", {"labels": np.array(labels), "predictions": np.array(predictions)}) for labels, predictions in pairs]


def relu(dead: int, units: int = 10, photos: int = 200) -> Any:
    """[photos, units], the first `dead` of them silent."""
    value = np.ones((photos, units))
    value[:, :dead] = 0
    return value


@dataclass(frozen=True)
class Case:
    rule: str
    fault: list[Step]
    sound: list[Step]
    missing: list[Step]
    evidence: tuple[str, int, str]
    """Mode, step and tensor of the first."""
    parameters: dict[str, Any] = field(default_factory=dict)
    met: tuple[list[Step], ...] = ()
    """Just over the threshold."""
    not_met: tuple[list[Step], ...] = ()
    """At the threshold, or just under it."""


SPREAD = np.linspace(-1, 1, 101)
CASES = [
    Case(
        "VanishingGradient",
        fault=tensors(GRADIENT, [0.1, -0.1], [1e-9, -1e-9]),
        sound=tensors(GRADIENT, [0.1, -0.1], [0.01, -0.01]) + tensors(GRADIENT, [0.0], mode="EVAL"),
        missing=losses(falling(3)),
        evidence=("TRAIN", 1, GRADIENT),
        parameters={"threshold": 0.25},
        met=(tensors(GRADIENT, [0.5, 0.25]) + tensors(GRADIENT, [0.2499]),),
        not_met=(tensors(GRADIENT, [0.25, -0.25]),),
    ),
    Case(
        "ExplodingTensor",
        fault=tensors(WEIGHT, [1.0], [1.0, float("inf")]),
        sound=tensors(WEIGHT, [1.0], [3e38]),
        missing=[],
        evidence=("TRAIN", 1, WEIGHT),
        parameters={"only_nan": True, "collection_names": "weights"},
        met=(tensors(WEIGHT, [float("nan")]),),
        not_met=(tensors(WEIGHT, [float("inf")]) + tensors(GRADIENT, [float("nan")]),),
    ),
    Case(
        "LossNotDecreasing",
        fault=losses([1.0] * 24, [0.5] * 12),
        sound=losses(falling(24), falling(12)),
        missing=losses(falling(20), falling(10)),
        evidence=("EVAL", 10, LOSS),
        parameters={"num_steps": 2, "diff_percent": 50, "mode": "TRAIN"},
        met=(losses([1.0, 0.9, 0.51]), losses([1.0, 2.0, 1.06])),
        not_met=(losses([1.0, 0.9, 0.5, 9.0]), losses([1.0, 2.0, 1.04]), losses([1.0, 0.9, 0.1], [9.0, 9.0, 9.0])),
    ),
    Case(
        "Overfit",
        fault=losses([1.0, 1.0, 0.1, 0.1], [1.0, 1.0]),
        sound=losses([1.0, 0.8, 0.6, 0.4], [0.9, 0.5]),
        missing=losses(falling(9)),
        evidence=("EVAL", 1, LOSS),
        parameters={"ratio_threshold": 0.5, "patience": 2, "start_step": 1},
        met=(losses([1.0, 1.0, 1.0], [1.0, 1.6, 1.6]),),
        not_met=(losses([1.0, 1.0, 1.0], [1.0, 1.5, 1.5]), losses([1.0, 1.0, 1.0], [1.6, 1.6, 1.0])),
    ),
    Case(
        "Overtraining",
        fault=losses([1.0, 0.5] + [0.1] * 24, [0.5, *[0.3] * 12]),
        sound=losses(falling(26), falling(13)),
        missing=losses(falling(9)),
        evidence=("EVAL", 11, LOSS),
        parameters={"patience_train": 1, "patience_validation": 2, "delta": 0.25},
        met=(losses([1.0, 1.0, 1.0], [1.0, 0.75, 0.75]),),
        not_met=(losses([1.0, 1.0, 0.5], [1.0, 1.0, 1.0]), losses([1.0, 1.0, 1.0], [1.0, 1.0, 0.5])),
    ),
    Case(
        "PoorWeightInitialization",
        fault=[("TRAIN", {"a.relu_input_0": SPREAD * 9, "b.relu_input_0": SPREAD})],
        sound=[("TRAIN", {"a.relu_input_0": SPREAD, "b.relu_input_0": SPREAD * 2, GRADIENT: SPREAD, LOSS: 1 / (n + 1)}) for n in range(9)],
        missing=losses(falling(4)),
        evidence=("TRAIN", 0, "a.relu_input_0"),
        parameters={"threshold": 4, "distribution_range": 0.9, "patience": 2, "steps": 3},
        met=(
            [("TRAIN", {"a.relu_input_0": SPREAD * 2.01, "b.relu_input_0": SPREAD})],
            [("TRAIN", {"a.relu_input_0": SPREAD, GRADIENT: SPREAD * 0.499})],
            [("TRAIN", {"a.relu_input_0": SPREAD, LOSS: 1.0})] * 3,
        ),
        not_met=(
            [("TRAIN", {"a.relu_input_0": SPREAD * 2, "b.relu_input_0": SPREAD})],
            [("TRAIN", {"a.relu_input_0": SPREAD, GRADIENT: SPREAD * 0.501})],
            [("TRAIN", {"a.relu_input_0": SPREAD, LOSS: value}) for value in (1.0, 1.0, 0.5, 0.5, 0.5, 0.5)],
        ),
    ),
    Case(
        "DeadRelu",
        fault=tensors("layer.relu_output_0", relu(0), relu(6)),
        sound=tensors("layer.relu_output_0", relu(0), relu(5)),
        missing=tensors("layer.relu_input_0", relu(9)),
        evidence=("TRAIN", 1, "layer.relu_output_0"),
        parameters={"threshold_inactivity": 10, "threshold_layer": 50},
        met=(tensors("a.relu_output_0", np.where(np.arange(100)[:, None] < [9, 9, 50], 1.0, 0.0)),),
        not_met=(tensors("a.relu_output_0", np.where(np.arange(100)[:, None] < [10, 9, 50], 1.0, 0.0)),),
    ),
    Case(
        "SaturatedActivation",
        fault=tensors("a.tanh_input_0", SPREAD[:, None], [[-12.0, 11.0]] * 200),
        sound=tensors("a.tanh_input_0", SPREAD[:, None] * 9) + tensors("a.sigmoid_input_0", [[-12.0, 11.0]] * 200),
        missing=tensors("a.relu_input_0", [[99.0]]),
        evidence=("TRAIN", 1, "a.tanh_input_0"),
        parameters={"threshold_tanh_max": 2, "threshold_sigmoid_min": -3, "threshold_layer": 40},
        met=(tensors("a.tanh_input_0", [[0.0, 2.0]]), tensors("a.sigmoid_input_0", [[-3.0, 0.0]])),
        not_met=(tensors("a.tanh_input_0", [[0.0, 1.99]]), tensors("a.sigmoid_input_0", [[-2.99, 0.0]])),
    ),
    Case(
        "WeightUpdateRatio",
        fault=tensors(WEIGHT, [1.0, -1.0], [1.1, -1.1], [20.0, -20.0]),
        sound=tensors(WEIGHT, [0.0, 0.0], [1.0, -1.0], [1.1, -1.1]) + tensors(WEIGHT, [1.1, -1.1], [99.0, -99.0], mode="EVAL"),
        missing=tensors(WEIGHT, [1.0]),
        evidence=("TRAIN", 2, WEIGHT),
        parameters={"large_threshold": 2, "small_threshold": 0.5, "epsilon": 0},
        met=(tensors(WEIGHT, [1.0], [3.01]), tensors(WEIGHT, [1.0], [1.49])),
        not_met=(tensors(WEIGHT, [1.0], [3.0]), tensors(WEIGHT, [1.0], [1.5])),
    ),
    Case(
        "UnchangedTensor",
        fault=tensors(WEIGHT, [1.0, 2.0], [1.0, 3.0], [1.0, 3.0], [1.0, 3.0]),
        sound=tensors(WEIGHT, [1.0, 2.0], [1.0, 2.1], [1.0, 2.0]) + tensors(WEIGHT, [1.0], [1.0], [1.0], mode="EVAL"),
        missing=tensors(WEIGHT, [1.0], [1.0]),
        evidence=("TRAIN", 3, WEIGHT),
        parameters={"num_steps": 2, "rtol": 0, "atol": 0.25, "tensor_regex": "fc.weight"},
        met=(tensors(WEIGHT, [1.0], [1.25]),),
        not_met=(tensors(WEIGHT, [1.0], [1.26]),),
    ),
    Case(
        "TensorVariance",
        fault=tensors(WEIGHT, [1.0, -1.0], [9.0, -9.0]),
        sound=tensors(WEIGHT, [1.0, -1.0]),
        missing=[],
        evidence=("TRAIN", 1, WEIGHT),
        parameters={"max_threshold": 4, "min_threshold": 1},
        met=(tensors(WEIGHT, [2.01, -2.01]), tensors(WEIGHT, [0.99, -0.99])),
        not_met=(tensors(WEIGHT, [2.0, -2.0]), tensors(WEIGHT, [1.0, -1.0])),
    ),
    Case(
        "AllZero",
        fault=tensors(GRADIENT, [0.0, 0.1], [0.0, 0.0]),
        sound=tensors(GRADIENT, [0.0, 0.1]),
        missing=[],
        evidence=("TRAIN", 1, GRADIENT),
        parameters={"threshold": 50, "collection_names": "gradients"},
        met=(tensors(GRADIENT, [0.0, 0.1]),),
        not_met=(tensors(GRADIENT, [0.0, 0.1, 0.2]) + tensors(WEIGHT, [0.0]),),
    ),
    Case(
        "ClassImbalance",
        fault=answers(([0] * 480 + [1] * 20, [0] * 480 + [1] * 20)),
        sound=answers(([0] * 250 + [1] * 250, [0] * 330 + [1] * 170)),
        missing=answers(([0] * 400, [0] * 400)),
        evidence=("EVAL", 0, "labels"),
        parameters={"samples": 8, "threshold_imbalance": 3, "threshold_misprediction": 0.5},
        met=(
            answers(([0] * 7, [0] * 7), ([1], [1])),
            answers(([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 1])),
        ),
        not_met=(
            answers(([0] * 6, [0] * 6), ([1] * 2, [1] * 2)),
            answers(([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1, 1])),
        ),
    ),
    Case(
        "Confusion",
        fault=answers(([0] * 9 + [1] * 11, [0] * 9 + [1] * 9 + [0] * 2)),
        sound=answers(([0] * 10 + [1] * 10, [0] * 9 + [1] * 11)),
        missing=tensors("labels", [0, 1], mode="EVAL"),
        evidence=("EVAL", 0, "predictions"),
        parameters={"min_diag": 0.5, "max_off_diag": 0.5},
        met=(answers(([0, 0, 1, 1, 1], [0, 0, 0, 0, 0]), ([0], [1])),),
        not_met=(answers(([0, 0, 1, 1], [0, 0, 0, 0])), answers(([0, 0], [0, 1]), ([1, 1], [1, 1]))),
    ),
    Case(
        "CheckInputImages",
        fault=tensors("images", np.full((300, 3), [0.1, 0.0, 0.3]), np.full((200, 3), [0.1, 0.0, 0.3]), mode="EVAL"),
        sound=tensors("images", np.full((500, 3, 4, 4), 0.1), mode="EVAL"),
        missing=tensors("images", np.full((499, 3), 9.0), mode="EVAL"),
        evidence=("EVAL", 1, "images"),
        parameters={"regex": "images", "threshold_mean": 0.25, "threshold_samples": 4},
        met=(tensors("images", np.full((4, 3), -0.26)),),
        not_met=(tensors("images", np.full((4, 3), -0.25)),),
    ),
]
OTHERS = {"StalledTraining", "SimilarAcrossRuns"}
"""Those that look at more than one folder of tensors; they have tests of their own."""

FAULT_PARAMETERS: dict[str, dict[str, Any]] = {"TensorVariance": {"max_threshold": 4}, "CheckInputImages": {"regex": "images"}}
"""What these need even where their defaults are tested."""


def verdict(folder: Path, name: str, steps: Sequence[Step], reductions: Sequence[str] = (), /, **parameters: Any) -> RuleStatus:
    (found,) = judge(record(folder, steps, reductions), [rule(name, **parameters)])
    as_json(asdict(found))
    return found


def each(case: Case) -> str:
    return case.rule


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} | OTHERS == set(DEBUG_RULES)
    assert {INVOKED.get(name, name) for name in DEBUG_RULES} == set(RULES)


@pytest.mark.parametrize("case", CASES, ids=each)
def test_the_planted_fault_is_found_with_evidence_and_advice(tmp_path: Path, case: Case) -> None:
    found = verdict(tmp_path / "run", case.rule, case.fault, **FAULT_PARAMETERS.get(case.rule, {}))
    assert found.RuleEvaluationStatus == "IssuesFound", found.StatusDetails
    assert found.StatusDetails.startswith("RuleEvaluationConditionMet")
    first = found.Evidence[0]
    assert (first["mode"], first["step"], first["tensor"]) == case.evidence
    assert found.Advice.endswith(".")
    assert found.Advice == RULES[case.rule].advice


@pytest.mark.parametrize("case", CASES, ids=each)
def test_a_sound_run_has_no_issue(tmp_path: Path, case: Case) -> None:
    found = verdict(tmp_path / "run", case.rule, case.sound, **FAULT_PARAMETERS.get(case.rule, {}))
    assert found.RuleEvaluationStatus == "NoIssuesFound", found.StatusDetails
    assert (found.Evidence, found.Advice) == ((), "")


@pytest.mark.parametrize("case", CASES, ids=each)
def test_at_the_threshold(tmp_path: Path, case: Case) -> None:
    for number, steps in enumerate(case.met):
        found = verdict(tmp_path / f"met{number}", case.rule, steps, **case.parameters)
        assert found.RuleEvaluationStatus == "IssuesFound", found.StatusDetails
    for number, steps in enumerate(case.not_met):
        found = verdict(tmp_path / f"not{number}", case.rule, steps, **case.parameters)
        assert found.RuleEvaluationStatus == "NoIssuesFound", found.StatusDetails


@pytest.mark.parametrize("case", CASES, ids=each)
def test_what_is_missing_is_an_error_with_its_reason(tmp_path: Path, case: Case) -> None:
    found = verdict(tmp_path / "run", case.rule, case.missing, **FAULT_PARAMETERS.get(case.rule, {}))
    assert found.RuleEvaluationStatus == "Error"
    assert "nothing to compare" in found.StatusDetails or "no tensors were saved" in found.StatusDetails
    assert found.Advice


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.rule in ("VanishingGradient", "ExplodingTensor", "UnchangedTensor", "TensorVariance", "AllZero")],
    ids=each,
)
def test_reductions_tell_the_same_as_the_tensors(tmp_path: Path, case: Case) -> None:
    parameters = FAULT_PARAMETERS.get(case.rule, {})
    assert verdict(tmp_path / "fault", case.rule, case.fault, ALL, **parameters).RuleEvaluationStatus == "IssuesFound"
    assert verdict(tmp_path / "sound", case.rule, case.sound, ALL, **parameters).RuleEvaluationStatus == "NoIssuesFound"


def test_losses_are_compared_with_the_last_one_that_is_old_enough(tmp_path: Path) -> None:
    """Saved every third step and compared every tenth: at steps 12 and 24, with those of steps 0 and 12."""
    steps: list[Step] = [("TRAIN", {LOSS: 1.0 + number} if number % 3 == 0 else {"labels": [0]}) for number in range(34)]
    folder = record(tmp_path / "run", steps)
    found = LossNotDecreasing(create_trial(folder))
    for step in range(34):
        found.invoke_at_step(step)
    assert [(each.step, each.what.rpartition("steps, ")[2]) for each in found.findings] == [(12, "from 1 to 13"), (24, "from 13 to 25")]


def test_an_update_is_bounded_by_reductions(tmp_path: Path) -> None:
    grown, still = tensors(WEIGHT, [1.0, -1.0], [20.0, -20.0]), tensors(WEIGHT, [1.0, -1.0], [1.0, -1.0])
    assert verdict(tmp_path / "grown", "WeightUpdateRatio", grown, ALL).RuleEvaluationStatus == "IssuesFound"
    assert verdict(tmp_path / "still", "WeightUpdateRatio", still, ALL).RuleEvaluationStatus == "IssuesFound"
    moved = tensors(WEIGHT, [1.0, -1.0], [1.1, -1.0])
    assert verdict(tmp_path / "moved", "WeightUpdateRatio", moved, ALL).RuleEvaluationStatus == "NoIssuesFound"


def test_reductions_that_do_not_tell_are_no_pass(tmp_path: Path) -> None:
    """As a request's DebugHookConfig may have it: means alone, so the sizes of gradients are not known."""
    steps = tensors(GRADIENT, [0.1, -0.1])
    for number, name in enumerate(("VanishingGradient", "AllZero")):
        assert verdict(tmp_path / str(number), name, steps, ["mean"]).RuleEvaluationStatus == "Error"


def test_photos_by_channel_are_looked_at_as_channels(tmp_path: Path) -> None:
    """As our hook saves activations: means for each photo and channel, of few photos."""
    some = np.ones((32, 8))
    some[:, :5] = 0
    assert verdict(tmp_path / "a", "DeadRelu", tensors("relu_output_0", some)).RuleEvaluationStatus == "IssuesFound"
    maps = np.ones((32, 8, 2, 2))
    maps[:, :5] = 0
    assert verdict(tmp_path / "b", "DeadRelu", tensors("relu_output_0", maps)).RuleEvaluationStatus == "IssuesFound"


@pytest.mark.parametrize("shape", [(12, 8), (12, 8, 2, 2)])
def test_a_channel_that_misses_a_dozen_photos_is_not_dead(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Five of eight are silent for the photos of each step, other ones at the next; of few photos nothing is said."""
    first, second = np.ones(shape), np.ones(shape)
    first[:, :5] = second[:, 3:] = 0
    turns = tensors("relu_output_0", first, second, first, second)
    assert verdict(tmp_path / "a", "DeadRelu", turns).RuleEvaluationStatus == "NoIssuesFound"
    silent = verdict(tmp_path / "b", "DeadRelu", tensors("relu_output_0", second, first, first, first))
    assert (silent.RuleEvaluationStatus, silent.Evidence[0]["step"]) == ("IssuesFound", 3)
    few = verdict(tmp_path / "c", "DeadRelu", tensors("relu_output_0", first, first))
    assert few.RuleEvaluationStatus == "Error"
    assert "no 32 photos' values" in few.StatusDetails


def test_predictions_for_each_class_need_argmax(tmp_path: Path) -> None:
    steps: list[Step] = [("EVAL", {"labels": np.array([0, 1] * 4), "predictions": np.eye(2)[[0, 1] * 4]})]
    found = verdict(tmp_path / "a", "ClassImbalance", steps, samples=8)
    assert found.RuleEvaluationStatus == "Error"
    assert "set argmax to True" in found.StatusDetails
    assert verdict(tmp_path / "b", "ClassImbalance", steps, samples=8, argmax=True).RuleEvaluationStatus == "NoIssuesFound"


def test_answers_that_are_classes_stay_so_with_argmax(tmp_path: Path) -> None:
    assert verdict(tmp_path / "a", "ClassImbalance", answers(([0, 1] * 4, [0, 1] * 4)), samples=8, argmax=True).RuleEvaluationStatus == (
        "NoIssuesFound"
    )


@pytest.mark.parametrize(("last_that_moves", "verdict"), [(8, "NoIssuesFound"), (-1, "IssuesFound")])
def test_a_short_job_whose_last_steps_are_too_small_to_show_is_no_unchanged_tensor(
    tmp_path: Path, last_that_moves: int, verdict: str
) -> None:
    """Three epochs, saved four times each: at the end of the cosine a BatchNorm factor near 1 moves by less than float32 can tell."""
    values = [1 + 1e-6 * min(step, last_that_moves) for step in range(12)] if last_that_moves > 0 else [1.0] * 12
    record(tmp_path / "tensors", tensors(WEIGHT, *values))
    (status,) = judge(str(tmp_path / "tensors"), [rule("UnchangedTensor", **job_parameters("UnchangedTensor", epochs=3))])
    assert status.RuleEvaluationStatus == verdict
