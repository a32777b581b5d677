"""Artefacts as archives: what is packed comes back, what is damaged or leads outside is refused."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from local.storage.archives import pack, unpack
from local.storage.objects import DownloadError


def test_an_archive_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "model" / "code").mkdir(parents=True)
    serve = tmp_path / "model" / "code" / "serve"
    serve.write_text("#!/bin/sh\n")
    serve.chmod(0o755)
    pack(tmp_path / "model", tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "again")
    assert (tmp_path / "again" / "code" / "serve").stat().st_mode & 0o111


@pytest.mark.parametrize("name", ["../outside.txt", "/absolute.txt"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    (tmp_path / "in").mkdir()
    if name.startswith("/"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "in")
        assert (tmp_path / "in" / "absolute.txt").exists()
    else:
        with pytest.raises(DownloadError, match="unpacked safely"):
            unpack(tmp_path / "bad.tar.gz", tmp_path / "in")
    assert not (tmp_path / "outside.txt").exists() and not Path("/absolute.txt").exists()


def test_an_archive_keeps_hard_links_and_refuses_symbolic_ones(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "best.pth").write_bytes(b"weights")
    (model / "last.pth").hardlink_to(model / "best.pth")
    pack(model, tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "again")
    assert [(tmp_path / "again" / name).read_bytes() for name in ("best.pth", "last.pth")] == [b"weights", b"weights"]
    (model / "link").symlink_to("/etc/passwd")
    pack(model, tmp_path / "linked.tar.gz")
    with pytest.raises(DownloadError, match="'link' is neither a file nor a folder"):
        unpack(tmp_path / "linked.tar.gz", tmp_path / "linked")


@pytest.mark.parametrize("level", [0, 9])
def test_a_damaged_archive_is_refused_wherever_the_damage_lies(tmp_path: Path, level: int) -> None:
    """One byte changed anywhere, or the end cut off: never a model with other weights or without its last file."""
    (tmp_path / "model").mkdir()
    for name in ("a.pth", "b.pth", "c.json"):
        (tmp_path / "model" / name).write_bytes(bytes(range(256)) * 8)
    pack(tmp_path / "model", tmp_path / "whole.tar.gz")
    whole = gzip.compress(gzip.decompress((tmp_path / "whole.tar.gz").read_bytes()), level)
    cut = [whole[:length] for length in range(20, len(whole), len(whole) // 20)]
    # The ten bytes of gzip's header hold a time and a system, which damage nothing.
    changed = [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(10, len(whole), len(whole) // 40)]
    for number, damaged in enumerate([*cut, *changed]):
        (tmp_path / "damaged.tar.gz").write_bytes(damaged)
        with pytest.raises(DownloadError, match=r"damaged\.tar\.gz is not a tar\.gz"):
            unpack(tmp_path / "damaged.tar.gz", tmp_path / f"out-{number}")


def test_a_tar_without_its_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.txt").write_bytes(b"x" * 512)
    pack(tmp_path / "model", tmp_path / "whole.tar.gz")
    content = gzip.decompress((tmp_path / "whole.tar.gz").read_bytes())
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(content.rstrip(b"\0")))
    with pytest.raises(DownloadError, match="the end mark is missing"):
        unpack(tmp_path / "cut.tar.gz", tmp_path / "out")


def test_an_archive_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.tar.gz").write_bytes(b"not a tar")
    with pytest.raises(DownloadError, match=r"bad\.tar\.gz is not a tar\.gz"):
        unpack(tmp_path / "bad.tar.gz", tmp_path)
