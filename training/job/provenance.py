"""The versions that produced a result: of this code and of its libraries.

Runs in the training and serving images.
"""

import hashlib
import platform
from functools import cache
from pathlib import Path

import numpy as np
import PIL
import torch


@cache
def code_sha256() -> str:
    """Return the hex digest of this package's Python files, names and contents."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__, "pillow": PIL.__version__}
