"""The page: whole in one file, nothing in it that its own policy would not allow, and every name escaped."""

import base64
import hashlib
import re

import pytest

from lambdas.invoke_endpoint import LARGEST_PHOTO, PHOTO_TYPES
from lambdas.show_page import PAGE, handler

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
    assert f"LARGEST = {LARGEST_PHOTO}" in TEXT
    assert f'accept="{",".join(PHOTO_TYPES)}"' in TEXT
