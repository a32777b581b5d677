"""The assessment against scikit-learn's and scipy's figures, and evaluation.json against its schema. Run: `make test`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from scipy.stats import binomtest  # type: ignore[import-untyped]
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score

from tests.fixtures.training.handmade import make_dataset
from training.contract.metrics import METRIC_NAMES
from training.evaluation import assessment
from training.evaluation.assessment import assess, evaluate_logits, wilson_interval

SCHEMA = json.loads((Path(assessment.__file__).parent / "evaluation.schema.json").read_text(encoding="utf-8"))


def as_read(content: dict[str, Any]) -> Any:
    return json.loads(json.dumps(content))


def drawn(photos: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (photos,), generator=generator)
    logits = torch.randn(photos, classes, generator=generator)
    logits[torch.arange(photos), labels] += 1.0
    return logits, labels, tuple(f"class {number}" for number in range(classes))


@pytest.mark.parametrize(("photos", "classes"), [(200, 7), (12, 9), (40, 2)])
def test_figures_are_those_of_scikit_learn(photos: int, classes: int) -> None:
    logits, labels, names = drawn(photos, classes, seed=photos)
    got = evaluate_logits(logits, labels, names, temperature=2.0)
    called, every = logits.argmax(1).numpy(), list(range(classes))
    assert got.confusion_matrix == tuple(map(tuple, confusion_matrix(labels, called, labels=every).tolist()))
    assert got.loss == pytest.approx(log_loss(labels, logits.double().softmax(1), labels=every), rel=1e-5)
    assert got.calibrated_loss == pytest.approx(log_loss(labels, (logits.double() / 2).softmax(1), labels=every), rel=1e-5)
    precision, recall, f1, support = precision_recall_fscore_support(labels, called, labels=every, zero_division=0)
    assert [figures.photos for figures in got.per_class] == support.tolist()
    for mine, theirs in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert [getattr(figures, mine) or 0.0 for figures in got.per_class] == pytest.approx(theirs.tolist())
    assert got.macro_f1 == pytest.approx(f1[support > 0].mean())
    if classes > 5:
        assert got.top5_accuracy == pytest.approx(top_k_accuracy_score(labels, logits, k=5, labels=every))


def test_with_few_classes_every_photo_is_among_the_top_five() -> None:
    assert evaluate_logits(*drawn(30, 4, seed=1)).top5_accuracy == 1.0


def test_a_class_without_photos_counts_for_nothing() -> None:
    """Two classes told without a fault; the third is neither shown nor called."""
    logits = torch.tensor([[5.0, 0, 0], [0, 5.0, 0]])
    got = evaluate_logits(logits, torch.tensor([0, 1]), ("a", "b", "c"))
    assert got.macro_f1 == 1.0
    assert (got.per_class[2].precision, got.per_class[2].recall, got.per_class[2].f1) == (None, None, None)


def test_a_class_that_is_never_called_counts_as_nought() -> None:
    got = evaluate_logits(torch.tensor([[5.0, 0], [5.0, 0]]), torch.tensor([0, 1]), ("a", "b"))
    assert got.macro_f1 == pytest.approx((2 / 3 + 0) / 2)
    assert got.most_confused() == [("b", "a", 1)]


@given(st.integers(1, 3000).flatmap(lambda photos: st.tuples(st.integers(0, photos), st.just(photos))))
@settings(deadline=None, max_examples=50)
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    right, photos = counts
    expected = binomtest(right, photos).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(right, photos)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= right / photos + 1e-12
    assert right / photos - 1e-12 <= high <= 1


def test_an_assessment_judges_both_splits_at_one_temperature(tmp_path: Path) -> None:
    valid, test = [0, 1, 2] * 10, [0, 0, 1, 2, 2, 2]
    dataset = make_dataset(tmp_path / "d", {"train": [0, 1, 1, 2, 2, 2], "valid": valid, "test": test})
    generator = torch.Generator().manual_seed(1)
    logits = {split: 8 * torch.randn(len(labels), 3, generator=generator) for split, labels in (("valid", valid), ("test", test))}
    got = assess(logits, dataset)
    assert got.temperature > 1
    assert got.test == evaluate_logits(logits["test"], torch.tensor(test), dataset.classes, got.temperature)
    assert got.valid.calibrated_loss < got.valid.loss
    assert got.baselines == {"biggest_class": 0.5, "nearest_centroid": 1.0}
    assert set(got.metrics()) == {name.replace(":", "_") for name in METRIC_NAMES if name.startswith("test:")}
    assert got.metrics()["test_calibration_error"] == got.test.calibrated.error


def test_the_worst_errors_are_the_surest_first(tmp_path: Path) -> None:
    test = [0] * 60
    dataset = make_dataset(tmp_path / "d", {"train": [0, 1, 2], "valid": [0, 1, 2], "test": test})
    logits = torch.zeros(60, 3)
    logits[:50, 1] = torch.linspace(1, 6, 50)
    logits[50:, 0] = 9
    got = assess({"valid": torch.eye(3), "test": logits}, dataset).worst_errors
    assert [error.index for error in got] == list(range(49, 25, -1))
    assert [error.file for error in got] == [dataset.split("test")[error.index].name for error in got]
    assert {(error.shown, error.called) for error in got} == {("blue", "green")}
    assert got[0].probability == pytest.approx(logits[49].softmax(0)[1].item())
    assert got[0].shown_probability == pytest.approx(logits[49].softmax(0)[0].item())


@pytest.mark.parametrize("perfect", [True, False])
def test_evaluation_json_is_what_its_schema_describes(tmp_path: Path, perfect: bool) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    dataset = make_dataset(tmp_path / "d", {"train": [0, 1, 2], "valid": [0, 1, 2], "test": [0, 0, 1]})
    test = torch.eye(3)[[0, 0, 1]] if perfect else torch.eye(3)[[1, 2, 0]]
    content = as_read(assessment.to_json(assess({"valid": torch.eye(3), "test": test}, dataset)))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(content)] == []
    assert content["test_accuracy"] == content["test"]["accuracy"] == float(perfect)


@pytest.mark.parametrize("change", [{"test_accuracy": 1.5}, {"extra": 1}, {"temperature": "1"}, {"classes": ["a"]}, {"test": {}}])
def test_the_schema_notices_what_is_wrong(tmp_path: Path, change: dict[str, Any]) -> None:
    dataset = make_dataset(tmp_path / "d", {"train": [0, 1, 2], "valid": [0, 1, 2], "test": [0, 1, 2]})
    content = as_read(assessment.to_json(assess({"valid": torch.eye(3), "test": torch.eye(3)}, dataset))) | change
    assert not Draft202012Validator(SCHEMA).is_valid(content)


def test_every_field_of_the_schema_is_described() -> None:
    silent = [
        name
        for part in (
            SCHEMA,
            *SCHEMA["$defs"].values(),
            *(SCHEMA["properties"][name]["items"] for name in ("most_confused", "worst_errors")),
        )
        for name, field in part["properties"].items()
        if not field.get("description")
    ]
    assert silent == []
