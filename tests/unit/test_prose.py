"""Plain English, measured: words that stand for a habit of unclear prose do not appear in the documentation, docstrings and comments.

Runs anywhere, on the text of the repository alone: `make test`.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY

MARKERS = re.compile(
    r"\b(whoever|nobody|somebody|rightly|anew|(?:is|are) told|as good as none|to be had|kept back|is dealt|(?:is|are) no)\b",
    flags=re.IGNORECASE,
)
ALLOWED = re.compile(r"\b(?:is|are) no longer\b", flags=re.IGNORECASE)
ALL_PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "benchmarks" / "README.md"])
ROOMS = (
    "app.py",
    *(f"training/{name}" for name in ("debugger", "fit", "data", "evaluation", "serving", "rules", "rule_evaluation")),
    *("training/profiler", "training/report"),
    *("training/train.py", "training/prepare.py"),
)
UNFINISHED_PAGES = ("architecture.md", "execution-input.md", "local-mode.md", "security.md")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)|\s*\|\s*|\n\s*\n|\n\s*(?=[-*#] )")


def sentences(text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """Each sentence, table cell or list item of a text, with the line that it starts on."""
    start = 0
    for end in [*SENTENCE_END.finditer(text), None]:
        sentence = text[start : end.start() if end else len(text)]
        yield first_line + text.count("\n", 0, start + len(sentence) - len(sentence.lstrip())), " ".join(sentence.split())
        start = end.end() if end else len(text)


def prose_of_page(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of a Markdown page; code blocks become empty lines."""
    without_code = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    yield from sentences(without_code, 1)


def prose_of_module(source: str) -> Iterator[tuple[int, str]]:
    """The sentences of a module's docstrings and comments; a string that is a statement documents the name above it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from sentences(node.value.value, node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from sentences(token.string.lstrip("# "), token.start[0])


def marked(file: Path) -> list[str]:
    """`file:line: word: sentence` for each sentence of a file with a marker word."""
    text = file.read_text(encoding="utf-8")
    prose = prose_of_module(text) if file.suffix == ".py" else prose_of_page(text)
    return [
        f"{file.relative_to(REPOSITORY)}:{line}: {found[0]}: {sentence}"
        for line, sentence in prose
        if (found := MARKERS.search(ALLOWED.sub("", sentence)))
    ]


@pytest.mark.parametrize(
    "page", [page for page in ALL_PAGES if page.name not in UNFINISHED_PAGES], ids=lambda page: str(page.relative_to(REPOSITORY))
)
def test_pages_are_plain_english(page: Path) -> None:
    found = marked(page)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_and_comments_are_plain_english(room: str) -> None:
    files = sorted((REPOSITORY / room).rglob("*.py")) or [REPOSITORY / room]
    found = [line for file in files for line in marked(file)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("Whoever calls it pays.", "Whoever"),
        ("The file is no JSON object.", "is no"),
        ("The name is no longer used.", None),
        ("What is told is kept.", "is told"),
        ("It is notable.", None),
    ],
)
def test_a_marker_word_is_found(sentence: str, word: str | None) -> None:
    found = MARKERS.search(ALLOWED.sub("", sentence))
    assert (found[0] if found else None) == word


def test_lines_are_counted_in_pages_and_modules(tmp_path: Path) -> None:
    page = "# Title\n\nFirst.\nNobody\nreads. Last.\n\n```\nnobody\n```\n\nIt is read anew.\n"
    assert [(line, text) for line, text in prose_of_page(page) if MARKERS.search(text)] == [(4, "Nobody reads."), (11, "It is read anew.")]
    module = '"""First.\n\nNobody reads.\n"""\n\nVALUE = 1  # whoever it is\n"""Kept back."""\nTEXT = "nobody"\n'
    assert [(line, text) for line, text in prose_of_module(module) if MARKERS.search(text)] == [
        (3, "Nobody reads."),
        (7, "Kept back."),
        (6, "whoever it is"),
    ]
