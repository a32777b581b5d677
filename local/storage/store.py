"""What the SageMaker plane knows, on disk: one JSON file for each job, model, endpoint config and endpoint.

Runs in the SageMaker plane. A file is replaced whole or not at all, so a kill at any moment leaves the last written document.
A document is the service's Describe answer; keys that start with an underscore are the plane's own and never leave it.
"""

import json
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Watcher = Callable[[str, Document | None, Document | None], None]
"""Told the kind, and the document before and after a change; None before it was made and after it was deleted."""


class Store:
    """Documents by kind and name, kept in memory and written to `folder` at each change. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Read what an earlier plane left in `folder`."""
        self._folder = folder
        self._lock = threading.RLock()
        self._documents: dict[str, dict[str, Document]] = {}
        self._watchers: list[Watcher] = []
        for path in sorted(folder.glob("*/*.json")):
            self._documents.setdefault(path.parent.name, {})[path.stem] = json.loads(path.read_text())

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` at each change from now on. It is called while the store is locked, and must neither wait nor change documents."""
        self._watchers.append(watcher)

    def create(self, kind: str, name: str, document: Mapping[str, Any]) -> bool:
        """Add a document; False, and nothing changed, when the name is taken."""
        with self._lock:
            if name in self._documents.get(kind, {}):
                return False
            self._put(kind, name, dict(document))
            return True

    def get(self, kind: str, name: str) -> Document | None:
        """A copy of a document, None when there is none."""
        with self._lock:
            document = self._documents.get(kind, {}).get(name)
            return json.loads(json.dumps(document)) if document is not None else None

    def update(self, kind: str, name: str, **changes: Any) -> None:
        """Change members of a document that exists; a member set to None is removed."""
        with self._lock:
            document = {**self._documents[kind][name], **changes}
            self._put(kind, name, {key: value for key, value in document.items() if value is not None})

    def update_if(self, kind: str, name: str, member: str, allowed: Collection[Any], **changes: Any) -> bool:
        """Change a document while its `member` has one of the `allowed` values; False, and nothing changed, when it has another."""
        with self._lock:
            if self._documents[kind][name].get(member) not in allowed:
                return False
            self.update(kind, name, **changes)
            return True

    def delete(self, kind: str, name: str) -> bool:
        """Remove a document; False when there was none."""
        with self._lock:
            document = self._documents.get(kind, {}).pop(name, None)
            if document is None:
                return False
            self._path(kind, name).unlink(missing_ok=True)
            self._tell(kind, document, None)
            return True

    def all(self, kind: str, where: Callable[[Document], bool] = lambda _document: True) -> list[Document]:
        """Copies of the documents of a kind that `where`, which must not change them, is true of."""
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
        self._tell(kind, before, document)

    def _tell(self, kind: str, before: Document | None, after: Document | None) -> None:
        for watcher in self._watchers:
            watcher(kind, before, after)

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / kind / f"{name}.json"
