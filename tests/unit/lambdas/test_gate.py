"""The gate: which models are too bad on their own, which are worse than the champion, and what is only told."""

from typing import Any

import pytest

from lambdas.assessment.comparison import Comparison
from lambdas.assessment.evaluation import Evaluation, read_evaluation
from lambdas.assessment.gate import MOST_CLASSES, Gate, against_champion, floor, sentence
from lambdas.assessment.paired_accuracy import Pairs
from tests.fixtures.lambdas.fake_s3 import FakeS3
from tests.fixtures.lambdas.reports import evaluation, folder_of, written

GATE = Gate()


def of(accuracy: float, biggest_class: float = 0.2, mean_recall: float | None = None, classes: int = 5) -> Evaluation:
    recall = accuracy if mean_recall is None else mean_recall
    return Evaluation(accuracy, 300, tuple(map(str, range(classes))), biggest_class, recall, classes)


def beside(pairs: Pairs, by_class: dict[str, Pairs] | None = None, **more: Any) -> Comparison:
    return Comparison(**{"pairs": pairs, "by_class": by_class or {}, "relabelled": 0, "added": (), "removed": (), **more})


def judged(comparison: Comparison, gate: Gate = GATE) -> tuple[list[str], list[str]]:
    warnings: list[str] = []
    return against_champion(gate, comparison, warnings), warnings


def test_the_input_of_an_execution_from_before_the_gate_takes_the_defaults() -> None:
    assert Gate.parse({}) == Gate(least_accuracy=0.0, champion=True, tolerance=0.01, class_tolerance=0.2)
    assert Gate.parse({"tolerance": 0.05, "unknown": 1}) == Gate(tolerance=0.05)


def test_a_model_below_the_least_accuracy_is_kept_back() -> None:
    assert floor(Gate(least_accuracy=0.9), of(0.9)) == []
    assert floor(Gate(least_accuracy=0.9), of(0.899)) == ["its test accuracy 0.899 is below gate.least_accuracy 0.9"]


def test_a_model_that_always_names_the_same_class_is_kept_back() -> None:
    (reason,) = floor(GATE, of(0.7, biggest_class=0.7, mean_recall=0.2))
    assert reason == (
        "it does no better than always naming the same class: of 300 test photos it names 0.700 rightly, and that would be 0.700; "
        "of a class's photos 0.200 in the mean, and that would be 0.200"
    )


@pytest.mark.parametrize(("accuracy", "recall"), [(0.71, 0.19), (0.6, 0.55)])
def test_being_better_in_either_way_will_do(accuracy: float, recall: float) -> None:
    """With balanced class weights a model may give up photos of a class that is everywhere for those of rare ones."""
    assert floor(GATE, of(accuracy, biggest_class=0.7, mean_recall=recall)) == []


def test_a_model_that_is_as_good_or_better_passes_without_a_word() -> None:
    for pairs in (Pairs(300, 270, 0, 0), Pairs(300, 280, 20, 5), Pairs(300, 270, 40, 42)):
        assert judged(beside(pairs)) == ([], [])


def test_a_model_that_is_surely_worse_is_kept_back_with_the_numbers() -> None:
    (reason,), warnings = judged(beside(Pairs(300, 258, 5, 18)))
    assert reason == (
        "accuracy 0.860 against the champion's 0.903 on the same 300 photos, difference -4.3 points, 95 % interval -7.8 to -1.3: "
        "it loses more than gate.tolerance 0.01"
    )
    assert warnings == []


def test_a_loss_that_chance_explains_is_told_and_keeps_nothing_back() -> None:
    reasons, (warning,) = judged(beside(Pairs(100, 85, 6, 10)))
    assert reasons == []
    assert warning.startswith("accuracy 0.850 against the champion's 0.890 on the same 100 photos, difference -4.0 points")
    assert warning.endswith("chance may explain that on so few photos, so it keeps no model back")


