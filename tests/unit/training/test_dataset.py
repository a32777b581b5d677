"""A prepared data set comes back as it was written, and a damaged one is refused with the file's name. Run: `make test`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.data.dataset import Photo, describe_files, open_dataset, write_manifest
from training.job.failure import InputRefusedError
from training.job.safetensors_file import read_tensors, write_tensors

ANY_NAME = st.text(min_size=1, max_size=1024)
"""Also line ends of every alphabet, and halves of surrogate pairs, which stand for bytes that are no UTF-8."""


@pytest.fixture
def copy(tmp_path: Path, prepared: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "dataset"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.one_of(ANY_NAME, st.text("\udc80\udcff\u2028\x85\r\n", min_size=1)), min_size=1, max_size=8, unique=True))
def test_names_of_any_kind_come_back(tmp_path: Path, names: list[str]) -> None:
    photos = tuple(Photo(name, "0" * 64, 1, "train", 0) for name in names)
    write_manifest(tmp_path, photos)
    lines = (tmp_path / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert tuple(Photo(**json.loads(line)) for line in lines) == photos


def test_splits_features_and_thumbnails_agree(prepared: Path) -> None:
    dataset = open_dataset(prepared)
    for split in ("train", "valid", "test"):
        features = dataset.features(split)
        assert len(features.values) == len(features.labels) == len(dataset.split(split))
        assert features.labels.tolist() == [photo.label for photo in dataset.split(split)]
    assert len(dataset.thumbnails()) == len(dataset.split("test"))


def test_features_of_several_files_are_joined_in_order(copy: Path) -> None:
    whole = open_dataset(copy).features("train").values
    (file,) = copy.glob("features-*")
    values = read_tensors(file)[0]["features"]
    description = json.loads((copy / "dataset.json").read_text())
    for number, part in enumerate((values[:11], values[11:])):
        write_tensors(copy / f"features-{number:05}.safetensors", {"features": part})
    description["files"] = describe_files(copy)
    (copy / "dataset.json").write_text(json.dumps(description))
    assert torch.equal(open_dataset(copy).features("train").values, whole)


def cut_manifest(folder: Path) -> None:
    text = (folder / "manifest.jsonl").read_text()
    (folder / "manifest.jsonl").write_text(text[: len(text) // 2])


def change_feature(folder: Path) -> None:
    file = folder / "features-00000.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def rewrite(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        description = json.loads((folder / "dataset.json").read_text())
        (folder / "dataset.json").write_text(json.dumps(description | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), "lacks dataset.json"),
        (lambda folder: (folder / "summary.json").unlink(), "lacks summary.json"),
        (lambda folder: (folder / "dataset.json").write_text("{"), "not what PrepareDataset writes"),
        (lambda folder: (folder / "dataset.json").write_text("[]"), "not what PrepareDataset writes"),
        (rewrite(schema_version=99), "schema version 99"),
        (rewrite(seeds=1), "not what PrepareDataset writes"),
        (cut_manifest, "manifest.jsonl .* cut short"),
        (change_feature, "features-00000.safetensors .* was changed"),
    ],
)
def test_a_damaged_data_set_is_refused(copy: Path, damage: Callable[[Path], object], sentence: str) -> None:
    damage(copy)
    with pytest.raises(InputRefusedError, match=sentence):
        open_dataset(copy)


@pytest.mark.parametrize("name", ["/etc/passwd", "../photo.png", "a/../../b.png", "a//b.png", "./a.png", ""])
def test_a_name_that_leads_out_of_the_channel_is_refused(copy: Path, name: str) -> None:
    rewrite(files={**describe_files(copy), name: {"bytes": 1, "sha256": ""}})(copy)
    with pytest.raises(InputRefusedError, match="leads out of its channel"):
        open_dataset(copy)
    write_manifest(copy, (Photo(name, "0" * 64, 1, "train", 0),))
    rewrite(files=describe_files(copy))(copy)
    with pytest.raises(InputRefusedError, match="leads out of its channel"):
        open_dataset(copy)


def test_features_that_do_not_number_the_photos_are_refused(copy: Path) -> None:
    write_tensors(copy / "features-00000.safetensors", {"features": torch.zeros(3, 2048, dtype=torch.float16)})
    rewrite(files=describe_files(copy))(copy)
    with pytest.raises(InputRefusedError, match=r"features of 3 photos, but manifest\.jsonl lists 30"):
        open_dataset(copy).features("train")
