"""S3 objects as files: key names, the shared channel cache and mirrors."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.storage.objects import (
    ChannelCache,
    DownloadError,
    Mirror,
    download,
    is_inside,
    join_uri,
    list_objects,
    make_relative_name,
    split_s3_uri,
)
from tests.fixtures.local.fakes import FakeS3, fake_tools
from tests.fixtures.local.running import Local


@pytest.mark.parametrize(
    ("key", "prefix", "name"),
    [
        ("data/rook/a.jpg", "data/", "rook/a.jpg"),
        ("data/rook/a.jpg", "data", "rook/a.jpg"),
        ("data/rook/a.jpg", "", "data/rook/a.jpg"),
        ("data/rook/a.jpg", "data/ro", "rook/a.jpg"),
        ("code/x.gz", "code/x.gz", "x.gz"),
        ("x.gz", "x.gz", "x.gz"),
        ("data/Größe 100%+é/ä%2f..b.jpg", "data/", "Größe 100%+é/ä%2f..b.jpg"),
        ("data/..hidden/a..b", "data/", "..hidden/a..b"),
        ("data/a\\b", "data/", "a\\b"),
    ],
)
def test_where_an_object_lies_below_its_channel(key: str, prefix: str, name: str) -> None:
    assert make_relative_name(key, prefix) == name


@pytest.mark.parametrize(
    "key", ["data/../a", "data/a/../../b", "data//etc/passwd", "data/./a", "data/a\0b", "data/" + "ä" * 200, "data/.."]
)
def test_a_key_that_is_no_file_name_is_named(key: str) -> None:
    with pytest.raises(DownloadError, match="cannot be a file name"):
        make_relative_name(key, "data/")


@given(st.text(min_size=1, max_size=40), st.integers(0, 12))
def test_no_key_leads_outside_the_folder(key: str, cut: int) -> None:
    try:
        name = make_relative_name(key, key[:cut])
    except DownloadError:
        return
    assert Path("/folder", name).parts[:2] == ("/", "folder") and ".." not in Path(name).parts and not Path(name).is_absolute()


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4), st.sampled_from(["", "data/", "data", "dä ta/%2F/"]))
def test_a_key_keeps_its_class_and_name_to_the_letter_or_is_refused(parts: list[str], prefix: str) -> None:
    name = "/".join(parts)
    key = f"{prefix}/{name}" if prefix and not prefix.endswith("/") else prefix + name
    try:
        assert make_relative_name(key, prefix) == name
    except DownloadError:
        assert any(part in ("", ".", "..") or "\0" in part for part in name.split("/"))


STRANGE_NAMES = [
    "a b.jpg", " lead", "trail ", "100%.jpg", "a%2Fb.jpg", "%2e%2e", "a+b.jpg", "a#b?c&d=e.jpg", "a..b.jpg", "..hidden", "...", "~", "-",
    "é.jpg", "e\u0301.jpg", "日本語/猫 🐈.jpg", "日" * 80 + ".jpg", "a\\b.jpg", "new\nline.jpg", "\r.jpg", "\x01.jpg", "q'\"<>&;$.jpg",
    "\u202ertl.jpg", "\u2028.jpg", "a*b|c:d@e.jpg",
]  # fmt: skip


def test_names_of_any_kind_come_through_s3_and_back_as_they_are(local: Local, tmp_path: Path) -> None:
    """Put as objects, downloaded as a channel, mirrored under another prefix: the same names with the same content."""
    for name in STRANGE_NAMES:
        local.put(f"strange/{name}", name.encode())
    channel = tmp_path / "channel"
    ChannelCache(tmp_path / "cache", local.client("s3")).provide(f"s3://{local.bucket}/strange/", channel)
    files = {path.relative_to(channel).as_posix(): path.read_bytes() for path in channel.rglob("*") if path.is_file()}
    assert files == {name: name.encode() for name in STRANGE_NAMES}
    Mirror(local.client("s3"), channel, f"s3://{local.bucket}/strange-again").sync()
    assert sorted(local.keys("strange-again/")) == sorted(f"strange-again/{name}" for name in STRANGE_NAMES)


def test_a_file_that_is_emptied_is_emptied_in_s3_and_is_restored_empty(local: Local, tmp_path: Path) -> None:
    """A job that has no more use for a checkpoint cannot delete its object; it can make it small."""
    job, later = tmp_path / "job", tmp_path / "later"
    job.mkdir()
    later.mkdir()
    checkpoint = job / "even.safetensors"
    checkpoint.write_bytes(b"x" * 1000)
    mirror = Mirror(local.client("s3"), job, f"s3://{local.bucket}/emptied")
    mirror.sync()
    os.truncate(checkpoint, 0)
    mirror.sync()
    assert [item.size for item in list_objects(local.client("s3"), local.bucket, "emptied/")] == [0]
    again = Mirror(local.client("s3"), later, f"s3://{local.bucket}/emptied")
    again.restore()
    assert (later / "even.safetensors").read_bytes() == b""
    (later / "even.safetensors").write_bytes(b"epoch 1")
    again.sync()
    assert [item.size for item in list_objects(local.client("s3"), local.bucket, "emptied/")] == [7]


@pytest.mark.parametrize("size", [0, 3])
def test_a_restored_file_that_is_cut_short_or_emptied_is_sent(tmp_path: Path, size: int) -> None:
    s3 = FakeS3()
    s3.objects = {"mirror/a.bin": b"epoch 1"}
    mirror = Mirror(s3, tmp_path, "s3://b/mirror")
    mirror.restore()
    os.truncate(tmp_path / "a.bin", size)
    mirror.sync()
    assert s3.objects == {"mirror/a.bin": b"epoch 1"[:size]}


def test_a_file_whose_name_no_key_can_have_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad-\udcff.txt").write_bytes(b"x")
    with pytest.raises(OSError, match=r"'bad-\\udcff\.txt' cannot be an object's key: it is not UTF-8"):
        Mirror(FakeS3(), tmp_path, "s3://b/mirror").sync()


class Changing(FakeS3):
    """Another job writes its checkpoint, and removes one, between the list and the downloads."""

    def get_paginator(self, operation: str) -> Any:
        paginator = super().get_paginator(operation)
        pages = paginator.paginate(Prefix="shared/")
        self.objects["shared/theirs.bin"] = b"epoch 2"
        del self.objects["shared/gone.bin"]
        paginator.paginate = lambda **_wanted: pages
        return paginator


def test_checkpoints_that_another_job_is_changing_are_restored_as_they_are_now(tmp_path: Path) -> None:
    s3 = Changing()
    s3.objects = {"shared/ours.bin": b"epoch 7", "shared/theirs.bin": b"epoch 1", "shared/gone.bin": b"epoch 1"}
    Mirror(s3, tmp_path, "s3://b/shared").restore()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"ours.bin": b"epoch 7", "theirs.bin": b"epoch 2"}


def test_a_channel_that_changes_while_it_is_downloaded_is_an_error(tmp_path: Path) -> None:
    s3 = Changing()
    s3.objects = {"shared/theirs.bin": b"epoch 1", "shared/gone.bin": b"epoch 1"}
    with pytest.raises(DownloadError, match="changed while it was downloaded"):
        fake_tools(tmp_path, s3).channels.provide("s3://b/shared/", tmp_path / "job")


def test_uris() -> None:
    assert split_s3_uri("s3://bucket/a?b#c/d") == ("bucket", "a?b#c/d")
    assert split_s3_uri("s3://bucket") == ("bucket", "")
    assert join_uri("s3://b/p/", "job", "output") == "s3://b/p/job/output" == join_uri("s3://b/p", "job", "output")
    for wrong in ("bucket/key", "https://bucket/key", "s3:///key"):
        with pytest.raises(DownloadError):
            split_s3_uri(wrong)


def test_paths_inside() -> None:
    assert is_inside("/opt/ml/checkpoints", ["/opt/ml"]) and is_inside("/opt/ml", ["/opt/ml"])
    assert not any(is_inside(path, ["/opt/ml"]) for path in ("/opt/mlx", "/opt/ml/../x", "opt/ml", "/etc"))


def test_parallel_jobs_share_one_download_and_cannot_spoil_it(local: Local, tmp_path: Path) -> None:
    for number in range(3):
        local.put(f"shared/class/{number}.jpg", b"photo %d" % number)
    cache = ChannelCache(tmp_path / "cache", local.client("s3"))
    uri = f"s3://{local.bucket}/shared/"
    assert cache.provide(uri, tmp_path / "one") == 3
    cache.provide(uri, tmp_path / "two")
    one, two = (tmp_path / job / "class" / "1.jpg" for job in ("one", "two"))
    assert one.read_bytes() == b"photo 1"
    one.write_bytes(b"spoilt by a job")
    assert two.read_bytes() == b"photo 1", "a job changed the photo of a job beside it"
    cached = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    cache.provide(uri, tmp_path / "three")
    assert (tmp_path / "three/class/1.jpg").read_bytes() == b"photo 1"
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == cached and len(cached) == 1
    local.put("shared/class/1.jpg", b"another photo")
    cache.provide(uri, tmp_path / "four")
    assert (tmp_path / "four/class/1.jpg").read_bytes() == b"another photo"


def test_an_object_that_changes_between_listing_and_download_is_named(local: Local, tmp_path: Path) -> None:
    local.put("changes/a.jpg", b"listed")
    (listed,) = list_objects(local.client("s3"), local.bucket, "changes/")
    local.put("changes/a.jpg", b"newer!")
    with pytest.raises(DownloadError, match=r"'changes/a.jpg' changed while it was downloaded"):
        download(local.client("s3"), local.bucket, {"a.jpg": listed}, tmp_path)


def test_an_object_uploaded_in_parts_is_downloaded_whole(local: Local, tmp_path: Path) -> None:
    content = bytes(range(256)) * (9 << 12)
    (tmp_path / "weights").write_bytes(content)
    local.client("s3").upload_file(str(tmp_path / "weights"), local.bucket, "parts/weights")
    ChannelCache(tmp_path / "cache", local.client("s3")).provide(f"s3://{local.bucket}/parts/", tmp_path / "job")
    assert (tmp_path / "job/weights").read_bytes() == content


def test_a_key_below_another_key_is_named(local: Local, tmp_path: Path) -> None:
    local.put("clash/a", b"file")
    local.put("clash/a/b", b"file below a file")
    with pytest.raises(DownloadError, match="another object's key"):
        ChannelCache(tmp_path / "cache", local.client("s3")).provide(f"s3://{local.bucket}/clash/", tmp_path / "job")


def test_folder_markers_are_left_out(local: Local) -> None:
    local.put("marked/", b"")
    local.put("marked/a.jpg", b"x")
    assert [item.key for item in list_objects(local.client("s3"), local.bucket, "marked/")] == ["marked/a.jpg"]


def test_a_mirror_sends_new_and_changed_files_only(local: Local, tmp_path: Path) -> None:
    s3 = local.client("s3")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a b.txt").write_text("1")
    mirror = Mirror(s3, tmp_path, f"s3://{local.bucket}/mirror/")
    mirror.sync()
    assert local.keys("mirror/") == ["mirror/deep/a b.txt"]
    before = s3.head_object(Bucket=local.bucket, Key="mirror/deep/a b.txt")["LastModified"]
    mirror.sync()
    (tmp_path / "new.txt").write_text("2")
    mirror.sync()
    assert s3.head_object(Bucket=local.bucket, Key="mirror/deep/a b.txt")["LastModified"] == before
    (tmp_path / "deep" / "a b.txt").write_text("changed")
    mirror.sync()
    assert s3.get_object(Bucket=local.bucket, Key="mirror/deep/a b.txt")["Body"].read() == b"changed"
    assert sorted(local.keys("mirror/")) == ["mirror/deep/a b.txt", "mirror/new.txt"]
