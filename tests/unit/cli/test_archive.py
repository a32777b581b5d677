"""Unpacking: the files of a good zip, and nothing of a bad one. Run: `make test`."""

import random
import stat
import zipfile
from pathlib import Path

import pytest

from cli.photos.archive import unpack
from cli.terminal.errors import RefusedError


def zipped(file: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in entries.items():
            archive.writestr(name, body)
    return file


def test_files_come_out_once_and_are_found_again(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "photos.zip", {"cat/é 1+%.jpg": b"one", "dog/2.jpg": b"two"})
    folder = unpack(archive, tmp_path / "cache")
    assert (folder / "cat" / "é 1+%.jpg").read_bytes() == b"one"
    (folder / "mark").touch()
    assert unpack(archive, tmp_path / "cache") == folder
    assert (folder / "mark").exists()


def test_other_bytes_get_another_folder(tmp_path: Path) -> None:
    first = unpack(zipped(tmp_path / "photos.zip", {"cat/1.jpg": b"one"}), tmp_path / "cache")
    assert unpack(zipped(tmp_path / "photos.zip", {"cat/1.jpg": b"other"}), tmp_path / "cache") != first


def test_only_the_wanted_entries_come_out(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "package.whl", {"package/code.py": b"", "package/data/1.jpg": b"one"})
    folder = unpack(archive, tmp_path / "cache", keep=lambda name: name.startswith("package/data/"))
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["1.jpg"]


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "cat/../../evil.jpg", "..\\evil.jpg", "C:/evil.jpg"])
def test_an_entry_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "photos.zip", {"cat/1.jpg": b"one", name: b"evil"})
    with pytest.raises(RefusedError, match="points outside"):
        unpack(archive, tmp_path / "deep" / "cache")
    assert not list((tmp_path / "deep" / "cache").iterdir())


def test_names_with_backslashes_become_folders(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "photos.zip", {"photos\\": b"", "photos\\rook\\1.jpg": b"one", "photos\\code.py": b""})
    folder = unpack(archive, tmp_path / "cache", keep=lambda name: name.startswith("photos/") and name.endswith(".jpg"))
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / "photos" / "rook" / "1.jpg"]


@pytest.mark.parametrize("names", [["a", "a/b.jpg"], ["a/b.jpg", "a"], ["a/" + "b" * 300]])
def test_names_that_no_disk_can_hold_are_refused(tmp_path: Path, names: list[str]) -> None:
    archive = zipped(tmp_path / "photos.zip", dict.fromkeys(names, b"one"))
    with pytest.raises(RefusedError, match=r"cannot be unpacked: .*no file and folder have the same name"):
        unpack(archive, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_anywhere_in_the_packed_bytes_is_refused_or_harmless(tmp_path: Path, method: int) -> None:
    archive, photo, refused = tmp_path / "photos.zip", random.Random(1).randbytes(200) * 3, 0
    with zipfile.ZipFile(archive, "w", method) as made:
        made.writestr("1.jpg", photo)
    whole = archive.read_bytes()
    for at in range(40, 140):
        archive.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            assert (unpack(archive, tmp_path / "cache") / "1.jpg").read_bytes() == photo
        except RefusedError as error:
            assert "cannot be unpacked" in str(error)
            refused += 1
    assert refused > 80


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("cat/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(RefusedError, match="symbolic link"):
        unpack(tmp_path / "photos.zip", tmp_path / "cache")


def test_an_archive_that_unpacks_to_a_hundred_times_its_size_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "bomb.zip", {f"cat/{number}.jpg": bytes(30_000_000) for number in range(4)})
    with pytest.raises(RefusedError, match="not an archive of photos"):
        unpack(archive, tmp_path / "cache")


def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "photos.zip", {"cat/1.jpg": bytes(range(256)) * 40})
    body = bytearray(archive.read_bytes())
    body[60] ^= 0xFF
    archive.write_bytes(body)
    with pytest.raises(RefusedError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
