"""The report page: complete, self-contained, and safe from names in the data. Run: `make test`."""

from html.parser import HTMLParser
from typing import Any

import pytest

from tests.fixtures.training import documents
from tests.fixtures.training.documents import spread
from training.report.page.document import render_page

EVIL = "</td><script>alert(1)</script>{{7*7}}\n\"'&"


class Elements(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def calibration(photos: int = 2) -> dict[str, Any]:
    filled = {"photos": photos, "confidence": 0.9, "accuracy": 0.5}
    empty = {"photos": 0, "confidence": None, "accuracy": None}
    return {"error": 0.4, "bins": [{"low": n / 15, "high": (n + 1) / 15, **(filled if n == 13 else empty)} for n in range(15)]}


def split(accuracy: float, interval: tuple[float, float] = (0.3, 0.7)) -> dict[str, Any]:
    figures = dict.fromkeys(("loss", "calibrated_loss", "top5_accuracy", "macro_f1"), 0.75)
    both = {"uncalibrated": calibration(), "calibrated": calibration()}
    return {"photos": 20, "accuracy": accuracy, "accuracy_interval": interval, **figures, **both}


def contents(name: str, classes: int = 3) -> dict[str, Any]:
    names = [f"{name}{number}" for number in range(classes)]
    figures = [{"name": each, "photos": 2, "precision": None, "recall": 0.5, "f1": 0.5} for each in names]
    pair = {"a": name, "b": name, "distance": 3}
    return {
        "data": {
            "classes": names,
            "photos": {"train": dict.fromkeys(names, 4)},
            "balance": {"biggest": {"class": name, "photos": 9}, "smallest": {"class": name, "photos": 3}, "ratio": 3.0},
            "sizes": {"bytes": [1, 2], "width": [10, 20], "height": [30, 4000]},
            "drawn_splits": ["valid", "test"],
            "seed": 42,
            "left_out": [{"file": name, "reason": name}],
            "excluded": [{"file": name, "reason": name}],
            "duplicates": {"exact": [[name, name]], "near": [pair], "near_pairs": 1, "suspicious": [pair | {"classes": [name, name]}]},
            "warnings": [name],
        },
        "history": [
            {"epoch": n, "train_loss": 1 / n, "valid_loss": 2 / n, "train_accuracy": 0.5, "valid_accuracy": 0.4, "seconds": 0.1}
            for n in range(1, 4)
        ],
        "evaluation": {
            "temperature": 1.25,
            "baselines": {"biggest_class": 0.2, "nearest_centroid": 0.45},
            "test": split(0.5),
            "valid": split(0.4),
            "per_class": figures,
            "classes": names,
            "confusion_matrix": [[1] * classes] * classes,
            "most_confused": [{"shown": name, "called": name, "photos": 1}],
            "worst_errors": [{"file": name, "shown": name, "called": name, "probability": 0.9, "shown_probability": 0.1, "index": 0}],
        },
        "insights": [
            {"severity": kind, "what": name, "why": name, "change": name, "evidence": name, "source": name} for kind in ("problem", "note")
        ],
        "rule_statuses": [verdict(name, "IssuesFound"), verdict(f"other {name}", "NoIssuesFound")],
        "profiler_rule_statuses": [verdict(name, "Error")],
        "profile": profile(name),
    }


def verdict(name: str, status: str) -> dict[str, Any]:
    row = {"mode": "TRAIN", "step": 3, "tensor": name, "value": 41.5, "threshold": name}
    known = {"StatusDetails": f"RuleEvaluationConditionMet: {name}", "RuleParameters": {"rule_to_invoke": "x", "threshold": name}}
    return {"RuleConfigurationName": name, "RuleEvaluationStatus": status, "Evidence": [row] * 5, "Advice": f"Advice: {name}", **known}


def profile(name: str) -> dict[str, Any]:
    gpu = {"name": name, "utilization": spread(80.0), "memory": spread(60.0)}
    operators = [{"name": name, "cpu_ms": 3.5, "cuda_ms": 0.0, "calls": 5}]
    return documents.profile(gpu=[gpu], operators=operators, problem=name)


DESCRIPTION: dict[str, dict[str, object]] = {
    "backbone": {"source": EVIL},
    "preprocessing": {},
    "hyperparameters": {"lr": 0.01},
    "versions": {},
}


@pytest.mark.parametrize("classes", [2, 12, 133])
def test_names_from_the_data_stay_text(classes: int) -> None:
    page = render_page(contents(EVIL, classes), 2, DESCRIPTION, [b"picture"])
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    assert "script" not in elements.names
    assert "&lt;script&gt;" in page


def test_a_matrix_too_large_to_be_seen_is_not_drawn() -> None:
    page = render_page(contents("piece", 300), 2, DESCRIPTION)
    assert "300 classes are too many to draw" in page
    assert len(page) < 200_000


def test_the_best_epoch_and_the_verdicts_are_shown() -> None:
    page = render_page(contents("piece"), 2, DESCRIPTION)
    assert "best: 2" in page
    assert '<span class="IssuesFound">IssuesFound</span>' in page
    assert "confidence interval: 30.0% to 70.0%)" in page


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.3, 0.7), "not clearly more or less than the 45.0%"),
        ((0.46, 0.7), "46.0% to 70.0%), more than the 45.0%"),
        ((0.2, 0.44), "20.0% to 44.0%), less than the 45.0%"),
    ],
)
def test_a_baseline_is_compared_with_the_whole_interval(interval: tuple[float, float], said: str) -> None:
    judged = contents("piece")
    judged["evaluation"]["test"] = split(0.5, interval)
    assert f"{said} of the better baseline on the same photos" in render_page(judged, 2, DESCRIPTION)


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_what_a_head_was_judged_on_is_told(trainable: str) -> None:
    description = DESCRIPTION | {"hyperparameters": {"trainable": trainable}, "data_set": {"processor": "CPU <1>, bfloat16"}}
    page = render_page(contents("piece"), 2, description)
    assert ("features, which are float16 (made by: CPU &lt;1&gt;, bfloat16)" in page) == (trainable == "head")


