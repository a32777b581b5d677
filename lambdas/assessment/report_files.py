"""JSON files of a training job's report, read from S3: whole, or one sentence that says what is wrong with them.

Runs inside AssessModel. `folder` is `s3://<bucket>/executions/<run>/training/<job>`; the report lies below it, uncompressed. A file may be
missing or damaged, for a job whose report fails leaves its model all the same; a refusal by S3 is neither, and is raised.
"""

import json
from typing import Any

from botocore.exceptions import ClientError

REPORT = "report"
"""Folder of the report below the job's own; training/contract/__init__.py promises it."""

MOST_BYTES = 32 * 1024 * 1024
"""Of one file, which is held in memory with all that it says; the longest that a training job writes has 8 MB."""


class DocumentError(Exception):
    """A file of a report that says nothing: `s3://… is missing`, or `s3://… is damaged (…)`."""


def read_document(s3: Any, folder: str, name: str) -> Any:
    """What `<name>.json` of the report holds.

    Raises:
        DocumentError: it is missing, longer than any, or no JSON.
        ClientError: S3 refused the look.
    """
    where = uri(folder, name)
    bucket, _, key = where.removeprefix("s3://").partition("/")
    written = _body(s3, bucket, key, where)
    if len(written) > MOST_BYTES:
        raise DocumentError(f"{where} is damaged (it is longer than {MOST_BYTES:,} bytes)")
    try:
        return json.loads(written.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{where} is damaged ({type(error).__name__})") from error


def uri(folder: str, name: str) -> str:
    """Where a file of the report lies."""
    return f"{folder}/{REPORT}/{name}.json"


def damaged(folder: str, name: str, what: str) -> DocumentError:
    """A file that is JSON, and yet not what a training job writes: `what` is wrong with it."""
    return DocumentError(f"{uri(folder, name)} is damaged ({what})")


def _body(s3: Any, bucket: str, key: str, where: str) -> bytes:
    try:
        body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read(MOST_BYTES + 1)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            raise DocumentError(f"{where} is missing") from error
        raise
    return body
