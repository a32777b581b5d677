"""Tags of the SageMaker plane's resources, by ARN: AddTags, ListTags, DeleteTags.

Runs in the SageMaker plane. Tags are stored and listed, without effect (ACCEPTED in local.api.feature_support).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from local.storage.store import Store

KIND = "tags"


class Tags:
    """The tags of every resource."""

    def __init__(self, store: Store) -> None:
        """Keep tags in `store`."""
        self._store = store

    def add(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """AddTags: an existing key gets the new value."""
        tags = {**self.read(request["ResourceArn"]), **{tag["Key"]: tag["Value"] for tag in request["Tags"]}}
        return {"Tags": self._put(request["ResourceArn"], tags)}

    def list_tags(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTags."""
        return {"Tags": [{"Key": key, "Value": value} for key, value in self.read(request["ResourceArn"]).items()]}

    def delete(self, request: Mapping[str, Any]) -> None:
        """DeleteTags."""
        tags = {key: value for key, value in self.read(request["ResourceArn"]).items() if key not in request["TagKeys"]}
        self._put(request["ResourceArn"], tags)

    def keep_from_request(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Store the Tags of a Create request for the ARN in its answer; they replace those of a deleted resource with this name."""
        arn = next(iter(answer.values()))
        if request.get("Tags") or self.read(arn):
            self._put(arn, {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())})

    def read(self, arn: str) -> dict[str, str]:
        """Return the tags of a resource."""
        document = self._store.get(KIND, _make_key(arn)) or {"tags": {}}
        return dict(document["tags"])

    def _put(self, arn: str, tags: dict[str, str]) -> list[dict[str, str]]:
        if not self._store.create(KIND, _make_key(arn), {"arn": arn, "tags": tags}):
            self._store.update(KIND, _make_key(arn), tags=tags)
        return [{"Key": key, "Value": value} for key, value in tags.items()]


def _make_key(arn: str) -> str:
    return hashlib.sha256(arn.encode()).hexdigest()[:32]
