"""The source archive: what processing and training jobs run, as one `.tar.gz` whose bytes depend on the sources alone.

Runs at synth. It holds `training/` and the smdebug package, which AWS's image lacks, taken from the environment that synthesises: jobs
have no network, so nothing can be installed there. smdebug is packed as `stacks.smdebug_repairs` repairs it. Same sources, same bytes,
same asset: a second synth deploys nothing.
"""

import ast
import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from aws_cdk import Stage
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from stacks.smdebug_repairs import repaired, smdebug_files
from training import contract

REPOSITORY = Path(__file__).resolve().parent.parent
FILE_NAME = "sourcedir.tar.gz"
SHIPPED_SUFFIXES = {".py", ".html", ".txt"}


class SourceArchive(Construct):
    """The archive as a file asset; `asset.s3_object_key` is its name in the bootstrap bucket."""

    def __init__(self, scope: Construct, id: str) -> None:  # noqa: A002 - CDK's own name for it
        """Writes the archive beside the other outputs of the synthesis."""
        super().__init__(scope, id)
        outputs = Stage.of(self)
        assert outputs is not None, "a construct always stands in an app"
        file = Path(outputs.outdir) / FILE_NAME
        file.write_bytes(build_archive())
        self.asset = assets.Asset(self, "Asset", path=str(file))


def build_archive() -> bytes:
    """The archive's bytes: sorted names, one date, no owner."""
    members = dict(training_files()) | dict(smdebug_files())
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name in sorted(members):
            content = repaired(name, members[name].read_bytes())
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def preparation_code(root: Path = REPOSITORY) -> str:
    """64 hex digits over the program of PrepareDataset and all of `training/` that it imports: other ones where a data set could differ."""
    digest = hashlib.sha256()
    for file in imported_files(root, contract.PREPARE_PROGRAM):
        content = (root / file).read_bytes()
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def imported_files(root: Path, program: str) -> list[str]:
    """The program and every file of `training/` that it imports, directly or through another; sorted."""
    found: set[str] = set()
    waiting = [program, "training/__init__.py"]
    while waiting:
        file = waiting.pop()
        if file not in found and (root / file).is_file():
            found.add(file)
            for name in imported_names((root / file).read_text(encoding="utf-8")):
                modules = accumulate(name.split("."), "{}/{}".format)
                waiting += [f"{module}{end}" for module in modules for end in (".py", "/__init__.py")]
    return sorted(found)


def imported_names(source: str) -> Iterator[str]:
    """Modules that a source names in an import, wherever it stands; `a.b` of `from a import b` may be something else than a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{name.name}" for name in node.names))


def training_files() -> Iterator[tuple[str, Path]]:
    """Name in the archive and file of all that `training/` ships."""
    for file in (REPOSITORY / "training").rglob("*"):
        if file.is_file() and file.suffix in SHIPPED_SUFFIXES:
            yield file.relative_to(REPOSITORY).as_posix(), file
