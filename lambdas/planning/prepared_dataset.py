"""Prepared data sets in the bucket: what one depends on, and whether an earlier execution left the one that this execution needs.

Runs inside `prepare_execution`. The same photos, weights, code, seed and image make the same data set, so its folder is named after them:
`prepared-data-sets/<32 hex digits>/`. Each job that prepares it writes a folder of its own in there, named after the job, so that no two
ever write the same object. A folder is whole where its dataset.json is there with every file that it names, at its length.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from lambdas.aws.log import log

PREFIX = "prepared-data-sets/"
DESCRIPTION = "dataset.json"
"""{"files": {name: {"bytes": …}, …}, …}; training jobs check each file's digest too."""

MOST_AGE = timedelta(days=50)
"""The bucket forgets data sets after 100 days; an older one than this could go while the execution, redriven perhaps, still needs it."""

Files = Mapping[str, Mapping[str, Any]]
"""Name below a folder -> what the listing says of the object."""


@dataclass(frozen=True)
class Ingredients:
    """All that a prepared data set is made from."""

    photos_sha256: str
    """Over the name, ETag and size of every object under the data prefix."""
    weights_sha256: str
    weights_stride: str
    code: str
    """A hash over the program and all of our own that it imports."""
    image: str
    seed: int

    @property
    def prefix(self) -> str:
        """`prepared-data-sets/<key>/`"""
        return f"{PREFIX}{hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]}/"


def find_prepared(s3: Any, bucket: str, prefix: str, now: datetime) -> str:
    """The newest folder `<prefix><job>/` that is whole and stays for as long as an execution may take; empty where there is none."""
    folders = {folder: files for folder, files in listing(s3, bucket, prefix).items() if DESCRIPTION in files}
    for folder in sorted(folders, key=lambda each: (folders[each][DESCRIPTION]["LastModified"], each), reverse=True):
        if is_whole(folders[folder], described_files(s3, bucket, folder), now):
            return folder
    return ""


def is_whole(found: Files, wanted: Mapping[str, int], now: datetime) -> bool:
    """Whether every wanted file is there at its length, and young enough; a data set without files is none."""
    there = all(name in found and found[name]["Size"] == size for name, size in wanted.items())
    return bool(wanted) and there and all(now - found[name]["LastModified"] < MOST_AGE for name in (DESCRIPTION, *wanted))


def described_files(s3: Any, bucket: str, folder: str) -> Mapping[str, int]:
    """File name -> bytes, as dataset.json has it; nothing where it is gone meanwhile or is not what PrepareDataset writes."""
    try:
        written = s3.get_object(Bucket=bucket, Key=folder + DESCRIPTION)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return {}
        raise
    try:
        return {name: file["bytes"] for name, file in json.loads(written.decode("utf-8"))["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log("DataSetNotUsed", reason=f"s3://{bucket}/{folder}{DESCRIPTION} is damaged ({error!r})")
        return {}


def listing(s3: Any, bucket: str, prefix: str) -> Mapping[str, Files]:
    """Folder `<prefix><job>/` -> its files; a data set has few, and few are made of the same photos before the bucket forgets them."""
    folders: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            job, _, name = entry["Key"].removeprefix(prefix).partition("/")
            folders[f"{prefix}{job}/"][name] = entry
    return folders
