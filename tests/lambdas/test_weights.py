"""The weights in the bucket: there already, fetched and checked, or not there at all - never half."""

import hashlib
import io
import json
from contextlib import AbstractContextManager
from typing import IO

import pytest

from lambdas.weights import PART_SIZE, TORCHVISION_RESNET50, Source, WeightsDownloadInterrupted, WeightsUnavailable, stage_weights
from tests.lambdas.fake_s3 import FakeS3, error

CONTENT = bytes(range(256)) * (2 * PART_SIZE // 256) + b"the rest"
SOURCE = Source("https://example.org/resnet50.pth", "resnet50.pth", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "v1.5")
DESCRIPTION = {"file": "mine.pth", "sha256": "0", "stride": "v1", "source": "npm"}


class Slow(io.BytesIO):
    """A network body: it hands out what has arrived, which is less than asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 100_000))


def opens(content: bytes) -> "Web":
    return Web(content)


class Web:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []

    def __call__(self, url: str) -> AbstractContextManager[IO[bytes]]:
        self.asked.append(url)
        return Slow(self.content)


class BrokenWeb:
    def __call__(self, url: str) -> AbstractContextManager[IO[bytes]]:
        raise ConnectionResetError("reset by peer")


def described(**changes: object) -> bytes:
    return json.dumps({**DESCRIPTION, **changes}).encode()


def test_absent_weights_are_fetched_part_by_part_and_described() -> None:
    s3, web = FakeS3(), opens(CONTENT)
    stage_weights(s3, "bucket", SOURCE, web)
    assert web.asked == [SOURCE.url]
    assert s3.objects["weights/resnet50.pth"] == CONTENT
    assert s3.largest_part == PART_SIZE
    assert json.loads(s3.objects["weights/resnet50.json"]) == {
        "file": "resnet50.pth",
        "sha256": SOURCE.sha256,
        "stride": "v1.5",
        "source": "torchvision, https://example.org/resnet50.pth",
    }


def test_weights_that_are_there_are_left_alone() -> None:
    s3 = FakeS3({"weights/resnet50.json": described(), "weights/mine.pth": b"x"})
    before = dict(s3.objects)
    stage_weights(s3, "bucket", SOURCE, BrokenWeb())
    assert s3.objects == before


def test_a_second_execution_fetches_nothing() -> None:
    s3 = FakeS3()
    stage_weights(s3, "bucket", SOURCE, opens(CONTENT))
    stage_weights(s3, "bucket", SOURCE, BrokenWeb())


def test_other_bytes_than_promised_are_never_stored() -> None:
    s3 = FakeS3()
    with pytest.raises(WeightsUnavailable, match=r"example.org/resnet50.pth has sha256 [0-9a-f]{64}, not .*; nothing was stored"):
        stage_weights(s3, "bucket", SOURCE, opens(CONTENT[:-1] + b"!"))
    assert (s3.objects, s3.uploads) == ({}, {})


def test_a_body_that_breaks_off_may_be_tried_again() -> None:
    s3 = FakeS3()
    with pytest.raises(WeightsDownloadInterrupted, match="the connection ended after 1000 of"):
        stage_weights(s3, "bucket", SOURCE, opens(CONTENT[:1000]))
    assert (s3.objects, s3.uploads) == ({}, {})


def test_an_unreachable_source_says_what_else_to_do() -> None:
    with pytest.raises(
        WeightsDownloadInterrupted, match=r"reset by peer.*put weights/resnet50.pth and weights/resnet50.json into s3://bucket"
    ):
        stage_weights(FakeS3(), "bucket", SOURCE, BrokenWeb())


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (b"{", "s3://bucket/weights/resnet50.json is not JSON"),
        (b"[]", 'must hold the strings "file", "sha256" and "stride"'),
        (described(sha256=5), 'must hold the strings "file", "sha256" and "stride"'),
        (described(stride="v2"), 'must have "stride" one of v1, v1.5'),
        (described(file="../data/x"), 'a "file" beside it'),
        (described(file="gone.pth"), "names 'gone.pth', which is not beside it"),
    ],
)
def test_a_wrong_description_is_refused_with_a_sentence(written: bytes, sentence: str) -> None:
    with pytest.raises(WeightsUnavailable) as refused:
        stage_weights(FakeS3({"weights/resnet50.json": written, "weights/mine.pth": b"x"}), "bucket", SOURCE, opens(CONTENT))
    assert sentence in str(refused.value)


def test_a_missing_permission_is_not_taken_for_missing_weights() -> None:
    class Closed(FakeS3):
        def get_object(self, Bucket: str, Key: str) -> dict[str, object]:  # noqa: N803
            raise error("AccessDenied", 403)

    with pytest.raises(Exception, match="AccessDenied"):
        stage_weights(Closed(), "bucket", SOURCE, opens(CONTENT))


def test_torchvisions_file_is_pinned() -> None:
    assert TORCHVISION_RESNET50.url.endswith(f"resnet50-{TORCHVISION_RESNET50.sha256[:8]}.pth")
    assert TORCHVISION_RESNET50.size == 102_530_333
