"""One big file over HTTP, taken up where it was cut off. Used by `whippet upload dogs`.

The bytes so far lie in `<file>.part` beside `<file>.part.json` with the server's ETag and size; a later call asks for the rest with
`Range` and `If-Range`, so that a file which changed on the server starts anew instead of being glued together from two.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from cli.terminal.errors import RefusedError

TIMEOUT_S = (10, 60)
"""Seconds to connect, and between two pieces."""
ATTEMPTS = 6
"""Consecutive attempts that bring no byte, before giving up."""
PIECE = 1 << 14
"""Bytes written at a time; the last piece before a break is lost, so they are few."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the bytes in all, None where the server does not say."""


@dataclass(frozen=True)
class Download:
    """A URL, where its file goes, and how to wait between attempts."""

    url: str
    file: Path
    progress: Progress
    sleep: Callable[[float], None] = time.sleep

    def run(self) -> Path:
        """The whole file; a file that is already there is not asked for again."""
        if self.file.is_file():
            return self.file
        self.file.parent.mkdir(parents=True, exist_ok=True)
        failures = 0
        while failures < ATTEMPTS:
            before = self._so_far()
            reason = None if before and before == self._noted()[1] else self._attempt()
            if reason is None:
                self._note.unlink(missing_ok=True)
                return self._part.replace(self.file)
            failures = 0 if self._so_far() > before else failures + 1
            self.sleep(min(2.0**failures, 30))
        raise RefusedError(
            f"{self.url} could not be downloaded: {reason}. {self._so_far():,} bytes are kept; run the same command again to go on."
        )

    @property
    def _part(self) -> Path:
        return self.file.with_name(f"{self.file.name}.part")

    @property
    def _note(self) -> Path:
        return self.file.with_name(f"{self.file.name}.part.json")

    def _so_far(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _noted(self) -> tuple[str | None, int | None]:
        """Validator and size of the file that the part belongs to; neither is known where the note is missing or was cut off itself."""
        try:
            note = json.loads(self._note.read_text())
        except (FileNotFoundError, ValueError):
            return None, None
        return note["validator"], note["size"]

    def _attempt(self) -> str | None:
        """One request, read as far as it goes; None when the file is whole, else what stopped it."""
        try:
            with requests.get(self.url, headers=self._headers(), stream=True, timeout=TIMEOUT_S) as answer:
                if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
                    return f"the server answered {answer.status_code} {answer.reason}"
                if answer.status_code == 416:
                    self._part.unlink(missing_ok=True)
                    return "the server had fewer bytes than were kept, so they were dropped"
                size = self._begin(answer)
                self._receive(answer, size)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            return f"the connection broke ({error})"
        if size is not None and self._so_far() != size:
            return f"{self._so_far():,} of {size:,} bytes arrived"
        return None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        validator, _ = self._noted()
        if self._so_far() and validator:
            return headers | {"Range": f"bytes={self._so_far()}-", "If-Range": validator}
        return headers

    def _begin(self, answer: requests.Response) -> int | None:
        """Makes the part file fit the answer, which is the rest (206) or the whole (200); the size of the whole."""
        if answer.status_code == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != self._so_far():
                self._part.unlink()
                raise requests.ConnectionError(f"it sent the range {answer.headers.get('Content-Range')!r}, which was not asked for")
            return int(match[2])
        if answer.status_code != 200:
            raise RefusedError(f"{self.url} answered {answer.status_code} {answer.reason}. Is the address right, and the file still there?")
        size = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        self._part.write_bytes(b"")
        self._note.write_text(json.dumps({"validator": _strong(answer), "size": size}))
        return size

    def _receive(self, answer: requests.Response, size: int | None) -> None:
        with self._part.open("ab") as part:
            for piece in answer.iter_content(PIECE):
                part.write(piece)
                self.progress(part.tell(), size)


def _strong(answer: requests.Response) -> str | None:
    """What If-Range may carry: a strong ETag, else the date of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")
