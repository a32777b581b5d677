"""Saves the AWS engine's complete state every few seconds: ministack itself saves only at a regular end.

Runs in the engine process, started by `local.engine.adapter`. A snapshot is a folder with one file per service. A symbolic link
moves to it when it is complete, so that a kill at any moment leaves one complete snapshot.
"""

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

INTERVAL_S = 2.0
log = logging.getLogger("snapshots")


class Snapshots(threading.Thread):
    """A thread that saves after requests that change the state. The engine loads from `link`, a link to the newest snapshot."""

    def __init__(
        self,
        link: Path,
        states: Callable[[], Mapping[str, Callable[[], Any]]],
        encode: Callable[[str, Any], str],
        is_quiet: Callable[[], bool],
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`states` returns each service's state function, `encode` its file's text; saving waits for `is_quiet`."""
        super().__init__(daemon=True, name="snapshots")
        self._link = link
        self._states = states
        self._encode = encode
        self._is_quiet = is_quiet
        self._interval_s = interval_s
        self._changed = threading.Event()
        self._saving = threading.Lock()
        self._failing = False

    def watch(self, served: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Wrap the ASGI application `served`: notes each request that may have changed the state."""

        async def watched(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await served(scope, receive, send)
            if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                self._changed.set()

        return watched

    def run(self) -> None:
        """Save in a loop; changes during a save are saved the next time. A longer pause follows a long save."""
        while True:
            self._changed.wait()
            self._changed.clear()
            began = time.monotonic()
            if not self._try_to_save():
                self._changed.set()
            time.sleep(max(self._interval_s, 20 * (time.monotonic() - began)))

    def _try_to_save(self) -> bool:
        """Save; logs a full disk or a state that cannot be encoded once, and retries until it succeeds."""
        try:
            saved = self.save()
        except (OSError, TypeError, ValueError):
            if not self._failing:
                log.exception("the engine's state could not be saved and new changes would be lost in a kill; saving is retried")
            self._failing = True
            return False
        self._failing = self._failing and not saved
        return saved

    def save(self) -> bool:
        """Save now; returns False, without saving, when the state is changing."""
        with self._saving:
            if not self._is_quiet():
                return False
            try:
                texts = {service: self._encode(service, state) for service, get in self._states().items() if (state := get()) is not None}
            except RuntimeError:  # a dictionary that changed while it was read
                return False
            self._write(texts)
            return True

    def save_last(self, _states: object = None) -> None:
        """Save at the engine's end, in place of the engine's own save, and block later saves."""
        for _attempt in range(20):
            if self.save():
                break
            time.sleep(0.1)
        self._saving.acquire()

    def _write(self, texts: Mapping[str, str]) -> None:
        """Write a new folder with the present states and the earlier files of services that are not loaded yet; then move the link."""
        self._link.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{self._link.name}-", dir=self._link.parent))
        for earlier in self._link.glob("*.json"):
            if earlier.stem not in texts:
                shutil.copy2(earlier, folder)
        for service, text in texts.items():
            (folder / f"{service}.json").write_text(text)
        new_link = folder.with_suffix(".link")
        new_link.symlink_to(folder.name)
        new_link.replace(self._link)
        self._drop_others(folder)

    def _drop_others(self, kept: Path) -> None:
        for other in self._link.parent.glob(f"{self._link.name}-*"):
            if other.is_symlink():
                other.unlink()
            elif other != kept:
                shutil.rmtree(other, ignore_errors=True)


def list_ownerless(buckets: Iterable[str], owned: Iterable[str]) -> list[str]:
    """List CDK's asset buckets without a stack.

    A kill between the bootstrap and the next snapshot leaves the bucket on disk without its stack, and the next bootstrap would find
    its name taken. The next deployment uploads its contents again.
    """
    return sorted(name for name in set(buckets) - set(owned) if name.startswith("cdk-") and "-assets-" in name)
