"""Links to job folders under names that need no quotes: translated paths stand in the text of shell commands.

Runs in the SageMaker plane. The links lie in one folder of the user's own, so that a plane finds those that a killed one left.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDS_NO_QUOTES = re.compile(r"[\w/.,:@%+=-]+", flags=re.ASCII)


def link_folder() -> Path:
    """Where the links of this user lie. Not in TMPDIR, whose name may need quotes itself."""
    return Path(f"/tmp/whippet-{os.getuid()}")  # noqa: S108 - `_own` makes sure that nobody else can write there


@contextmanager
def shell_safe(base: Path, links: Path) -> Iterator[Path]:
    """`base`, or a link to it in the folder `links`, under a name that needs no quotes. Raises OSError where `links` is not the user's."""
    if NEEDS_NO_QUOTES.fullmatch(str(base)):
        yield base
        return
    _own(links)
    link = links / hashlib.sha256(os.fsencode(base.absolute())).hexdigest()[:16]
    link.unlink(missing_ok=True)
    link.symlink_to(base.absolute(), target_is_directory=True)
    try:
        yield link
    finally:
        link.unlink(missing_ok=True)


def drop_links(links: Path, home: Path) -> None:
    """Remove the links into `home`, whose jobs have ended, and those that lead nowhere; others belong to another plane."""
    if not links.is_dir() or links.stat().st_uid != os.getuid():
        return
    for link in links.iterdir():
        if link.is_symlink() and (link.readlink().is_relative_to(home.absolute()) or not link.exists()):
            link.unlink(missing_ok=True)


def _own(folder: Path) -> None:
    """Make `folder`, or be sure that it is the user's and nobody else can write there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} has to be a folder that only you may enter (mode 0700); remove it, or use a home without spaces")
