"""The functions' log: one line of JSON for each event, short enough to be read."""

import json
from typing import Any

import pytest

from lambdas.aws.log import MOST_CHARACTERS, log


def line_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    written = capsys.readouterr().out
    assert written.endswith("\n")
    assert written.count("\n") == 1
    line: dict[str, Any] = json.loads(written)
    return line


def test_a_line_says_what_happened_to_which_execution(capsys: pytest.CaptureFixture[str]) -> None:
    log("Pruned", execution="whippet-261122160000-1a2b", keep=5, deleted=["a", "b"], verified=True, usd=None)
    assert line_of(capsys) == {
        "event": "Pruned",
        "execution": "whippet-261122160000-1a2b",
        "keep": 5,
        "deleted": ["a", "b"],
        "verified": True,
        "usd": None,
    }


def test_a_sentence_of_several_lines_or_in_no_encoding_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log("Fault", error="one\ntwo\r\ncaf\udce9")
    assert line_of(capsys)["error"] == "one\ntwo\r\ncaf\udce9"


def test_long_texts_and_lists_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    log("Fault", error="x" * 5000, left=["y" * 5000] * 500)
    line = line_of(capsys)
    assert line["error"] == "x" * MOST_CHARACTERS
    assert line["left"] == ["y" * MOST_CHARACTERS] * 100
