"""Uploads into a bucket in memory. Run: `make test`."""

from pathlib import Path

import pytest

from cli.photos.bucket import Bucket
from tests.fixtures.cli.fakes import FakeS3


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


def files(folder: Path, **bodies: bytes) -> dict[str, Path]:
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    return {f"cat/{name}": folder / name for name in bodies}


def test_everything_travels_once(s3: FakeS3, tmp_path: Path) -> None:
    bucket, photos, progress = Bucket(s3, "b"), files(tmp_path, one=b"1", two=b"2", three=b"3"), list[int]()
    done = bucket.upload("data/", photos, False, progress.append)
    assert s3.objects == {"data/cat/one": b"1", "data/cat/two": b"2", "data/cat/three": b"3"}
    assert (done.sent, done.skipped, sum(progress)) == (3, 0, 3)
    assert bucket.upload("data/", photos, False, progress.append).skipped == 3
    assert len(s3.puts) == 3


def test_the_same_size_with_other_bytes_travels_again(s3: FakeS3, tmp_path: Path) -> None:
    Bucket(s3, "b").upload("data/", files(tmp_path, one=b"1"), False, lambda _: None)
    done = Bucket(s3, "b").upload("data/", files(tmp_path, one=b"2"), False, lambda _: None)
    assert (done.sent, s3.objects["data/cat/one"]) == (1, b"2")


def test_what_is_there_stays_unless_it_is_to_be_replaced(s3: FakeS3, tmp_path: Path) -> None:
    s3.objects = {"data/dog/old": b"old", "weights/resnet50.pth": b"weights"}
    kept = Bucket(s3, "b").upload("data/", files(tmp_path, one=b"1"), False, lambda _: None)
    assert (kept.others, kept.deleted, "data/dog/old" in s3.objects) == (1, 0, True)
    replaced = Bucket(s3, "b").upload("data/", files(tmp_path, one=b"1"), True, lambda _: None)
    assert (replaced.others, replaced.deleted) == (0, 1)
    assert s3.objects.keys() == {"data/cat/one", "weights/resnet50.pth"}


def test_a_failed_upload_removes_nothing(s3: FakeS3, tmp_path: Path) -> None:
    s3.objects = {"data/dog/old": b"old"}
    with pytest.raises(FileNotFoundError):
        Bucket(s3, "b").upload("data/", {"cat/lost": tmp_path / "lost"}, True, lambda _: None)
    assert "data/dog/old" in s3.objects


def test_a_prefix_comes_down_as_a_folder(s3: FakeS3, tmp_path: Path) -> None:
    s3.objects = {"x/report/a.json": b"{}", "x/report/sub/b.html": b"page", "x/other": b""}
    assert Bucket(s3, "b").download("x/report/", tmp_path) == ["a.json", "sub/b.html"]
    assert (tmp_path / "sub" / "b.html").read_bytes() == b"page"


def test_an_absent_object_is_none(s3: FakeS3) -> None:
    s3.objects = {"here": b"1"}
    assert Bucket(s3, "b").get("here") == b"1"
    assert Bucket(s3, "b").get("not here") is None
