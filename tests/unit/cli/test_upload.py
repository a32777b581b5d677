"""Photos and weights on their way into the bucket. Run: `make test`."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from cli.photos.bucket import Uploaded
from cli.terminal.errors import RefusedError
from cli.upload import fetch_dogs, open_photos, print_uploaded, upload_photos, upload_weights
from tests.fixtures.cli.fakes import FakeS3, invoke, target


def photos(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def zipped(file: Path, *names: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return file


def test_names_arrive_as_they_are(tmp_path: Path) -> None:
    s3 = FakeS3()
    folder = open_photos(photos(tmp_path / "photos", "Züge/a b+%20.jpg", "日本/é.jpg"), tmp_path)
    upload_photos(target(s3=s3), folder, False, lambda done: None)
    assert s3.objects.keys() == {"data/Züge/a b+%20.jpg", "data/日本/é.jpg"}


def test_a_zip_is_as_good_as_a_folder(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "photos.zip", "outer/cat/1.jpg", "outer/dog/1.jpg")
    assert open_photos(archive, tmp_path / "cache").classes == ("cat", "dog")


@pytest.mark.parametrize(("name", "sentence"), [("none", "does not exist"), ("notes.txt", "neither a folder nor a zip")])
def test_another_path_is_refused(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(RefusedError, match=sentence):
        open_photos(tmp_path / name, tmp_path)


def test_weights_are_described_and_sent_once(tmp_path: Path) -> None:
    s3, file = FakeS3(), tmp_path / "mine.pth"
    file.write_bytes(b"weights")
    assert upload_weights(target(s3=s3), file, "v1", "a test")
    assert s3.puts == ["weights/resnet50.pth", "weights/resnet50.json"]
    described = json.loads(s3.objects["weights/resnet50.json"])
    assert (described["file"], described["stride"], described["source"]) == ("resnet50.pth", "v1", "a test")
    assert described["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert not upload_weights(target(s3=s3), file, "v1", "a test")
    assert upload_weights(target(s3=s3), file, "v1.5", "a test")
    assert s3.puts.count("weights/resnet50.pth") == 1


def test_two_data_sets_in_one_place_are_pointed_out() -> None:
    console = Console(file=io.StringIO(), width=200)
    print_uploaded(console, target(), Uploaded(sent=3, skipped=1, deleted=0, others=7))
    assert isinstance(console.file, io.StringIO)
    assert "3 photos uploaded, 1 already there: s3://photos-bucket/data/" in console.file.getvalue()
    assert "7 older photos are in the bucket too" in console.file.getvalue()


def test_the_dogs_are_133_breeds_in_three_splits(tmp_path: Path) -> None:
    breeds = [f"dogImages/{split}/{number:03d}.Breed/1.jpg" for split in ("train", "valid", "test") for number in range(133)]
    zipped(tmp_path / "dogImages.zip", *breeds)
    found = fetch_dogs(Console(file=io.StringIO(), width=200), "http://127.0.0.1:1/dogImages.zip", tmp_path)
    assert (len(found.classes), len(found.photos)) == (133, 399)


def test_another_set_of_dogs_is_refused(tmp_path: Path) -> None:
    zipped(tmp_path / "dogImages.zip", "dogImages/a/1.jpg", "dogImages/b/1.jpg")
    with pytest.raises(RefusedError, match="holds 2 classes with the splits none; expected 133"):
        fetch_dogs(Console(file=io.StringIO(), width=200), "http://127.0.0.1:1/dogImages.zip", tmp_path)


def test_nothing_to_upload_is_one_sentence_and_status_1() -> None:
    result = invoke("upload")
    assert result.exit_code == 1
    assert "Nothing to upload" in result.stderr
    assert "Traceback" not in result.output
