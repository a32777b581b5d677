"""The report page: complete, self-contained, and safe from names in the data. Run: `make test`."""

from html.parser import HTMLParser
from typing import Any

import pytest

from training.page import render_page

EVIL = "</td><script>alert(1)</script>{{7*7}}\n\"'&"


class Elements(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def contents(name: str, classes: int = 3) -> dict[str, Any]:
    names = [f"{name}{number}" for number in range(classes)]
    figures = [{"name": each, "photos": 2, "precision": None, "recall": 0.5, "f1": 0.5} for each in names]
    return {
        "data": {"classes": names, "photos": {"train": dict.fromkeys(names, 4)}, "left_out": [{"file": name, "reason": name}]},
        "history": [
            {"epoch": n, "train_loss": 1 / n, "valid_loss": 2 / n, "train_accuracy": 0.5, "valid_accuracy": 0.4, "seconds": 0.1}
            for n in range(1, 4)
        ],
        "evaluation": {
            "test_accuracy": 0.5,
            "valid_accuracy": 0.4,
            "per_class": figures,
            "classes": names,
            "confusion_matrix": [[1] * classes] * classes,
            "most_confused": [{"shown": name, "called": name, "photos": 1}],
        },
        "rule_statuses": [{"RuleConfigurationName": name, "RuleEvaluationStatus": "IssuesFound", "StatusDetails": name}],
    }


DESCRIPTION: dict[str, dict[str, object]] = {
    "backbone": {"source": EVIL},
    "preprocessing": {},
    "hyperparameters": {"lr": 0.01},
    "versions": {},
}


@pytest.mark.parametrize("classes", [2, 12, 133])
def test_names_from_the_data_stay_text(classes: int) -> None:
    page = render_page(contents(EVIL, classes), 2, DESCRIPTION)
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    assert "script" not in elements.names
    assert "&lt;script&gt;" in page


def test_only_what_happened_is_drawn_in_the_confusion_matrix() -> None:
    some = contents("piece", 100)
    some["evaluation"]["confusion_matrix"] = [[5 * (row == column) for column in range(100)] for row in range(100)]
    page = render_page(some, 2, DESCRIPTION)
    assert page.count("<rect") == 100 + 1
    assert "piece7 called piece7: 5" in page


def test_a_matrix_too_large_to_be_seen_is_not_drawn() -> None:
    page = render_page(contents("piece", 300), 2, DESCRIPTION)
    assert "300 classes are too many to draw" in page
    assert len(page) < 200_000


def test_the_best_epoch_and_the_verdicts_are_shown() -> None:
    page = render_page(contents("piece"), 2, DESCRIPTION)
    assert "best: 2" in page
    assert "IssuesFound" in page
    assert "50.0%" in page


def test_a_single_epoch_and_no_rules_make_a_page() -> None:
    one = contents("piece")
    one["history"], one["rule_statuses"] = one["history"][:1], []
    assert "nothing was judged" in render_page(one, 1, DESCRIPTION)
