"""Downloads S3 prefixes into folders, and mirrors folders back under a prefix.

Runs in the SageMaker plane, for processing jobs, training jobs and model servers. Keys are untrusted input, so each is checked before
it becomes a file name: an object cannot land outside its folder.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOWNLOAD_THREADS = 6
CACHED_CHANNELS = 6
# Linux: let two files share their blocks until one is written to. Some file systems and other operating systems refuse it.
FICLONE = 0x40049409


class DownloadError(Exception):
    """Objects could not be downloaded; the message becomes a FailureReason."""


@dataclass(frozen=True)
class S3Object:
    """One object: its key, ETag and size in bytes."""

    key: str
    etag: str
    size: int


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Split an s3:// URI into bucket and key; characters such as `?` and `#` are part of the key."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise DownloadError(f"{uri!r} is not an S3 URI such as s3://bucket/prefix")
    return bucket, key


def make_relative_name(key: str, prefix: str) -> str:
    """Return the path, relative to the channel's folder, of the object `key` of a channel with this prefix.

    An object whose key is the prefix keeps its file name; so does an object whose name starts with the prefix's last part. Raises
    DownloadError for a key that cannot be a file name (`..`, empty or over-long parts).
    """
    rest = key[len(prefix) :]
    if prefix == "" or (prefix.endswith("/") and rest):
        name = rest
    elif rest.startswith("/"):
        name = rest[1:]
    else:
        name = key[prefix.rfind("/") + 1 :]
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > 255 for part in parts):
        raise DownloadError(
            f"the object key {key!r} cannot be a file name: it has an empty, '.', '..' or over-long part; rename or delete it"
        )
    return name


def list_objects(s3: Any, bucket: str, prefix: str) -> list[S3Object]:
    """List the objects whose key starts with `prefix`, sorted by key, without folder markers (keys that end in a slash)."""
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        found += [S3Object(item["Key"], item["ETag"], item["Size"]) for item in page.get("Contents", ()) if not item["Key"].endswith("/")]
    return sorted(found, key=lambda item: item.key)


def download(s3: Any, bucket: str, names: dict[str, S3Object], folder: Path, as_listed: bool = True) -> None:
    """Download objects to `folder`/<relative name>, several at a time.

    Raises DownloadError for an object that changed since it was listed; with `as_listed` false, downloads its present content instead.
    """

    def fetch(item: tuple[str, S3Object]) -> None:
        name, wanted = item
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            condition = {"IfMatch": wanted.etag} if as_listed else {}
            with path.open("wb") as file:
                shutil.copyfileobj(s3.get_object(Bucket=bucket, Key=wanted.key, **condition)["Body"], file, 1 << 20)
        except s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "NoSuchKey"):
                raise
            if not as_listed:
                path.unlink(missing_ok=True)
                return
            raise DownloadError(f"the object {wanted.key!r} changed while it was downloaded; start the job again: {error}") from error
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            raise DownloadError(
                f"the object {wanted.key!r} cannot be a file: another object's key makes its folder a file or its name a folder"
            ) from error

    with ThreadPoolExecutor(DOWNLOAD_THREADS) as pool:
        list(pool.map(fetch, names.items()))


class ChannelCache:
    """Channels as folders: downloaded once while their objects stay the same, and copied for each job, which may modify its copy."""

    def __init__(self, folder: Path, s3: Any) -> None:
        """Keep downloads under `folder`; `s3` is a boto3 client."""
        self._folder = folder
        self._s3 = s3
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def provide(self, uri: str, destination: Path) -> int:
        """Fill `destination` with the objects under `uri`; returns their number. Raises DownloadError when it is 0."""
        bucket, prefix = split_s3_uri(uri)
        try:
            objects = list_objects(self._s3, bucket, prefix)
        except self._s3.exceptions.NoSuchBucket as error:
            raise DownloadError(f"the bucket {bucket!r} of {uri} does not exist") from error
        if not objects:
            raise DownloadError(f"No S3 objects found under S3 URL {uri!r} given in input data source")
        names = {make_relative_name(item.key, prefix): item for item in objects}
        identity = hashlib.sha256(json.dumps([bucket, prefix, [[o.key, o.etag, o.size] for o in objects]]).encode()).hexdigest()[:32]
        with self._lock:
            lock = self._locks.setdefault(identity, threading.Lock())
        with lock:
            self._copy(self._ensure_cached(identity, bucket, names), names, destination)
        return len(names)

    def _ensure_cached(self, identity: str, bucket: str, names: dict[str, S3Object]) -> Path:
        """Return the cached folder; downloads it again if it is missing or was modified."""
        cached = self._folder / identity
        if not self._is_intact(cached, names):
            shutil.rmtree(cached, ignore_errors=True)
            unfinished = self._folder / f"{identity}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            download(self._s3, bucket, names, unfinished)
            times = {name: (unfinished / name).stat().st_mtime_ns for name in names}
            unfinished.rename(cached)
            (self._folder / f"{identity}.json").write_text(json.dumps(times))
            self._drop_old(keep=identity)
        os.utime(cached)
        return cached

    def _is_intact(self, cached: Path, names: dict[str, S3Object]) -> bool:
        try:
            times = json.loads((self._folder / f"{cached.name}.json").read_text())
            found = {name: (cached / name).stat() for name in names}
        except (OSError, ValueError):
            return False
        return all(found[name].st_size == item.size and found[name].st_mtime_ns == times.get(name) for name, item in names.items())

    def _copy(self, cached: Path, names: Iterable[str], destination: Path) -> None:
        for name in names:
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with (cached / name).open("rb") as source, target.open("xb") as copy:
                try:
                    fcntl.ioctl(copy, FICLONE, source.fileno())
                except OSError:
                    shutil.copyfileobj(source, copy, 1 << 20)

    def _drop_old(self, keep: str) -> None:
        """Keep only the newest channels: jobs have their own copies."""
        folders = sorted((path for path in self._folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime, reverse=True)
        with self._lock:
            for path in folders[CACHED_CHANNELS:]:
                lock = self._locks.get(path.name)
                if path.name != keep and path.suffix == "" and not (lock and lock.locked()):
                    shutil.rmtree(path, ignore_errors=True)
                    (self._folder / f"{path.name}.json").unlink(missing_ok=True)


class Mirror:
    """Uploads a folder's new and changed files under an S3 prefix, as often as `sync` is called."""

    def __init__(self, s3: Any, folder: Path, uri: str) -> None:
        """Mirror `folder` to `uri`."""
        self._s3 = s3
        self._folder = folder
        self._bucket, prefix = split_s3_uri(uri)
        self._prefix = prefix.rstrip("/")
        self._sent: dict[str, tuple[int, int]] = {}

    def restore(self) -> None:
        """Download the objects under the prefix, as SageMaker does with checkpoints before a job starts.

        Several jobs may share the prefix: a file that another job is changing is downloaded as it is at that moment.
        """
        prefix = f"{self._prefix}/"
        objects = list_objects(self._s3, self._bucket, prefix)
        names = {make_relative_name(item.key, prefix): item for item in objects}
        download(self._s3, self._bucket, names, self._folder, as_listed=False)
        self._sent = self._list_files()

    def sync(self) -> None:
        """Upload the files that are new or changed since the last call; skips a file that disappears meanwhile."""
        for name, state in self._list_files().items():
            if self._sent.get(name) != state:
                _check_name(name)
                try:
                    self._s3.upload_file(str(self._folder / name), self._bucket, f"{self._prefix}/{name}".lstrip("/"))
                except FileNotFoundError:
                    continue
                self._sent[name] = state

    def _list_files(self) -> dict[str, tuple[int, int]]:
        found = {}
        for folder, _folders, names in os.walk(self._folder):
            for name in names:
                path = Path(folder) / name
                try:
                    state = path.stat()
                except FileNotFoundError:
                    continue
                # Pipes and sockets have no content to upload, and opening a pipe would wait for its writer.
                if stat.S_ISREG(state.st_mode):
                    found[path.relative_to(self._folder).as_posix()] = (state.st_size, state.st_mtime_ns)
        return found


def _check_name(name: str) -> None:
    """Raise an OSError for a file name that is not UTF-8: object keys are UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise OSError(errno.EILSEQ, f"the file {name!r} cannot be an object's key: it is not UTF-8") from error


def download_file(s3: Any, uri: str, path: Path) -> None:
    """Download the object at `uri`; raises DownloadError when it does not exist."""
    bucket, key = split_s3_uri(uri)
    try:
        s3.download_file(bucket, key, str(path))
    except s3.exceptions.ClientError as error:
        raise DownloadError(f"could not find model data at {uri}: {error}") from error


def upload_file(s3: Any, path: Path, uri: str) -> None:
    """Upload one file to `uri`."""
    bucket, key = split_s3_uri(uri)
    s3.upload_file(str(path), bucket, key)


def join_uri(uri: str, *parts: str) -> str:
    """Append `parts` to an S3 URI, with or without slashes at its end."""
    return "/".join((uri.rstrip("/"), *parts))


def is_inside(path: str, folders: Sequence[str]) -> bool:
    """Whether an absolute POSIX path without `..` is one of `folders` or lies below one."""
    return ".." not in Path(path).parts and any(path == folder or path.startswith(folder + "/") for folder in folders)
