"""The image environment: a virtual environment that holds what AWS's PyTorch 2.13 training image holds.

Runs on the user's machine, started by `local.mode`. Training jobs and model servers run in it, never in the environment
that holds the CDK and smdebug, so that whatever a job needs beyond the image has to travel in its source archive, as on AWS.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).with_name("image_environment.txt")
STAMP = "whippet-lock.sha256"

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
        # PIP_CONSTRAINT also reaches the isolated environments in which pip builds the two toolkits from source.
        pip_environment = {**environment, "PIP_CONSTRAINT": str(self.lock), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        log.parent.mkdir(parents=True, exist_ok=True)
        code = 0
        with log.open("w", encoding="utf-8") as record:
            for command in self.commands(environment):
                with subprocess.Popen(command, env=pip_environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
                    for line in pip.stdout or ():
                        record.write(line)
                        if line.startswith(("Collecting ", "Processing ", "Installing collected")):
                            progress("image environment: " + line.strip().split(" (from")[0][:120])
                if code := pip.returncode:
                    break
        if code != 0 or not self.train.exists():
            raise ImageEnvironmentError(
                f"pip could not install {self.lock.name} into {self.folder} (exit code {code}). "
                f"The reason stands at the end of {log}; the usual ones are no network and a full disk. Run the same command again."
            )

    def commands(self, environment: Mapping[str, str]) -> list[list[str]]:
        """The pip commands that install the lock; torch and torchvision first from $TORCH_INDEX, where `make` is given one."""
        install = [str(self.python), "-m", "pip", "install", "--no-compile", "--progress-bar", "off"]
        index = environment.get("TORCH_INDEX")
        torch = [[*install, "--index-url", index, "-c", str(self.lock), "torch", "torchvision"]] if index else []
        return [*torch, [*install, "-r", str(self.lock)]]

    def _wanted_stamp(self) -> str:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return hashlib.sha256(self.lock.read_bytes() + version.encode() + str(self.folder).encode()).hexdigest()
