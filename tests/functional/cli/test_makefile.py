"""What `make` says to a machine that lacks something: a sentence, before pip fills the screen. Run: `make test`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.account.target import REPOSITORY


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile and the files that it waits for."""
    (tmp_path / "Makefile").write_text((REPOSITORY / "Makefile").read_text())
    for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt", "pyproject.toml", "package.json", "package-lock.json"):
        (tmp_path / name).touch()
    return tmp_path


def make(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PATH": path} if path else {})}
    return subprocess.run(["/usr/bin/env", "make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def python(folder: Path, script: str) -> str:
    file = folder / "some-python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return f"PYTHON={file}"


def test_help_is_the_default_and_names_every_target(checkout: Path) -> None:
    said = make(checkout).stdout
    for target in ("demo", "down", "test", "check", "synth", "bench"):
        assert f"make {target} " in said


def test_an_old_python_is_named(checkout: Path) -> None:
    old = python(checkout, 'case "$1" in -V) echo "Python 3.9.2";; *) exit 1;; esac')
    done = make(checkout, ".venv/bin/python", old)
    assert done.returncode != 0
    assert "Python 3.11 or later is needed" in done.stdout
    assert "Python 3.9.2" in done.stdout
    assert not (checkout / ".venv").exists()


def test_missing_python_headers_are_named(checkout: Path) -> None:
    without = python(checkout, f'case "$2" in *Python.h*) exit 1;; *) exec {sys.executable} "$@";; esac')
    done = make(checkout, ".venv/bin/python", without)
    assert "apt-get install python3-dev" in done.stdout
    assert not (checkout / ".venv").exists()


def test_what_is_built_from_source_is_built_with_the_locked_setuptools(checkout: Path) -> None:
    said = make(checkout, "--dry-run", ".venv/installed").stdout.splitlines()
    installs = [line.partition(" -qq ")[2] for line in said if " -qq " in line]
    constrained = [line.removeprefix("-c constraints.txt ") for line in installs if line.startswith("-c constraints.txt ")]
    assert constrained == ["setuptools", "--no-build-isolation pyinstrument_cext", "-r requirements.txt"]


def test_the_demo_gets_the_data_that_is_named(checkout: Path) -> None:
    said = make(checkout, "--dry-run", "demo", "DATA=my photos/dogs.zip").stdout
    assert '-m cli.demo.main --data "my photos/dogs.zip"' in said
    assert "--data" not in make(checkout, "--dry-run", "demo").stdout
