"""The SageMaker plane's documents on disk: one JSON file per job, model, endpoint config and endpoint.

Runs in the SageMaker plane. Files are replaced atomically, so a kill at any moment leaves the last written document.
A document is the service's Describe answer; keys that start with an underscore are internal and not part of answers.
"""

import json
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Watcher = Callable[[str, Document | None, Document | None], None]
"""Called with the kind, and the document before and after a change; None before its creation and after its deletion."""


class Store:
    """Documents by kind and name, kept in memory and written to `folder` on each change. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Load the documents of an earlier plane from `folder`."""
        self._folder = folder
        self._lock = threading.RLock()
        self._documents: dict[str, dict[str, Document]] = {}
        self._watchers: list[Watcher] = []
        for path in sorted(folder.glob("*/*.json")):
            self._documents.setdefault(path.parent.name, {})[path.stem] = json.loads(path.read_text())

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` on each change from now on. The store is locked during the call: it must neither wait nor change documents."""
        self._watchers.append(watcher)

    def create(self, kind: str, name: str, document: Mapping[str, Any]) -> bool:
        """Add a document; returns False, without a change, when the name exists."""
        with self._lock:
            if name in self._documents.get(kind, {}):
                return False
            self._put(kind, name, dict(document))
            return True

    def get(self, kind: str, name: str) -> Document | None:
        """Return a copy of a document, None when it does not exist."""
        with self._lock:
            document = self._documents.get(kind, {}).get(name)
            return json.loads(json.dumps(document)) if document is not None else None

    def update(self, kind: str, name: str, **changes: Any) -> None:
        """Change members of an existing document; a member set to None is removed."""
        with self._lock:
            document = {**self._documents[kind][name], **changes}
            self._put(kind, name, {key: value for key, value in document.items() if value is not None})

    def update_if(self, kind: str, name: str, member: str, allowed: Collection[Any], **changes: Any) -> bool:
        """Change a document if its `member` has one of the `allowed` values; returns False, without a change, otherwise."""
        with self._lock:
            if self._documents[kind][name].get(member) not in allowed:
                return False
            self.update(kind, name, **changes)
            return True

    def delete(self, kind: str, name: str) -> bool:
        """Remove a document; returns False when it does not exist."""
        with self._lock:
            document = self._documents.get(kind, {}).pop(name, None)
            if document is None:
                return False
            self._path(kind, name).unlink(missing_ok=True)
            self._notify(kind, document, None)
            return True

    def list_all(self, kind: str, where: Callable[[Document], bool] = lambda _document: True) -> list[Document]:
        """Return copies of the documents of a kind for which `where`, which must not change them, is true."""
        with self._lock:
            return [json.loads(json.dumps(document)) for document in self._documents.get(kind, {}).values() if where(document)]

    def _put(self, kind: str, name: str, document: Document) -> None:
        path = self._path(kind, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(document, indent=1))
        unfinished.replace(path)
        before = self._documents.setdefault(kind, {}).get(name)
        self._documents[kind][name] = document
        self._notify(kind, before, document)

    def _notify(self, kind: str, before: Document | None, after: Document | None) -> None:
        for watcher in self._watchers:
            watcher(kind, before, after)

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / kind / f"{name}.json"