def test_a_sure_loss_within_the_tolerance_is_none() -> None:
    """Of 100,000 photos half a point is sure, and allowed."""
    pairs = Pairs(100_000, 90_000, 1000, 1500)
    assert pairs.interval()[1] < 0
    assert judged(beside(pairs)) == ([], [])
    assert len(judged(beside(pairs), Gate(tolerance=0.004))[0]) == 1


def test_a_class_that_got_worse_keeps_the_model_back_however_good_the_rest_is() -> None:
    classes = {"daisy": Pairs(200, 195, 20, 0), "rose": Pairs(40, 22, 1, 12)}
    (reason,), warnings = judged(beside(Pairs(240, 217, 21, 12), classes))
    assert reason == (
        "of the photos of class rose it names 0.550 rightly against the champion's 0.825 on the same 40: "
        "it loses more than gate.class_tolerance 0.2"
    )
    assert warnings == []
    assert judged(beside(Pairs(240, 217, 21, 12), classes), Gate(class_tolerance=0.3)) == ([], [])


def test_a_class_of_few_photos_says_nothing() -> None:
    assert judged(beside(Pairs(300, 290, 5, 5), {"rose": Pairs(9, 0, 0, 9)})) == ([], [])


def test_of_many_classes_each_must_be_surer() -> None:
    """One loses 6 of 20 photos: alone that is a finding, among 50 classes one is bound to look like that."""
    bad, good = Pairs(20, 12, 0, 6), Pairs(20, 18, 1, 1)
    assert len(judged(beside(Pairs(300, 290, 6, 6), {"rose": bad}))[0]) == 1
    many = {"rose": bad, **{f"class {number}": good for number in range(49)}}
    assert judged(beside(Pairs(1000, 900, 55, 55), many)) == ([], [])


def test_the_worst_classes_are_told_first_and_not_all() -> None:
    classes = {f"class {number:02}": Pairs(200, 100 - number, 0, 60 + number) for number in range(30)}
    reasons, _ = judged(beside(Pairs(6000, 5000, 100, 100), classes))
    assert len(reasons) == MOST_CLASSES + 1
    assert reasons[0].startswith("of the photos of class class 29 it names 0.355")
    assert reasons[-1] == "and 20 more classes like these"


def test_what_was_not_asked_of_both_alike_is_told() -> None:
    many = tuple(f"new {number}" for number in range(7))
    reasons, warnings = judged(beside(Pairs(300, 290, 5, 5), added=many, removed=("aster",), relabelled=3))
    assert reasons == []
    assert warnings == [
        "the classes differ from the champion's (new new 0, new 1, new 2, new 3, new 4 and 2 more; gone aster): "
        "compared on the photos of those that both know",
        "3 test photos show another class than when the champion was tested, and are not compared",
    ]


def test_nothing_is_written_as_minus_nought() -> None:
    assert "difference +0.0 points" in sentence(Pairs(100_000, 90_000, 1000, 1001))


def test_an_evaluation_is_what_the_training_job_wrote() -> None:
    got = read_evaluation(FakeS3(written("run")), folder_of("run"))
    assert (got.accuracy, got.photos, got.biggest_class, got.classes_shown) == (0.9, 1000, 0.2, 5)
    assert got.mean_recall == pytest.approx(0.9)
    assert got.metrics["macro_f1"] == 0.9
    assert set(got.metrics) >= {"test_accuracy", "test_loss", "valid_accuracy", "valid_loss", "top5_accuracy", "calibration_error"}


def test_a_class_without_test_photos_does_not_count() -> None:
    classes = evaluation()["per_class"]
    gone = {**classes[0], "photos": 0, "recall": None}
    got = read_evaluation(FakeS3(written("run", evaluation=evaluation(per_class=[gone, *classes[1:]]))), folder_of("run"))
    assert got.classes_shown == 4
    assert got.mean_recall == pytest.approx(0.9)
