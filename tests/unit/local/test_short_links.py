"""A link to a job folder whose own name a shell would split: where it lies, and that it goes with its job."""

from pathlib import Path

import pytest

from local.host.short_links import NEEDS_NO_QUOTES, shell_safe


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos" / "processing-jobs" / "job" / "ml"
    folder.mkdir(parents=True)
    return folder


def test_a_folder_that_needs_no_quotes_is_taken_itself(tmp_path: Path) -> None:
    with shell_safe(tmp_path) as name:
        assert name == tmp_path


def test_a_link_leads_to_the_folder_and_goes_with_its_job(base: Path) -> None:
    (base / "output").touch()
    with shell_safe(base) as name:
        assert NEEDS_NO_QUOTES.fullmatch(str(name)) and name.resolve() == base
        assert name.parent.stat().st_mode & 0o777 == 0o700, "another user could put something else there"
    assert not name.parent.exists() and (base / "output").exists()


def test_the_link_lies_where_no_variable_leads_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "a b"))
    with shell_safe(base) as name:
        assert NEEDS_NO_QUOTES.fullmatch(str(name)) and not name.is_relative_to(tmp_path)


def test_a_job_that_is_started_again_gets_a_link_of_its_own(base: Path) -> None:
    """A killed plane leaves its link; the job folder is the same."""
    with shell_safe(base) as left, shell_safe(base) as name:
        assert name != left and name.resolve() == left.resolve() == base
