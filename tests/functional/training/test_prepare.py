"""A folder of photos becomes a data set: the same bytes each time, every file used or listed with the reason. Run: `make test`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import REPOSITORY
from tests.fixtures.training.jobs import prepare_quietly, save_classes
from tests.fixtures.training.scenes import again, scene
from training.contract.photos import SPLITS
from training.data.dataset import Photo, open_dataset
from training.data.dataset_writer import choose_check_photos
from training.data.spool import Spool
from training.data.summary import Summary
from training.network.resnet50 import FEATURES, WeightsError
from training.prepare import Options, Progress, main


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_data_set_is_whole(prepared: Path) -> None:
    dataset = open_dataset(prepared)
    assert dataset.classes == ("blue", "green", "red")
    assert {split: len(dataset.split(split)) for split in ("train", "valid", "test")} == {"train": 18, "valid": 6, "test": 6}
    assert dataset.features("train").values.shape == (18, 2048)
    assert dataset.features("train").values.isfinite().all()
    assert len(dataset.thumbnails()) == 6
    assert all(thumbnail.startswith(b"\xff\xd8") for thumbnail in dataset.thumbnails())
    assert [path.name for path in dataset.check_photos] == [f"{number}.png" for number in range(6)]


def test_the_manifest_is_in_order_of_names(prepared: Path) -> None:
    names = [photo.name for photo in open_dataset(prepared).photos]
    assert names == sorted(names)
    assert names[0] == "blue/0.png"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, photos: Path, weights: Path, prepared: Path) -> None:
    assert prepare_quietly(photos, weights, tmp_path)[0] == 0
    assert contents(tmp_path / "dataset") == contents(prepared)


def test_a_file_that_is_no_photo_is_listed(prepared: Path) -> None:
    summary = json.loads((prepared / "summary.json").read_text())
    assert summary["error"] is None
    assert summary["left_out"] == [{"file": "red/no_photo.jpg", "reason": "it is none of JPEG, PNG, WEBP, GIF, BMP, TIFF"}]
    assert summary["photos"]["train"] == {"blue": 6, "green": 6, "red": 6}
    assert summary["balance"] == {"biggest": {"class": "blue", "photos": 6}, "smallest": {"class": "blue", "photos": 6}, "ratio": 1.0}


def test_a_refused_input_says_why_in_message_and_summary(tmp_path: Path, weights: Path) -> None:
    photos = save_classes(tmp_path / "photos", 4)
    for number in range(2):
        (photos / "red" / f"note{number}.jpg").write_text("hello")
    status, log = prepare_quietly(photos, weights, tmp_path)
    assert status == 1
    message = (tmp_path / "message").read_text()
    assert "2 of 14 files are not usable photos" in message
    assert message in log
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["error"] == message
    assert [item["file"] for item in summary["left_out"]] == ["red/note0.jpg", "red/note1.jpg"]
    assert not (tmp_path / "dataset" / "dataset.json").exists()


def test_no_duplicate_leaks_into_an_evaluation(tmp_path: Path, weights: Path) -> None:
    photos = tmp_path / "photos"
    for split, count in (("train", 6), ("valid", 3), ("test", 3)):
        save_classes(photos / split, count, ("cat", "dog"))
    shutil.copy(photos / "train/cat/0.png", photos / "test/cat/copy.png")
    shutil.copy(photos / "train/cat/1.png", photos / "train/cat/again.png")
    shutil.copy(photos / "train/cat/2.png", photos / "valid/dog/wrong.png")
    scene(1).save(photos / "train/dog/scene.png")
    again(scene(1), 1).save(photos / "valid/dog/larger.png")
    status, log = prepare_quietly(photos, weights, tmp_path)
    assert status == 0, log
    dataset = open_dataset(tmp_path / "dataset")
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert {item["file"]: item["reason"] for item in summary["excluded"]} == {
        "test/cat/copy.png": "it is an exact copy of 'train/cat/0.png'",
        "train/cat/again.png": "it is an exact copy of 'train/cat/1.png'",
        "train/cat/2.png": WRONG,
        "valid/dog/wrong.png": WRONG,
        "valid/dog/larger.png": "it is a near duplicate of 'train/dog/scene.png' in train: valid must not contain it",
    }
    assert not {photo.name for photo in dataset.photos} & {item["file"] for item in summary["excluded"]}
    assert {split: len(dataset.split(split)) for split in ("train", "valid", "test")} == {"train": 12, "valid": 6, "test": 6}
    assert len(dataset.features("train").values) == 12
    assert summary["duplicates"]["suspicious"] == [
        {"a": "train/cat/2.png", "b": "valid/dog/wrong.png", "distance": 0, "classes": ["cat", "dog"]}
    ]
    assert summary["drawn_splits"] == []


WRONG = "the same file has two labels, as 'train/cat/2.png' and as 'valid/dog/wrong.png': keep one of them"


def test_features_lie_beside_their_own_photos(tmp_path: Path, prepared: Path, weights: Path) -> None:
    """The rows of excluded photos are skipped: each photo still has the features that it had without them."""
    photos = save_classes(tmp_path / "photos", 10)
    for name in ("blue/0", "green/5"):
        shutil.copy(photos / f"{name}.png", photos / f"{name}_copy.png")
    assert prepare_quietly(photos, weights, tmp_path)[0] == 0
    assert features_by_name(tmp_path / "dataset").keys() == features_by_name(prepared).keys()
    for name, features in features_by_name(tmp_path / "dataset").items():
        assert torch.allclose(features, features_by_name(prepared)[name], rtol=1e-2, atol=1e-3)


def features_by_name(folder: Path) -> dict[str, torch.Tensor]:
    dataset = open_dataset(folder)
    return {photo.name: row for split in SPLITS for photo, row in zip(dataset.split(split), dataset.features(split).values, strict=True)}


@pytest.mark.parametrize(("sound", "sentence"), [(0, "class 'red' has 0 usable photos"), (2, "class 'red' has 2 usable photos")])
def test_a_class_left_empty_is_refused(tmp_path: Path, weights: Path, sound: int, sentence: str) -> None:
    photos = save_classes(tmp_path / "photos", 14, ("a", "b"))
    save_classes(photos, 3, ("red",))
    for number in range(sound, 3):
        (photos / "red" / f"{number}.png").write_text("broken")
    status, _ = prepare_quietly(photos, weights, tmp_path)
    assert status == 1
    assert f"{sentence} for training; at least 3 are needed to make valid and test" in (tmp_path / "message").read_text()


def test_a_split_left_empty_is_refused(tmp_path: Path, weights: Path) -> None:
    photos = tmp_path / "photos"
    save_classes(photos / "train", 6, ("cat", "dog"))
    for label in ("cat", "dog"):
        for split in ("valid", "test"):
            (photos / split / label).mkdir(parents=True)
            shutil.copy(photos / "train" / label / "0.png", photos / split / label)
    assert prepare_quietly(photos, weights, tmp_path)[0] == 1
    assert "no usable photo in valid" in (tmp_path / "message").read_text()
    assert len(json.loads((tmp_path / "report" / "summary.json").read_text())["excluded"]) == 4


def test_weights_that_cannot_be_used_are_refused_by_name(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "weights").mkdir()
    assert prepare_quietly(photos, tmp_path / "weights", tmp_path)[0] == 1
    assert "lacks resnet50.json" in (tmp_path / "message").read_text()


def test_a_folder_in_use_is_refused(tmp_path: Path, photos: Path, weights: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "features-00009.safetensors").write_text("of another data set")
    assert prepare_quietly(photos, weights, tmp_path)[0] == 1
    assert "is not empty" in (tmp_path / "message").read_text()


def test_names_of_any_kind_arrive_in_the_data_set(tmp_path: Path, weights: Path) -> None:
    classes = ("caf\u00e9", "cafe\u0301", "50% + #1", "\U0001f415 a..b", os.fsdecode(b"\xff latin"))
    photos = save_classes(tmp_path / "photos", 3, classes)
    status, log = prepare_quietly(photos, weights, tmp_path)
    assert status == 0, log
    dataset = open_dataset(tmp_path / "dataset")
    assert dataset.classes == tuple(sorted(classes))
    assert {photo.name: dataset.classes[photo.label] for photo in dataset.photos} == {f"{n}/{i}.png": n for n in classes for i in range(3)}
    (warning,) = json.loads((tmp_path / "report" / "summary.json").read_text())["warnings"]
    assert "names look the same" in warning


def test_progress_is_shown_at_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    ticks = iter(range(1000))
    progress = Progress(95, clock=lambda: float(next(ticks)))
    for _ in range(95):
        progress.add(1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == "10 of 95 files read, 10.0 per second"
    assert lines[-1].startswith("95 of 95 files read")


def test_it_starts_as_a_file_from_anywhere(tmp_path: Path) -> None:
    """As the container starts it."""
    program = REPOSITORY / "training" / "prepare.py"
    folders = ("photos", "weights", "dataset", "report", "message")
    arguments = [text for name in folders for text in (f"--{name}", str(tmp_path / name))]
    job = subprocess.run([sys.executable, program, *arguments, "--seed", "1"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert job.returncode == 1
    assert job.stderr.startswith("the data set cannot be prepared: no photos")
    assert (tmp_path / "message").read_text().startswith("no photos")


def test_features_beyond_float16_are_refused(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool, pytest.raises(WeightsError, match="70000"):
        spool.add(torch.full((1, FEATURES), 70000.0), [])
    assert not (tmp_path / "spool").exists()


def photo(name: str, label: int, length: int = 1, split: str = "test") -> Photo:
    return Photo(name, "", length, split, label)


def test_check_photos_show_many_classes_and_fit_into_a_request() -> None:
    photos = [photo(f"{label}/{number}", label) for label in range(3) for number in range(4)]
    assert [item.name for item in choose_check_photos(photos)] == ["0/0", "1/0", "2/0", "0/1", "1/1", "2/1", "0/2", "1/2"]
    photos = [photo("a", 0, 5_000_000), photo("b", 0), photo("c", 1, split="train")]
    assert [item.name for item in choose_check_photos(photos)] == ["b"]


@pytest.mark.parametrize(("files", "more_bytes", "sentence"), [(30, 0, "holds 31 files, but 30 were counted"), (31, -1, "bytes, but ")])
def test_photos_that_changed_meanwhile_are_refused(
    tmp_path: Path, photos: Path, weights: Path, files: int, more_bytes: int, sentence: str
) -> None:
    length = sum(map(len, contents(photos).values()))
    status, _ = prepare_quietly(photos, weights, tmp_path, files=files, bytes=length + more_bytes)
    assert status == 1
    message = (tmp_path / "message").read_text()
    assert sentence in message
    assert "photos were added, replaced or deleted meanwhile; start the execution again" in message


def test_photos_that_are_as_they_were_counted_are_taken(tmp_path: Path, weights: Path) -> None:
    """Hidden files are counted too: they are objects like any other."""
    photos = save_classes(tmp_path / "photos", 3)
    (photos / ".DS_Store").write_bytes(b"litter")
    status, log = prepare_quietly(photos, weights, tmp_path, files=10, bytes=sum(map(len, contents(photos).values())))
    assert status == 0, log


def options_of(base: Path) -> list[str]:
    folders = ("photos", "weights", "dataset", "report", "message")
    return [*(text for name in folders for text in (f"--{name}", str(base / name))), "--seed", "1"]


def test_what_nobody_expected_is_named_and_raised(tmp_path: Path) -> None:
    def work(options: Options, summary: Summary) -> None:
        summary.classes = ("cat", "dog")
        raise LookupError("caf\udce9")

    with pytest.raises(LookupError):
        main(options_of(tmp_path), work)
    assert (tmp_path / "message").read_text() == "unexpected: LookupError: caf\\udce9"
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert (summary["error"], summary["classes"]) == ("unexpected: LookupError: caf\\udce9", ["cat", "dog"])


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path) -> None:
    def work(options: Options, summary: Summary) -> None:
        Path("/dev/full").write_text("more than there is room for")

    assert main(options_of(tmp_path), work) == 1
    assert (tmp_path / "message").read_text().startswith("the job's disk is full (No space left on device)")


def test_a_full_disk_leaves_no_spool_behind(tmp_path: Path) -> None:
    """What is still to be written when the spool is left does not fit either."""

    def fill() -> None:
        with Spool(tmp_path / "spool") as spool, Path("/dev/full").open("wb") as full:
            os.dup2(full.fileno(), spool._features.fileno())
            spool.add(torch.zeros(1, FEATURES), [])

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert not (tmp_path / "spool").exists()


def test_a_disk_that_fails_ends_the_job(tmp_path: Path, weights: Path) -> None:
    """The start of a process's memory is a file that gives EIO."""
    photos = save_classes(tmp_path / "photos", 5)
    (photos / "red" / "broken.png").symlink_to("/proc/self/mem")
    assert prepare_quietly(photos, weights, tmp_path)[0] == 1
    assert "reading 'red/broken.png' failed twice: Input/output error" in (tmp_path / "message").read_text()
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["error"].startswith("reading 'red/broken.png' failed twice")
    assert not (tmp_path / "dataset" / "dataset.json").exists()


def test_classes_that_cannot_be_judged_are_warned_of(tmp_path: Path, weights: Path) -> None:
    """The only test photo of a dog is one that the model learns from."""
    photos = tmp_path / "photos"
    for split, count in (("train", 4), ("valid", 2), ("test", 2)):
        save_classes(photos / split, count, ("cat", "dog"))
    save_classes(photos / "train", 3, ("emu",))
    for file in (photos / "test/dog").iterdir():
        shutil.copy(photos / "train/dog/0.png", file)
    status, log = prepare_quietly(photos, weights, tmp_path)
    assert status == 0, log
    dog, emu = json.loads((tmp_path / "dataset" / "summary.json").read_text())["warnings"]
    assert dog.startswith("class 'dog' has no photo in test: its accuracy is not measured; ")
    assert emu.startswith("class 'emu' has no photo in valid and test: it does not influence which model is chosen and ")
