"""A job folder under a name that needs no quotes: translated paths stand in the text of shell commands. Runs in the SageMaker plane."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDS_NO_QUOTES = re.compile(r"[\w/.,:@%+=-]+", flags=re.ASCII)


@contextmanager
def shell_safe(base: Path) -> Iterator[Path]:
    """`base`, or a link to it in a temporary folder that only this user may enter, under a name that needs no quotes."""
    if NEEDS_NO_QUOTES.fullmatch(str(base)):
        yield base
        return
    # not in TMPDIR, whose name may need quotes itself
    with tempfile.TemporaryDirectory(prefix="whippet-", dir="/tmp") as folder:
        link = Path(folder, "ml")
        link.symlink_to(base.absolute(), target_is_directory=True)
        yield link
