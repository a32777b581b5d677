"""The page: whole in one file, nothing in it that its own policy would not allow, and every name escaped."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lambdas.show_page import PAGE, handler
from training.contract.photos import CONTENT_TYPES, LARGEST_PHOTO_BYTES

NODE = Path(sys.executable).parent / "node"
HARNESS = Path(__file__).with_name("page_harness.mjs")
ANSWER = {
    "class": "<b>rook</b>",
    "predictions": [{"class": "<b>rook</b>", "probability": 0.93}, {"class": "king", "probability": 0.07}],
    "model": "whippet-1",
}
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_comes_with_its_policy() -> None:
    response = handler({}, None)
    assert response["statusCode"] == 200
    assert response["headers"]["Content-Type"] == "text/html; charset=utf-8"
    assert response["body"] == TEXT


@pytest.mark.parametrize("element", ["script", "style"])
def test_only_the_pages_own_script_and_style_may_run(element: str) -> None:
    policy = handler({}, None)["headers"]["Content-Security-Policy"]
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", TEXT, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    assert f"{element}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline() -> None:
    assert re.findall(r"https?://", TEXT) == []
    assert re.findall(r"<[^>]+\s(on\w+|style)=", TEXT) == []


def test_what_the_api_answers_is_only_ever_text() -> None:
    assert [word for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(") if word in TEXT] == []


def test_the_page_knows_the_apis_limits() -> None:
    assert f"LARGEST = {LARGEST_PHOTO_BYTES}" in TEXT
    assert f'accept="{",".join(CONTENT_TYPES)}"' in TEXT


def dropped(tmp_path: Path, pathname: str = "/v1/", status: int = 200, answer: object = None, size: int = 1000) -> dict[str, Any]:
    """What the page asks and shows when a photo is chosen, its script run by Node."""
    (script,) = re.findall(r"<script>(.*?)</script>", TEXT, re.DOTALL)
    file = tmp_path / "page.js"
    file.write_text(script, encoding="utf-8")
    arguments: list[str] = [str(file), pathname, str(status), json.dumps(ANSWER if answer is None else answer), str(size)]
    done = subprocess.run([str(NODE), str(HARNESS), *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("pathname", "url"),
    [
        ("/v1/", "/v1/predict"),
        ("/v1", "/v1/predict"),
        ("/restapis/6fbdc04e/v1/_user_request_/", "/restapis/6fbdc04e/v1/_user_request_/predict"),
        ("/restapis/6fbdc04e/v1/_user_request_", "/restapis/6fbdc04e/v1/_user_request_/predict"),
    ],
)
def test_the_photo_is_posted_beside_the_page(tmp_path: Path, pathname: str, url: str) -> None:
    assert dropped(tmp_path, pathname)["asked"] == [{"url": url, "method": "POST", "type": "image/png", "bytes": 1000}]


def test_the_answer_is_shown_as_bars(tmp_path: Path) -> None:
    shown = dropped(tmp_path)
    assert shown["status"] == "This looks like: <b>rook</b>"
    assert shown["rows"] == [["<b>rook</b>", "93.0 %", 0.93], ["king", "7.0 %", 0.07]]
    assert shown["model"] == "Model: whippet-1"
    assert not shown["bad"]


@pytest.mark.parametrize(
    ("status", "answer", "sentence"),
    [
        (415, {"error": "send a photo"}, "send a photo"),
        (403, {"error": "Missing Authentication Token"}, "signed requests only"),
        (500, {"message": "Internal server error"}, "Internal server error"),
        (502, {}, "status 502"),
    ],
)
def test_a_refusal_is_shown_as_its_sentence(tmp_path: Path, status: int, answer: object, sentence: str) -> None:
    shown = dropped(tmp_path, status=status, answer=answer)
    assert sentence in shown["status"]
    assert shown["bad"]
    assert shown["rows"] == []


def test_a_photo_that_is_too_large_is_not_sent(tmp_path: Path) -> None:
    shown = dropped(tmp_path, size=LARGEST_PHOTO_BYTES + 1)
    assert shown["asked"] == []
    assert "at most 4500000 are taken" in shown["status"]
