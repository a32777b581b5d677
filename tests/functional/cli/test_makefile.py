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
    for name in (
        "requirements.txt",
        "requirements-dev.txt",
        "lock.txt",
        "lock-dev.txt",
        "pyproject.toml",
        "package.json",
        "package-lock.json",
    ):
        (tmp_path / name).touch()
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "smdebug_repairs.py").touch()
    return tmp_path


def make(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PATH": path} if path else {})}
    return subprocess.run(["/usr/bin/env", "make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def python(folder: Path, script: str) -> str:
    file = folder / "some-python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return f"PYTHON={file}"


def installs(folder: Path, *variables: str) -> list[str]:
    """What `make` would install, without the options that all of it has; `repair` where smdebug is repaired."""
    said = make(folder, "--dry-run", ".venv/developing", *variables).stdout.splitlines()
    return [line.partition(" -qq ")[2].strip() or "repair" for line in said if " -qq " in line or "stacks.smdebug_repairs" in line]


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


def test_nothing_is_searched_for_or_built(checkout: Path) -> None:
    """The lock goes without dependencies; then torch takes NVIDIA's packages along, and smdebug's files are repaired."""
    product, development = ["--no-deps -r lock.txt", "-c lock.txt torch torchvision"], ["--no-deps -r lock-dev.txt"]
    assert installs(checkout) == [
        *product,
        "--no-deps --force-reinstall -c lock.txt smdebug",
        "repair",
        "--no-deps --no-build-isolation --editable .",
        *development,
    ]
    first, *rest = installs(checkout, "TORCH_INDEX=https://example.com/cpu")
    assert first == "--no-deps --index-url https://example.com/cpu -c lock.txt torch torchvision"
    assert rest == installs(checkout)


def test_a_machine_without_a_compiler_is_not_refused(checkout: Path) -> None:
    (checkout / "bin").mkdir()
    for program in ("make", "sh", "echo"):
        (checkout / "bin" / program).symlink_to(f"/usr/bin/{program}")
    done = make(checkout, ".venv/bin/python", f"PYTHON={sys.executable}", path=str(checkout / "bin"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / ".venv" / "bin" / "pip").exists()


def test_the_demo_gets_the_data_that_is_named(checkout: Path) -> None:
    said = make(checkout, "--dry-run", "demo", "DATA=my photos/dogs.zip").stdout
    assert '-m cli.demo.main --data "my photos/dogs.zip"' in said
    assert "--data" not in make(checkout, "--dry-run", "demo").stdout
