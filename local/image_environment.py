"""The image environment: a virtual environment that holds what AWS's PyTorch 2.13 training image holds.

Runs on the user's machine, started by `local.mode`. Training jobs and model servers run in it, never in the environment
that holds the CDK and smdebug, so that whatever a job needs beyond the image has to travel in its source archive, as on AWS.

Building it takes no compiler. AWS publishes its two toolkits as sources only, and sagemaker-training with a C library that jobs of several
containers load for MPI. Their Python files are installed without building them; local mode runs one container per job.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LOCK = Path(__file__).with_name("image_environment.txt")
STAMP = "whippet-lock.sha256"
TOOLKITS = {
    "sagemaker-pytorch-training": "7f91ecaeb2908a0aa62a5c3391fc8f94ab53496ce5bffb670e922797b4f8cbc1",
    "sagemaker-training": "d61e1ef4daa3ac45c9b47dfd1d8201248395bad6f3df6e1503f295f6fb850384",
}
"""AWS's toolkits: the SHA-256 of the source archive whose version the lock names."""
NO_MPI = '"""Stands for the C library of sagemaker-training that MPI loads: local mode has no MPI jobs."""\n'
TRAIN = """#!/bin/sh
'''exec' {python} "$0" "$@"
' '''
from sagemaker_training.cli.train import main

main()
"""
"""As pip writes a console script: the interpreter's path may be long and have spaces."""

Progress = Callable[[str], None]


class ImageEnvironmentError(RuntimeError):
    """The image environment could not be built; the message says which log tells why."""


@dataclass(frozen=True)
class ImageEnvironment:
    """A virtual environment at `folder`, built from `lock`.

    It counts as whole only when the stamp written at the very end of a build equals the hash of the lock, so an interrupted
    build and a changed lock both lead to a new build.
    """

    folder: Path
    lock: Path = LOCK

    @property
    def bin(self) -> Path:
        """The folder of its programs (python, train, pip)."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.bin / "python"

    @property
    def train(self) -> Path:
        """The sagemaker-training toolkit's entry point, which the AWS image starts too."""
        return self.bin / "train"

    def is_ready(self) -> bool:
        """Whether a whole environment built from the present lock is there."""
        stamp = self.folder / STAMP
        return self.train.exists() and stamp.exists() and stamp.read_text().strip() == self._wanted_stamp()

    def ensure(self, progress: Progress, log: Path, environment: Mapping[str, str] = os.environ) -> None:
        """Build the environment unless it is ready; raises ImageEnvironmentError with the log's path if pip fails."""
        if self.is_ready():
            return
        progress(f"building the image environment {self.folder} (once; torch and what AWS's training image holds beside it)")
        self._remove()
        venv.create(self.folder, with_pip=True, symlinks=True)
        self._install(progress, log, environment)
        (self.folder / STAMP).write_text(self._wanted_stamp() + "\n")
        progress("the image environment is ready")

    def _remove(self) -> None:
        if self.folder.is_symlink():
            self.folder.unlink()
        elif self.folder.exists():
            shutil.rmtree(self.folder)

    def _install(self, progress: Progress, log: Path, environment: Mapping[str, str]) -> None:
        # PIP_CONSTRAINT also reaches the isolated environment in which pip packs inotify_simple, which is published as source: pure Python.
        pip_environment = {**environment, "PIP_CONSTRAINT": str(self.lock), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        log.parent.mkdir(parents=True, exist_ok=True)
        self._sources.mkdir()
        self._hashes.write_text(
            "".join(f"{each} --hash=sha256:{TOOLKITS[name]}\n" for name, each in self._locked().items() if name in TOOLKITS)
        )
        code = 0
        with log.open("w", encoding="utf-8") as record:
            for command in self.commands(environment):
                if code := run_pip(command, pip_environment, record, progress):
                    break
        if code != 0:
            raise ImageEnvironmentError(
                f"pip could not install {self.lock.name} into {self.folder} (exit code {code}). "
                f"The reason stands at the end of {log}; the usual ones are no network and a full disk. Run the same command again."
            )
        self._unpack_toolkits()

    def commands(self, environment: Mapping[str, str]) -> list[list[str]]:
        """The pip commands that install the lock, torch from $TORCH_INDEX where `make` is given one, and download the toolkits.

        The lock is complete but for NVIDIA's packages: the third command brings those along where torch is a build for CUDA.
        """
        pip = [str(self.python), "-m", "pip"]
        install = [*pip, "install", "--no-compile", "--progress-bar", "off"]
        torch = ["-c", str(self.lock), "torch", "torchvision"]
        index = environment.get("TORCH_INDEX")
        download = [*pip, "download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--require-hashes"]
        return [
            *([[*install, "--no-deps", "--index-url", index, *torch]] if index else []),
            [*install, "--no-deps", *(each for name, each in self._locked().items() if name not in TOOLKITS)],
            [*install, *torch],
            [*download, "--dest", str(self._sources), "-r", str(self._hashes)],
        ]

    @property
    def _sources(self) -> Path:
        return self.folder / "toolkits"

    @property
    def _hashes(self) -> Path:
        return self._sources / "requirements.txt"

    def _locked(self) -> dict[str, str]:
        """Name -> name==version, as the lock has them."""
        lines = [line for line in self.lock.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        return {line.partition("==")[0]: line for line in lines}

    def _unpack_toolkits(self) -> None:
        """Put the toolkits' packages and metadata among the others, and `train` among the programs."""
        packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder)}))
        for archive in self._sources.glob("*.tar.gz"):
            with tarfile.open(archive) as opened:
                opened.extractall(self._sources, filter="data")
        for found in [*self._sources.glob("*/src/*/"), *self._sources.glob("*/*.egg-info/")]:
            shutil.move(found, packages / found.name)
        (packages / "gethostname.py").write_text(NO_MPI)
        self.train.write_text(TRAIN.format(python=shlex.quote(str(self.python))))
        self.train.chmod(0o755)
        shutil.rmtree(self._sources)

    def _wanted_stamp(self) -> str:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return hashlib.sha256(self.lock.read_bytes() + version.encode() + str(self.folder).encode()).hexdigest()


def run_pip(command: list[str], environment: Mapping[str, str], record: IO[str], progress: Progress) -> int:
    """Run pip to its end, its output into `record`; returns its exit code."""
    with subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for line in pip.stdout or ():
            record.write(line)
            if line.startswith(("Collecting ", "Processing ", "Installing collected")):
                progress("image environment: " + line.strip().split(" (from")[0][:120])
    return pip.returncode
