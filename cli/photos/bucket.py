"""Uploads files to the bucket in parallel: skips unchanged ones, and deletes only on request. Used by `whippet upload`."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cli.terminal.errors import RefusedError

THREADS = 16
BATCH = 1000
"""The maximum number of keys in one DeleteObjects."""


@dataclass(frozen=True)
class Uploaded:
    """The result of an upload."""

    sent: int
    skipped: int
    deleted: int
    others: int
    """Objects under the prefix that are not in the new set and were kept."""


@dataclass(frozen=True)
class Bucket:
    """One bucket, through an S3 client."""

    s3: Any
    name: str

    def upload(self, prefix: str, files: Mapping[str, Path], replace: bool, progress: Callable[[int], None]) -> Uploaded:
        """Put each file at `prefix` + its name; `replace` deletes other objects there. Calls `progress` with 1 per file."""
        present = self.objects(prefix)
        sent = 0
        with ThreadPoolExecutor(THREADS) as pool:
            tasks = [pool.submit(self._put_if_other, f"{prefix}{name}", file, present) for name, file in files.items()]
            try:
                for task in as_completed(tasks):
                    sent += task.result()
                    progress(1)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        others = sorted(present.keys() - {f"{prefix}{name}" for name in files})
        if replace:
            self.delete(others)
        return Uploaded(sent, len(files) - sent, len(others) if replace else 0, 0 if replace else len(others))

    def objects(self, prefix: str) -> dict[str, tuple[int, str]]:
        """Return key -> (bytes, ETag) of all objects under a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return {entry["Key"]: (entry["Size"], entry["ETag"].strip('"')) for page in pages for entry in page.get("Contents", [])}

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the objects; the bucket is versioned, so their last version can be restored."""
        for start in range(0, len(keys), BATCH):
            objects = [{"Key": key} for key in keys[start : start + BATCH]]
            answer = self.s3.delete_objects(Bucket=self.name, Delete={"Objects": objects, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise RefusedError(
                    f"{len(answer['Errors'])} objects could not be deleted, the first {first['Key']}: {first.get('Message')}"
                )

    def put(self, key: str, body: bytes) -> None:
        """Put one small object."""
        self.s3.put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key: str) -> bytes | None:
        """Return the object's bytes, None if it does not exist."""
        try:
            return bytes(self.s3.get_object(Bucket=self.name, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise

    def download(self, prefix: str, folder: Path) -> list[str]:
        """Download all objects under a prefix into a folder; returns their names below it."""
        names = [key.removeprefix(prefix) for key in self.objects(prefix) if not key.endswith("/")]
        for name in names:
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(self.name, f"{prefix}{name}", str(file))
        return names

    def _put_if_other(self, key: str, file: Path, present: Mapping[str, tuple[int, str]]) -> bool:
        """Put the file unless it is unchanged; returns whether it was sent. The ETag of an object put in one piece is its MD5."""
        size, etag = present.get(key, (-1, ""))
        if size == file.stat().st_size and etag == _md5(file):
            return False
        with file.open("rb") as body:
            self.s3.put_object(Bucket=self.name, Key=key, Body=body)
        return True


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