def test_the_least_well_told_class_comes_first() -> None:
    judged = contents("piece")
    judged["evaluation"]["per_class"][2]["f1"] = 0.125
    judged["evaluation"]["per_class"][0]["f1"] = None
    page = render_page(judged, 2, DESCRIPTION).partition("lowest F1 first")[2]
    assert page.index("piece2") < page.index("piece1") < page.index("piece0")


def test_what_was_found_in_the_photos_is_told() -> None:
    page = render_page(contents("piece"), 2, DESCRIPTION)
    for said in (
        "a ratio of 3.0",
        "There was no folder named valid or test: these splits were drawn with seed 42",
        "30 to 4,000 high",
        "One photo under two labels",
        "<li>piece</li>",  # a warning
    ):
        assert said in page


def test_even_classes_are_said_to_be_even() -> None:
    even = contents("piece")
    even["data"]["balance"]["smallest"]["photos"] = 9
    assert "Every class has 9 training photos." in render_page(even, 2, DESCRIPTION)


def test_long_lists_end_with_where_the_rest_is() -> None:
    many = contents("piece")
    many["data"]["excluded"] = [{"file": f"photo {number}", "reason": "a copy"} for number in range(250)]
    page = render_page(many, 2, DESCRIPTION)
    assert page.count("a copy") == 100
    assert "And 150 more: see data.json" in page


def test_a_picture_is_part_of_the_page() -> None:
    assert 'src="data:image/jpeg;base64,cGljdHVyZQ=="' in render_page(contents("piece"), 2, DESCRIPTION, [b"picture"])
    assert "<img" not in render_page(contents("piece"), 2, DESCRIPTION)


def test_a_single_epoch_no_rules_and_no_error_make_a_page() -> None:
    one = contents("piece")
    one["history"], one["evaluation"]["worst_errors"] = one["history"][:1], []
    one |= {"rule_statuses": [], "profiler_rule_statuses": [], "profile": {}, "insights": []}
    page = render_page(one, 1, DESCRIPTION)
    assert "no rule was evaluated" in page
    assert "Worst errors" not in page


def test_where_the_model_comes_from_is_told() -> None:
    page = render_page(contents("piece"), 1, DESCRIPTION | {"hashes": {"data_sha256": "cafe"}})
    assert "hashes: data_sha256" in page
    assert "cafe" in page


def test_what_to_change_stands_before_everything_but_the_accuracy() -> None:
    page = render_page(contents("piece"), 1, DESCRIPTION)
    places = [
        page.index(part) for part in ('class="verdict"', 'class="insight problem"', 'class="insight note"', "Loss per photo, by epoch")
    ]
    assert places == sorted(places)


def test_a_good_insight_is_its_sentence_alone() -> None:
    good = {"severity": "good", "what": "This run is sound.", "why": "", "change": "", "evidence": "", "source": "all"}
    page = render_page(contents("piece") | {"insights": [good]}, 1, DESCRIPTION)
    assert '<b class="what">This run is sound.</b></p><p class="seen">From: all</p></div>' in page


