"""Repairs the files of smdebug 1.0.34, so that it runs beside current versions of numpy, protobuf and Python, and needs no compiler.

Runs at synth, which packs the repaired package into the source archive of the jobs, and once after installing, for local mode and tests:

    python -m stacks.smdebug_repairs

The release predates numpy 2.3 (`tostring`), protobuf 4 (its generated messages) and Python 3.12 (`distutils`). It imports pyinstrument,
which needs a compiler and which AWS's image lacks, for a profiler that is off; and torch, with its seconds and 200 MB, for readers that
need nothing of it. Without the repairs of numpy and protobuf smdebug's hook records nothing, silently.
"""

import ast
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

VERSION = "1.0.34"
NOTICE = b"# Changed from smdebug 1.0.34, so that it runs beside current versions of numpy, protobuf and Python.\n"
"""First line of each changed file: the licence asks for it."""
MESSAGES = "smdebug/core/tfevent/proto/"

STRTOBOOL = b"""
def strtobool(value):
    words = ("n", "no", "f", "false", "off", "0", "y", "yes", "t", "true", "on", "1")
    return words.index(value.lower()) > 5
"""
DISTUTILS = (b"from distutils.util import strtobool\n", STRTOBOOL)

# File -> (text that has to be there, its replacement).
REPAIRS: Mapping[str, tuple[tuple[bytes, bytes], ...]] = {
    "smdebug/core/tfevent/util.py": ((b"nparray_data.tostring()", b"nparray_data.tobytes()"),),
    "smdebug/core/config_validator.py": (DISTUTILS,),
    # An escape that Python 3.12 warns of.
    "smdebug/profiler/utils.py": (DISTUTILS, (b'compile(".+/system/', b'compile(r".+/system/')),
    # A process that only reads tensors has not imported torch and need not.
    "smdebug/core/utils.py": (
        (b"    import torch.distributed as torch_dist\n\n    _torch_dist_imported = torch_dist\n", b"    _torch_dist_imported = None\n"),
        (
            b"    rank = None\n\n    if (\n        _torch_dist_imported\n",
            b'    rank = None\n    _torch_dist_imported = __import__("sys").modules.get("torch.distributed")\n\n'
            b"    if (\n        _torch_dist_imported\n",
        ),
    ),
    # AWS's image may lack packaging; torch brings its own copy.
    "smdebug/pytorch/utils.py": ((b"from packaging import version\n", b"from torch._vendor.packaging import version\n"),),
    # Imported where it is used: by those who switch that profiler on and have installed it.
    "smdebug/profiler/python_profiler.py": (
        (b"from pyinstrument import Profiler as PyinstrumentProfiler\n", b""),
        (b"from pyinstrument.renderers import JSONRenderer\n", b""),
        (b"PyinstrumentProfiler()", b'__import__("pyinstrument").Profiler()'),
        (b" JSONRenderer()", b' __import__("pyinstrument.renderers").renderers.JSONRenderer()'),
    ),
}


class RepairError(RuntimeError):
    """A file of smdebug, or its version, is not what the repairs are made for."""


def smdebug_files() -> Iterator[tuple[str, Path]]:
    """Path in the source archive and file of the installed smdebug package and of its licence."""
    package = metadata.distribution("smdebug")
    if package.version != VERSION:
        raise RepairError(
            f"smdebug {package.version} is installed, and stacks/smdebug_repairs.py repairs {VERSION}; "
            f"install that one: pip install --no-deps smdebug=={VERSION}"
        )
    for entry in package.files or []:
        if entry.parts[0] == "smdebug" and entry.suffix != ".pyc" and "__pycache__" not in entry.parts:
            yield entry.as_posix(), Path(str(entry.locate()))
        elif entry.name.startswith(("LICENSE", "NOTICE")):
            yield f"smdebug/{entry.name}", Path(str(entry.locate()))


def repair_installed() -> None:
    """Repair the installed package, unless it is repaired. Files are replaced, not written to: they may be hard links into a cache."""
    for name, file in smdebug_files():
        content = file.read_bytes()
        if (whole := repaired(name, content)) != content:
            unfinished = file.with_suffix(f".{os.getpid()}")
            unfinished.write_bytes(whole)
            unfinished.replace(file)


def repaired(name: str, content: bytes) -> bytes:
    """The repaired content of smdebug's file `name` (its path in the archive), which may be repaired, all or in part.

    Raises RepairError where neither the text to repair nor its replacement is there.
    """
    if name.startswith(MESSAGES) and name.endswith("_pb2.py"):
        return content if content.startswith(NOTICE) else _built_messages(name, content)
    for broken, whole in REPAIRS.get(name, ()):
        if broken not in content and whole not in content:
            raise RepairError(
                f"{name} does not hold {broken.decode()!r}: the repairs are made for smdebug {VERSION} as published, "
                f"install it again: pip install --no-deps --force-reinstall smdebug=={VERSION}"
            )
        content = content.replace(broken, whole)
    return NOTICE + content if name in REPAIRS and not content.startswith(NOTICE) else content


def _built_messages(name: str, content: bytes) -> bytes:
    """The same messages, built at import from their serialised description, as protobuf does it since 3.20 and still in 7."""
    tree = ast.parse(content)
    serialized = [
        keyword.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "serialized_pb" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bytes)
    ]
    if len(serialized) != 1:
        raise RepairError(f"{name} holds {len(serialized)} descriptions of messages instead of one: install smdebug {VERSION}")
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.ImportFrom) and str(node.module).startswith("smdebug.")]
    module = name.removesuffix(".py").replace("/", ".")
    lines = [
        "from google.protobuf import descriptor_pool",
        "from google.protobuf.internal import builder",
        *imports,
        f"DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({serialized[0]!r})",
        "builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())",
        f"builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, {module!r}, globals())",
    ]
    return NOTICE + "\n".join(lines).encode() + b"\n"


if __name__ == "__main__":
    repair_installed()
