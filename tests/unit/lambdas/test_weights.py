"""The weights in the bucket: there already, fetched and checked, or not there at all - never half."""

import hashlib
import io
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pytest

from lambdas.planning.weights import PART_SIZE, TORCHVISION_RESNET50, Source, WeightsDownloadInterrupted, WeightsUnavailable, stage_weights
from tests.fixtures.lambdas.fake_s3 import FakeS3, error
from training.network.resnet50 import WeightsError, load_backbone

CONTENT = bytes(range(256)) * (2 * PART_SIZE // 256) + b"the rest"
SOURCE = Source("https://example.org/resnet50.pth", "resnet50.pth", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "v1.5")
FILE = b"not really weights"
DESCRIPTION = {"file": "mine.pth", "sha256": hashlib.sha256(FILE).hexdigest(), "stride": "v1", "source": "a friend"}


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
    assert stage_weights(s3, "bucket", SOURCE, web) == json.loads(s3.objects["weights/resnet50.json"])
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


WRONG = [
    (b"{", "s3://bucket/weights/resnet50.json is not JSON in UTF-8"),
    (b"\xef\xbb\xbf" + described(), "is not JSON in UTF-8"),
    (b"[]", "must hold the strings file, sha256, stride, source and nothing else, got []"),
    (described(sha256=5), "must hold the strings file, sha256, stride, source and nothing else, got {"),
    (described(note="trained in May"), "and nothing else, got {"),
    (json.dumps({key: value for key, value in DESCRIPTION.items() if key != "source"}).encode(), "must hold the strings"),
    (described(stride="v2"), 'must have "stride" one of v1, v1.5'),
    (described(file="../data/x"), 'a "file" beside it'),
    (described(file=""), 'a "file" beside it'),
    (described(sha256="0123"), "must have as \"sha256\" the 64 hex digits of its file, got '0123'"),
    (described(file="gone.pth"), "names 'gone.pth', which is not beside it"),
]


@pytest.mark.parametrize(("written", "sentence"), WRONG)
def test_a_wrong_description_is_refused_with_a_sentence(written: bytes, sentence: str) -> None:
    with pytest.raises(WeightsUnavailable) as refused:
        stage_weights(FakeS3({"weights/resnet50.json": written, "weights/mine.pth": FILE}), "bucket", SOURCE, opens(CONTENT))
    assert sentence in str(refused.value)


@pytest.mark.parametrize("written", [described(), described(stride="v1.5"), described(sha256=DESCRIPTION["sha256"].upper())])
def test_a_training_job_takes_a_description_that_is_taken_here(tmp_path: Path, written: bytes) -> None:
    """What the job then refuses is the file, which is not read here."""
    s3 = FakeS3({"weights/resnet50.json": written, "weights/mine.pth": FILE})
    assert stage_weights(s3, "bucket", SOURCE, BrokenWeb()) == json.loads(written)
    with pytest.raises(WeightsError, match=r"mine\.pth is not a plain state_dict"):
        load_backbone(weights_channel(tmp_path, written))


@pytest.mark.parametrize("written", [written for written, _ in WRONG])
def test_a_description_that_is_refused_here_fails_a_training_job(tmp_path: Path, written: bytes) -> None:
    with pytest.raises((WeightsError, AttributeError)) as refused:
        load_backbone(weights_channel(tmp_path, written))
    assert "is not a plain state_dict" not in str(refused.value)


def weights_channel(folder: Path, written: bytes) -> Path:
    (folder / "resnet50.json").write_bytes(written)
    (folder / "mine.pth").write_bytes(FILE)
    return folder


def test_a_missing_permission_is_not_taken_for_missing_weights() -> None:
    class Closed(FakeS3):
        def get_object(self, Bucket: str, Key: str) -> dict[str, object]:  # noqa: N803
            raise error("AccessDenied", 403)

    with pytest.raises(Exception, match="AccessDenied"):
        stage_weights(Closed(), "bucket", SOURCE, opens(CONTENT))


def test_torchvisions_file_is_pinned() -> None:
    assert TORCHVISION_RESNET50.url.endswith(f"resnet50-{TORCHVISION_RESNET50.sha256[:8]}.pth")
    assert TORCHVISION_RESNET50.size == 102_530_333