def test_rules_that_found_something_say_what_they_saw_and_what_to_do() -> None:
    page = render_page(contents("piece"), 1, DESCRIPTION).partition("Debugger rules")[2].partition("Time and machine")[0]
    shown, _, others = page.partition("What the others looked at")
    assert "1 without an issue, 1 found an issue" in shown
    assert '<span class="pill IssuesFound">▲ piece</span><span class="pill NoIssuesFound">✓ other piece</span>' in shown
    assert "<td>piece<ul><li>piece at TRAIN step 3: 41.5 against piece</li>" in shown
    assert shown.count("<li>piece at") == 2
    assert "<li>and 3 more</li>" in shown
    assert "<small>threshold piece</small>" in shown
    assert "<td>Advice: piece</td>" in shown
    assert "Advice" not in others


@pytest.mark.parametrize(("count", "value", "drawn"), [(5, 1.5, True), (2, 1.5, False), (5, "NaN", False)])
def test_the_course_of_what_a_rule_saw_is_drawn(count: int, value: object, drawn: bool) -> None:
    rows = [{"mode": "EVAL", "step": step, "tensor": "<loss>", "value": value, "threshold": 1.0} for step in range(count)]
    other = {"mode": "EVAL", "step": 9, "tensor": "other", "value": 5.0, "threshold": 1.0}
    seen = contents("piece") | {"rule_statuses": [{**verdict("Overfit", "IssuesFound"), "Evidence": [*rows, other]}]}
    page = render_page(seen, 1, DESCRIPTION)
    assert ('aria-label="&lt;loss&gt; by step"' in page) == drawn
    assert "step 9: 5" not in page


def test_rules_that_say_the_same_share_a_row() -> None:
    broken = [
        {**verdict(name, "Error"), "StatusDetails": "InternalError: no disk", "Evidence": [], "Advice": ""} for name in ("One", "Two")
    ]
    page = render_page(contents("piece") | {"rule_statuses": broken}, 1, DESCRIPTION)
    assert '<td>One<br>Two<br><span class="Error">Error</span></td><td>no disk</td>' in page


def test_long_details_are_shortened() -> None:
    wordy = contents("piece")
    wordy["rule_statuses"][0]["StatusDetails"] = "w" * 1024
    assert "w" * 399 + "…" in render_page(wordy, 1, DESCRIPTION)


def test_a_rule_in_a_state_of_its_own_is_shown() -> None:
    waiting = contents("piece") | {"rule_statuses": [verdict("Overfit", "InProgress")]}
    assert '<p>1 InProgress</p><div class="pills"><span class="pill InProgress">… Overfit</span>' in render_page(waiting, 1, DESCRIPTION)


@pytest.mark.parametrize(("mode", "said"), [("off", "no rule was evaluated"), ("managed", "The service evaluates what this job saved")])
def test_why_there_are_no_verdicts_is_told(mode: str, said: str) -> None:
    none = contents("piece") | {"rule_statuses": [], "profiler_rule_statuses": []}
    assert render_page(none, 1, DESCRIPTION | {"hyperparameters": {"debugger": mode}}).count(said) == 2


def test_the_machine_is_drawn() -> None:
    page = render_page(contents("piece") | {"profile": documents.profile(waiting=0.25)}, 1, DESCRIPTION)
    for said in (
        "Measured for 900.0 s, 11.5 s of them before the first step. 400 training steps: median 210.0 ms, maximum 900.0 ms.",
        "<title>data: 25.0%</title>",
        "<title>gpu0 memory: mean 60.0, p50 60.0, p95 72.0, p99 78.0, max 84.0</title>",
        "<title>core 3: 40</title>",
        "<title>convolution_backward: 900, 530 calls</title>",
        "Longest operators, ms on the GPU in the profiled steps",
    ):
        assert said in page


def test_without_a_gpu_operators_are_those_of_the_cpu() -> None:
    measured = documents.profile(gpu=[], operators=[{"name": "aten::addmm", "cpu_ms": 3.5, "cuda_ms": 0.0, "calls": 5}])
    page = render_page(contents("piece") | {"profile": measured}, 1, DESCRIPTION)
    assert "Longest operators, ms on the CPU in the profiled steps" in page
    assert "gpu0" not in page


@pytest.mark.parametrize(
    "measured", [{}, {"problem": "no sampler"}, {"seconds": 1.0, "steps": {"train": {"count": 0}}, "cpu": None, "operators": []}]
)
def test_a_profile_with_parts_missing_makes_a_page(measured: dict[str, Any]) -> None:
    page = render_page(contents("piece") | {"profile": measured}, 1, DESCRIPTION)
    assert ("Time and machine" in page) == bool(measured)
    assert ("The measurements are incomplete: no sampler" in page) == ("problem" in measured)


def test_the_profilers_report_is_linked_where_there_is_one() -> None:
    assert '<a href="profiler-report.html">' in render_page(contents("piece"), 1, DESCRIPTION, profiler_report="profiler-report.html")
    assert "<a " not in render_page(contents("piece"), 1, DESCRIPTION)
