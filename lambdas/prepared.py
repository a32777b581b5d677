"""Prepared data sets in the bucket: what one depends on, and whether an earlier execution left the one that this execution needs.

Runs inside `prepare_execution`. The same photos, weights, code, seed and image always make the same data set, so its folder is named
after them: `prepared/<32 hex digits>/`. Its dataset.json names every other file with its length; where one is missing, the data set is
made again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

PREFIX = "prepared/"
DESCRIPTION = "dataset.json"
"""{"files": {name: {"bytes": …}, …}, …}; training jobs check each file's digest too."""

MOST_AGE = timedelta(days=75)
"""The bucket forgets data sets after 90 days; one that is older than this could go while the execution still needs it."""


@dataclass(frozen=True)
class Ingredients:
    """All that a prepared data set is made from."""

    photos_sha256: str
    """Over the name, ETag and size of every object under the data prefix."""
    weights_sha256: str
    weights_stride: str
    source_archive: str
    """The archive's object key, which is a hash of its content."""
    image: str
    seed: int

    @property
    def prefix(self) -> str:
        """`prepared/<key>/`"""
        return f"{PREFIX}{hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]}/"


def is_prepared(s3: Any, bucket: str, prefix: str, now: datetime) -> bool:
    """Whether the data set lies there whole and stays for as long as an execution may take; anything else is no, and it is made again."""
    wanted = described_files(s3, bucket, prefix)
    if not wanted:
        return False
    found = {entry["Key"].removeprefix(prefix): entry for entry in listing(s3, bucket, prefix)}
    whole = all(name in found and found[name]["Size"] == size for name, size in wanted.items())
    return whole and all(now - found[name]["LastModified"] < MOST_AGE for name in wanted)


def described_files(s3: Any, bucket: str, prefix: str) -> Mapping[str, int]:
    """File name -> bytes, as dataset.json has it; nothing where it is not there or is not what PrepareDataset writes."""
    try:
        written = s3.get_object(Bucket=bucket, Key=prefix + DESCRIPTION)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return {}
        raise
    try:
        return {name: file["bytes"] for name, file in json.loads(written.decode("utf-8"))["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        print(f"s3://{bucket}/{prefix}{DESCRIPTION} is damaged ({error!r}), so the data set is prepared again")
        return {}


def listing(s3: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """Every object under the prefix; a data set has few files."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", [])]
