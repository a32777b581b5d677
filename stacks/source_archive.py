"""The source archive: what a training job runs, as one `.tar.gz` whose bytes depend on the sources alone.

Runs at synth. It holds `training/` and the smdebug package, which AWS's image lacks, taken from the environment that synthesises: jobs
have no network, so nothing can be installed there. Same sources, same bytes, same asset: a second synth deploys nothing.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from aws_cdk import Stage
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

REPOSITORY = Path(__file__).resolve().parent.parent
FILE_NAME = "sourcedir.tar.gz"
SHIPPED_SUFFIXES = {".py", ".html", ".txt"}
SMDEBUG_VERSION = "1.0.34"
"""The release that training/compatibility.py makes run on current versions of numpy and protobuf."""


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
            content = members[name].read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def training_files() -> Iterator[tuple[str, Path]]:
    """Name in the archive and file of all that `training/` ships."""
    for file in (REPOSITORY / "training").rglob("*"):
        if file.is_file() and file.suffix in SHIPPED_SUFFIXES:
            yield file.relative_to(REPOSITORY).as_posix(), file


def smdebug_files() -> Iterator[tuple[str, Path]]:
    """Name in the archive and file of the installed smdebug package and of its licence."""
    package = metadata.distribution("smdebug")
    if package.version != SMDEBUG_VERSION:
        raise RuntimeError(
            f"smdebug {package.version} is installed, and training/compatibility.py is made for {SMDEBUG_VERSION}; "
            f"install that one: pip install smdebug=={SMDEBUG_VERSION} -c constraints.txt"
        )
    for entry in package.files or []:
        if entry.parts[0] == "smdebug" and entry.suffix != ".pyc" and "__pycache__" not in entry.parts:
            yield entry.as_posix(), Path(str(entry.locate()))
        elif entry.name.startswith(("LICENSE", "NOTICE")):
            yield f"smdebug/{entry.name}", Path(str(entry.locate()))
