"""The backbone's weights as an object of the bucket: there already, or fetched once from torchvision's own address and checked.

Runs inside `prepare_execution`, so that no job needs a network. The file is streamed: memory holds one part, never the file, and the
object only comes into being once the hash of every byte has been compared.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any

from botocore.exceptions import ClientError

from training.contract import STRIDES
from training.contract.fields import shown

PREFIX = "weights/"
DESCRIPTION = "resnet50.json"
"""Names the file beside it, its sha256, its stride variant and its source; written last, so that it never names half a file."""

DESCRIBED = ("file", "sha256", "stride", "source")
"""The keys of the description, each with a string."""

PART_SIZE = 16 * 1024 * 1024
"""Bytes of one part of the upload."""


class WeightsUnavailable(RuntimeError):  # noqa: N818 - the name is what the state machine shows
    """The weights in the bucket or at their source are not what they should be; the message says what to do."""


class WeightsDownloadInterrupted(RuntimeError):  # noqa: N818 - the name is what the state machine shows, and retries
    """The source could not be reached, or broke off; trying again may help."""


@dataclass(frozen=True)
class Source:
    """A file of weights on the web."""

    url: str
    file: str
    size: int
    """Bytes."""
    sha256: str
    stride: str
    """`v1.5`: torchvision's own layout; `v1`: the stride sits in the first convolution of a block."""


TORCHVISION_RESNET50 = Source(
    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    file="resnet50.pth",
    size=102_530_333,
    sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    stride="v1.5",
)


def stage_weights(s3: Any, bucket: str, source: Source, open_url: Callable[[str], AbstractContextManager[IO[bytes]]]) -> dict[str, str]:
    """Leaves `weights/resnet50.json` and the file it names in the bucket, and returns the former; does nothing if they are there."""
    if present := present_weights(s3, bucket):
        return present
    try:
        with open_url(source.url) as body:
            upload(s3, bucket, PREFIX + source.file, body, source)
    except (OSError, HTTPException) as error:
        raise WeightsDownloadInterrupted(
            f"the ResNet50 weights could not be fetched from {source.url} ({error}); start the execution again, "
            f"or put {PREFIX}{source.file} and {PREFIX}{DESCRIPTION} into s3://{bucket} yourself"
        ) from error
    description = {"file": source.file, "sha256": source.sha256, "stride": source.stride, "source": f"torchvision, {source.url}"}
    s3.put_object(Bucket=bucket, Key=PREFIX + DESCRIPTION, Body=json.dumps(description, indent=2).encode(), ContentType="application/json")
    return description


def present_weights(s3: Any, bucket: str) -> dict[str, str]:
    """The description of the weights in the bucket, empty if there is none; one that is wrong or names no file: WeightsUnavailable."""
    where = f"s3://{bucket}/{PREFIX}{DESCRIPTION}"
    try:
        written = s3.get_object(Bucket=bucket, Key=PREFIX + DESCRIPTION)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return {}
        raise
    description = described(written, where)
    file = description["file"]
    if not exists(s3, bucket, PREFIX + file):
        raise WeightsUnavailable(
            f"{where} names {file!r}, which is not beside it; upload that file, or delete {where} to have torchvision's fetched"
        )
    return description


def described(written: bytes, where: str) -> dict[str, str]:
    """A description that makes sense; what a training job would refuse is refused here, before a machine is paid for."""
    try:
        description = json.loads(written.decode("utf-8"))
    except ValueError as error:
        raise WeightsUnavailable(f"{where} is not JSON in UTF-8 ({error}); delete it to have torchvision's weights fetched") from error
    complete = isinstance(description, dict) and set(description) == set(DESCRIBED)
    if not complete or not all(isinstance(value, str) for value in description.values()):
        raise WeightsUnavailable(
            f"{where} must hold the strings {', '.join(DESCRIBED)} and nothing else, got {shown(description)}; "
            "correct it, or delete it to have torchvision's weights fetched"
        )
    if description["stride"] not in STRIDES or not description["file"] or "/" in description["file"]:
        raise WeightsUnavailable(f'{where} must have "stride" one of {", ".join(STRIDES)} and a "file" beside it, got {shown(description)}')
    if not re.fullmatch("[0-9a-fA-F]{64}", description["sha256"]):
        raise WeightsUnavailable(f'{where} must have as "sha256" the 64 hex digits of its file, got {shown(description["sha256"])}')
    return {key: description[key] for key in DESCRIBED}


def exists(s3: Any, bucket: str, key: str) -> bool:
    """Whether the object is there; any answer but 404 raises."""
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True


def upload(s3: Any, bucket: str, key: str, body: IO[bytes], source: Source) -> None:
    """Streams the body into the object, part by part; on any failure, a wrong hash included, no object and no part is left."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    try:
        digest = hashlib.sha256()
        received = 0
        parts = []
        for number, part in enumerate(parts_of(body), start=1):
            digest.update(part)
            tag = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=part)["ETag"]
            parts.append({"PartNumber": number, "ETag": tag})
            received += len(part)
        if received < source.size:
            raise ConnectionError(f"the connection ended after {received} of {source.size} bytes")
        if digest.hexdigest() != source.sha256:
            raise WeightsUnavailable(f"{source.url} has sha256 {digest.hexdigest()}, not {source.sha256}; nothing was stored")
    except BaseException:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        raise
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})


def parts_of(body: IO[bytes]) -> Iterator[bytes]:
    """Parts of PART_SIZE bytes, the last one shorter; a network body hands out fewer bytes than asked for."""
    part = bytearray()
    while piece := body.read(min(PART_SIZE - len(part), 1024 * 1024)):
        part += piece
        if len(part) == PART_SIZE:
            yield bytes(part)
            part.clear()
    if part:
        yield bytes(part)
