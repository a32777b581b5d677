"""S3 as the Lambda functions use it: objects in memory, pages of listings, multipart uploads that must be completed or aborted."""

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

PAGE = 3
"""Keys of one page: small, so that every listing has several."""


class FakeS3:
    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.largest_part = 0
        self.modified = datetime(2026, 11, 1, tzinfo=UTC)
        """When every object was last written, but for those in `modified_at`."""
        self.modified_at: dict[str, datetime] = {}

    def get_paginator(self, name: str) -> "FakeS3":
        assert name == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's names
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        for start in range(0, len(keys), PAGE):
            yield {"Contents": [self.entry(key) for key in keys[start : start + PAGE]]}
        if not keys:
            yield {"KeyCount": 0}

    def entry(self, key: str) -> dict[str, Any]:
        body = self.objects[key]
        modified = self.modified_at.get(key, self.modified)
        return {"Key": key, "Size": len(body), "ETag": f'"{hashlib.md5(body).hexdigest()}"', "LastModified": modified}  # noqa: S324

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key not in self.objects:
            raise error("NoSuchKey", 404)
        return {"Body": io.BytesIO(self.objects[Key])}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key not in self.objects:
            raise error("404", 404)
        return {"ContentLength": len(self.objects[Key])}

    def put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:  # noqa: N803
        self.objects[Key] = Body

    def create_multipart_upload(self, Bucket: str, Key: str) -> dict[str, str]:  # noqa: N803
        self.uploads[Key] = {}
        return {"UploadId": Key}

    def upload_part(self, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: bytes) -> dict[str, str]:  # noqa: N803
        self.uploads[UploadId][PartNumber] = Body
        self.largest_part = max(self.largest_part, len(Body))
        return {"ETag": f"etag-{PartNumber}"}

    def complete_multipart_upload(self, Bucket: str, Key: str, UploadId: str, MultipartUpload: dict[str, Any]) -> None:  # noqa: N803
        parts = self.uploads.pop(UploadId)
        assert [(each["PartNumber"], each["ETag"]) for each in MultipartUpload["Parts"]] == [(n, f"etag-{n}") for n in sorted(parts)]
        self.objects[Key] = b"".join(parts[number] for number in sorted(parts))

    def abort_multipart_upload(self, Bucket: str, Key: str, UploadId: str) -> None:  # noqa: N803
        del self.uploads[UploadId]


def error(code: str, status: int, operation: str = "Operation", **more: Any) -> ClientError:
    """What boto3 raises when a service refuses."""
    return ClientError({"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}, operation)
