"""What a later execution compares with: each test photo by its content, bounded, and as the schema describes it. Run: `make test`."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.fixtures.training.handmade import make_dataset
from training.data.dataset import Dataset
from training.evaluation import test_predictions
from training.job.json_files import to_text

SCHEMA = json.loads((Path(test_predictions.__file__).parent / "test_predictions.schema.json").read_text(encoding="utf-8"))
SHOWN = [0, 0, 1, 2]
CALLED = [0, 1, 1, 0]


def four_photos(folder: Path) -> Dataset:
    return make_dataset(folder, {"train": [0, 1, 2], "valid": [0, 1, 2], "test": SHOWN})


def test_it_is_what_its_schema_describes(tmp_path: Path) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    content = json.loads(to_text(test_predictions.to_json(four_photos(tmp_path / "d"), CALLED)))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(content)] == []
    assert (content["classes"], content["shown"], content["called"]) == (["blue", "green", "red"], SHOWN, CALLED)


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"sha256": ["ab"]}, {"called": [0.5]}, {"photos": 0}, {"extra": 1}])
def test_the_schema_notices_what_is_wrong(tmp_path: Path, change: dict[str, Any]) -> None:
    content = test_predictions.to_json(four_photos(tmp_path / "d"), CALLED) | change
    assert not Draft202012Validator(SCHEMA).is_valid(content)


def test_of_too_many_photos_those_of_the_smallest_digests_are_listed(tmp_path: Path) -> None:
    """So that what two reports list of the same photos is the same."""
    dataset = four_photos(tmp_path / "d")
    whole, part = test_predictions.to_json(dataset, CALLED), test_predictions.to_json(dataset, CALLED, most=2)
    assert part["photos"] == 4
    assert part["sha256"] == sorted(whole["sha256"])[:2]
    assert (part["shown"], part["called"]) == (SHOWN[:2], CALLED[:2])


def test_a_photo_costs_less_than_80_bytes() -> None:
    rows = range(test_predictions.MOST_PHOTOS)
    columns = {"sha256": [f"{row:064x}" for row in rows], "shown": [row % 999 for row in rows], "called": [row % 999 for row in rows]}
    assert len(to_text(columns)) < 80 * test_predictions.MOST_PHOTOS


def test_every_field_of_the_schema_is_described() -> None:
    assert [name for name, field in SCHEMA["properties"].items() if not field.get("description")] == []
    assert SCHEMA["properties"]["sha256"]["maxItems"] == test_predictions.MOST_PHOTOS
