"""Links to job folders whose own name a shell would split: where they lie, who may write there, and what a killed plane leaves."""

import os
from pathlib import Path

import pytest

from local.host.short_links import NEEDS_NO_QUOTES, drop_links, link_folder, shell_safe
from local.image_environment import ImageEnvironment
from local.plane import Plane


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos" / "processing-jobs" / "job" / "ml"
    folder.mkdir(parents=True)
    return folder


def test_a_folder_that_needs_no_quotes_is_taken_itself(tmp_path: Path) -> None:
    with shell_safe(tmp_path, tmp_path / "links") as name:
        assert name == tmp_path
    assert not (tmp_path / "links").exists()


def test_a_link_leads_to_the_folder_and_goes_with_its_job(tmp_path: Path, base: Path) -> None:
    links = tmp_path / "links"
    with shell_safe(base, links) as name:
        assert NEEDS_NO_QUOTES.fullmatch(str(name)) and name.parent == links and name.resolve() == base
        assert links.stat().st_mode & 0o777 == 0o700
    assert list(links.iterdir()) == []


def test_links_lie_where_no_variable_leads_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "a b"))
    assert NEEDS_NO_QUOTES.fullmatch(str(link_folder())) and not link_folder().is_relative_to(tmp_path)
    assert link_folder().name.endswith(str(os.getuid()))


def test_what_a_killed_plane_left_is_removed_and_other_planes_links_are_kept(tmp_path: Path, base: Path) -> None:
    links, home = tmp_path / "links", tmp_path / "my photos"
    other = tmp_path / "other home" / "ml"
    other.mkdir(parents=True)
    left, theirs = shell_safe(base, links), shell_safe(other, links)
    left.__enter__()
    kept = theirs.__enter__()
    (links / "nowhere").symlink_to(tmp_path / "gone")
    drop_links(links, home)
    assert list(links.iterdir()) == [kept]


def test_a_job_that_is_started_again_takes_over_the_link_that_was_left(tmp_path: Path, base: Path) -> None:
    killed = shell_safe(base, tmp_path / "links")
    left = killed.__enter__()
    with shell_safe(base, tmp_path / "links") as name:
        assert name == left and name.resolve() == base


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, base: Path, kind: str) -> None:
    links = tmp_path / "links"
    if kind == "open to others":
        links.mkdir()
        links.chmod(0o777)
    if kind == "a link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        links.symlink_to(tmp_path / "theirs")
    if kind == "a file":
        links.touch()
    with pytest.raises(OSError, match="links"), shell_safe(base, links):
        pass


def test_without_links_there_is_nothing_to_remove(tmp_path: Path) -> None:
    drop_links(tmp_path / "links", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_plane_that_starts_removes_the_links_that_its_killed_predecessor_left(tmp_path: Path) -> None:
    base = tmp_path / "my home" / "sagemaker" / "processing-jobs" / "job" / "ml"
    base.mkdir(parents=True)
    killed = shell_safe(base, link_folder())
    left = killed.__enter__()
    assert left.is_symlink()
    aws = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    plane = Plane.open(tmp_path / "my home", ImageEnvironment(tmp_path / "image"), aws)
    plane.close()
    assert not left.is_symlink() and not base.exists()
