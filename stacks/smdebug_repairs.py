"""Repairs of smdebug 1.0.34 in the source archive, so that a training script which only imports smdebug runs beside current packages.

Runs at synth, while the archive is made. The release predates numpy 2.3 (`tostring`) and protobuf 4 (its generated messages), and imports
pyinstrument, which AWS's image lacks, for a profiler that is off. Our own job repairs the same at run time
(training/job/smdebug_repairs.py);
a script of somebody else's knows nothing of that. distutils, gone from Python 3.12, is there with the image's setuptools. Each changed
file says that it was changed.
"""

import ast
from collections.abc import Mapping

NOTICE = b"# Changed from smdebug 1.0.34, so that it runs beside current versions of numpy and protobuf.\n"
MESSAGES = "smdebug/core/tfevent/proto/"

# File -> (text that has to be there, what takes its place).
REPAIRS: Mapping[str, tuple[tuple[bytes, bytes], ...]] = {
    "smdebug/core/tfevent/util.py": ((b"nparray_data.tostring()", b"nparray_data.tobytes()"),),
    # Imported where it is used: by those who switch that profiler on and have installed it.
    "smdebug/profiler/python_profiler.py": (
        (b"from pyinstrument import Profiler as PyinstrumentProfiler\n", b""),
        (b"from pyinstrument.renderers import JSONRenderer\n", b""),
        (b"PyinstrumentProfiler()", b'__import__("pyinstrument").Profiler()'),
        (b"JSONRenderer()", b'__import__("pyinstrument.renderers").renderers.JSONRenderer()'),
    ),
}


class RepairError(RuntimeError):
    """A file of smdebug is not as the repairs know it."""


def repaired(name: str, content: bytes) -> bytes:
    """The content of smdebug's file `name` (its path in the archive) as a job gets it; raises RepairError where nothing is to repair."""
    if name.startswith(MESSAGES) and name.endswith("_pb2.py"):
        return _built_messages(name, content)
    for broken, whole in REPAIRS.get(name, ()):
        if broken not in content:
            raise RepairError(f"{name} does not hold {broken.decode()!r}: the repairs are made for smdebug 1.0.34, install that one")
        content = content.replace(broken, whole)
    return NOTICE + content if name in REPAIRS else content


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
        raise RepairError(f"{name} holds {len(serialized)} descriptions of messages instead of one: install smdebug 1.0.34")
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
