"""Downloads one large file over HTTP, and resumes an interrupted download. Used by `whippet upload dogs`.

The bytes so far are in `<file>.part`, the server's ETag and size in `<file>.part.json`. A later call requests the rest with
`Range` and `If-Range`, so that the download of a file that changed on the server starts again.
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
"""Timeouts to connect, and between two pieces."""
ATTEMPTS = 6
"""The maximum number of consecutive attempts without a new byte."""
PIECE = 1 << 14
"""Bytes written at a time; small, because an interruption loses the last piece."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the total, None if the server does not send it."""


@dataclass(frozen=True)
class Download:
    """A URL, the file to write, and the function that waits between attempts."""

    url: str
    file: Path
    progress: Progress
    sleep: Callable[[float], None] = time.sleep

    def run(self) -> Path:
        """Download the file unless it exists; returns its path."""
        if self.file.is_file():
            return self.file
        self.file.parent.mkdir(parents=True, exist_ok=True)
        failures = 0
        while failures < ATTEMPTS:
            before = self._count_bytes()
            reason = None if before and before == self._read_note()[1] else self._attempt()
            if reason is None:
                self._note.unlink(missing_ok=True)
                return self._part.replace(self.file)
            failures = 0 if self._count_bytes() > before else failures + 1
            self.sleep(min(2.0**failures, 30))
        raise RefusedError(
            f"{self.url} could not be downloaded: {reason}. {self._count_bytes():,} bytes are kept; run the same command again to resume."
        )

    @property
    def _part(self) -> Path:
        return self.file.with_name(f"{self.file.name}.part")

    @property
    def _note(self) -> Path:
        return self.file.with_name(f"{self.file.name}.part.json")

    def _count_bytes(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _read_note(self) -> tuple[str | None, int | None]:
        """Read validator and size of the partial file; both None if the note is missing or damaged."""
        try:
            note = json.loads(self._note.read_text())
        except (FileNotFoundError, ValueError):
            return None, None
        return note["validator"], note["size"]

    def _attempt(self) -> str | None:
        """Send one request and read its body; returns None when the file is complete, else the reason."""
        try:
            with requests.get(self.url, headers=self._headers(), stream=True, timeout=TIMEOUT_S) as answer:
                if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
                    return f"the server answered {answer.status_code} {answer.reason}"
                if answer.status_code == 416:
                    self._part.unlink(missing_ok=True)
                    return "the server has fewer bytes than the partial file, which was deleted"
                size = self._begin(answer)
                self._receive(answer, size)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            return f"the connection broke ({error})"
        if size is not None and self._count_bytes() != size:
            return f"{self._count_bytes():,} of {size:,} bytes arrived"
        return None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        validator, _ = self._read_note()
        if self._count_bytes() and validator:
            return headers | {"Range": f"bytes={self._count_bytes()}-", "If-Range": validator}
        return headers

    def _begin(self, answer: requests.Response) -> int | None:
        """Prepare the partial file for the rest (206) or the whole file (200); returns the total size."""
        if answer.status_code == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != self._count_bytes():
                self._part.unlink()
                raise requests.ConnectionError(f"it sent the range {answer.headers.get('Content-Range')!r}, which was not requested")
            return int(match[2])
        if answer.status_code != 200:
            raise RefusedError(f"{self.url} answered {answer.status_code} {answer.reason}. Check the address and the file.")
        size = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        self._part.write_bytes(b"")
        self._note.write_text(json.dumps({"validator": _find_validator(answer), "size": size}))
        return size

    def _receive(self, answer: requests.Response, size: int | None) -> None:
        with self._part.open("ab") as part:
            for piece in answer.iter_content(PIECE):
                part.write(piece)
                self.progress(part.tell(), size)


def _find_validator(answer: requests.Response) -> str | None:
    """Return the validator for If-Range: a strong ETag, else the date of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")
