"""AssessModel as a whole: what keeps a model back, what the registry gets, and that no damaged file ever ends an execution."""

import json
import re
import unicodedata
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from lambdas.assess_model import assess
from lambdas.assessment.registry_metadata import accepted
from tests.fixtures.lambdas.fake_s3 import FakeS3, error
from tests.fixtures.lambdas.reports import HASHES, evaluation, folder_of, key, predictions, written
from tests.fixtures.sagemaker.registry import ARN, GROUP, Registry

NEW, OLD = "whippet-261124100000-aaaa", "whippet-261120100000-bbbb"
SHOWN = [number % 3 for number in range(300)]


def called(wrong: int, start: int = 0) -> list[int]:
    """Every photo's class but for so many, from a photo on."""
    return [(label + 1) % 3 if start <= number < start + wrong else label for number, label in enumerate(SHOWN)]


def event(**more: Any) -> dict[str, Any]:
    rules = {"debugger": "embedded", "block_deployment": [], "rule_statuses": [], "profiler_rule_statuses": [], "warnings": []}
    gate = {"least_accuracy": 0.0, "champion": True, "tolerance": 0.01, "class_tolerance": 0.2}
    kept = {
        "run": NEW,
        "project": "whippet",
        "tuning_job": "whippet-261124100000-12345678",
        "dataset": "s3://bucket/prepared-data-sets/d/j/",
    }
    return {"folder": folder_of(NEW), **rules, "gate": gate, "group": GROUP, **kept, **more}


def reports(new: list[int], champion: Any = None, **more: Any) -> FakeS3:
    """Both reports; the champion's predictions are those given, or what it called, or missing."""
    old = predictions(SHOWN, champion) if isinstance(champion, list) else champion
    return FakeS3({**written(NEW, test_predictions=predictions(SHOWN, new), **more), **written(OLD, test_predictions=old)})


def deployed() -> Registry:
    """Version 2 is the champion: 3 was never deployed, and 4 was rejected."""
    registry = Registry()
    registry.add(endpoint_config="older", report="s3://bucket/older/report/")
    registry.add(endpoint_config="config", report=f"{folder_of(OLD)}/report/")
    registry.add()
    registry.add("Rejected", endpoint_config="rejected")
    return registry


def test_the_first_model_is_deployed_on_its_own_merits() -> None:
    answer = assess(event(), reports(called(30)), Registry())
    assert (answer["deploy"], answer["reasons"], answer["warnings"], answer["champion"]) == (True, [], [], {})
    assert (answer["accuracy"], answer["metrics"]["test_accuracy"]) == (0.9, 0.9)
    assert answer["metrics_uri"] == f"{folder_of(NEW)}/report/evaluation.json"
    assert answer["description"] == f"Accuracy 0.900 on 1000 test photos of 5 classes, made by execution {NEW}."


def test_what_the_registry_gets_says_where_the_model_comes_from() -> None:
    answer = assess(event(), reports(called(30)), Registry())
    metadata = answer["metadata"]
    assert metadata | HASHES == metadata
    assert metadata["report"] == f"{folder_of(NEW)}/report/"
    assert (metadata["run"], metadata["training_job"]) == (NEW, f"{NEW}-train-00000001")
    assert (metadata["tuning_job"], metadata["dataset"]) == (event()["tuning_job"], event()["dataset"])
    assert (metadata["test_accuracy"], metadata["test_photos"], metadata["classes"]) == ("0.9", "1000", "5")
    assert "champion_version" not in metadata


def test_sagemaker_takes_what_the_registry_gets() -> None:
    """botocore checks lengths and kinds; the patterns are in its model, and are held here."""
    answer = assess(event(), reports(called(20), called(30)), deployed())
    session = botocore.session.get_session()
    client = session.create_client("sagemaker", region_name="eu-west-1", aws_access_key_id="key", aws_secret_access_key="secret")
    request = {
        "ModelPackageGroupName": GROUP,
        "ModelPackageDescription": answer["description"],
        "CustomerMetadataProperties": answer["metadata"],
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": answer["metrics_uri"]}}},
    }
    with Stubber(client) as stub:
        stub.add_response("create_model_package", {"ModelPackageArn": f"{ARN}/5"}, request)
        client.create_model_package(**request)
    assert len(answer["metadata"]) <= 50
    for text in (*answer["metadata"], *answer["metadata"].values()):
        assert re.fullmatch(r"[\w\s.:/=+\-@]{1,256}", text)
    assert len(answer["description"]) <= 1024
    assert answer["metadata"]["champion_version"] == "2"


def test_a_better_model_is_deployed_and_the_comparison_is_told() -> None:
    answer = assess(event(), reports(called(20), called(30)), deployed())
    assert (answer["deploy"], answer["warnings"]) == (True, [])
    champion = answer["champion"]
    assert (champion["package"], champion["version"], champion["photos"]) == (f"{ARN}/2", "2", 300)
    assert (champion["accuracy"], champion["new_accuracy"]) == (0.9, pytest.approx(28 / 30))
    assert champion["difference"] == pytest.approx(1 / 30)
    assert champion["interval"][0] > 0
    assert champion["sentence"] == (
        "accuracy 0.933 against the champion's 0.900 on the same 300 photos, difference +3.3 points, 95 % interval +1.8 to +6.0"
    )
    assert champion["sentence"] in answer["description"]


def test_a_worse_model_is_kept_back() -> None:
    answer = assess(event(), reports(called(60), called(30)), deployed())
    assert answer["deploy"] is False
    assert answer["reasons"][0].startswith("accuracy 0.800 against the champion's 0.900 on the same 300 photos, difference -10.0 points")
    assert answer["champion"]["difference"] == pytest.approx(-0.1)


def test_a_model_that_was_registered_earlier_and_deployed_later_is_the_champion() -> None:
    registry = deployed()
    old, new = registry.versions[0], registry.versions[1]
    old["CustomerMetadataProperties"], new["CustomerMetadataProperties"] = new["CustomerMetadataProperties"], {"endpoint_config": "c"}
    old["CustomerMetadataProperties"]["deployed_at"] = "2026-11-10T00:00:00.000Z"
    assert assess(event(), reports(called(30), called(30)), registry)["champion"]["version"] == "1"


def test_nobody_asks_for_the_champion_where_the_input_does_not() -> None:
    answer = assess(event(gate={**event()["gate"], "champion": False}), reports(called(60), called(30)), object())
    assert (answer["deploy"], answer["champion"], answer["warnings"]) == (True, {}, [])


def test_an_execution_that_began_with_an_older_stack_is_assessed() -> None:
    old = {name: value for name, value in event().items() if name not in ("gate", "group", "run", "project", "tuning_job", "dataset")}
    assert assess(old, reports(called(30)), object())["deploy"] is True


def test_findings_and_warnings_of_the_states_and_the_rules_come_first() -> None:
    found = [{"RuleConfigurationName": "ExplodingTensor", "RuleEvaluationStatus": "IssuesFound", "StatusDetails": "NaN"}]
    answer = assess(
        event(block_deployment=["ExplodingTensor", "Overfit"], warnings=["the rules could not be looked at"]),
        reports(called(60), called(30), rule_statuses=found),
        deployed(),
    )
    assert [reason.partition(" ")[0] for reason in answer["reasons"]] == ["rule", "accuracy"]
    assert [warning.partition(",")[0] for warning in answer["warnings"]] == [
        "the rules could not be looked at",
        "rule Overfit gave no verdict",
    ]
    assert answer["rule_statuses"] == found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing"),
        (b"{", "is damaged (JSONDecodeError)"),
        ({}, "is damaged (KeyError"),
        (evaluation(test_accuracy=2), "is damaged"),
    ],
)
def test_a_model_of_unknown_accuracy_is_kept_back(content: Any, said: str) -> None:
    answer = assess(event(), reports(called(30), evaluation=content), Registry())
    (reason,) = answer["reasons"]
    assert reason.startswith(f"{folder_of(NEW)}/report/evaluation.json {said}")
    assert reason.endswith("so nobody knows how accurate the model is")
    assert (answer["accuracy"], answer["metrics"]) == (None, {})
    assert answer["metadata"]["run"] == NEW
    assert answer["description"].startswith("The report of its training job says nothing of its accuracy")


@pytest.mark.parametrize("content", [None, b"{", {}, predictions([0, 1], [0])])
def test_a_champion_whose_report_says_nothing_is_told_and_keeps_nothing_back(content: Any) -> None:
    answer = assess(event(), reports(called(60), content), deployed())
    assert (answer["deploy"], answer["champion"]) == (True, {})
    (warning,) = answer["warnings"]
    assert warning.startswith(f"the champion, version 2, cannot be compared with: {folder_of(OLD)}/report/test_predictions.json is ")
    assert warning.endswith("; so it keeps no model back")


@pytest.mark.parametrize(
    ("first", "others"), [(279, "21 photos in common"), (280, "0 photos in common (and 20 that show another class now)")]
)
def test_few_photos_in_common_are_no_comparison(first: int, others: str) -> None:
    answer = assess(event(), reports(called(60), predictions(SHOWN, SHOWN, first=first)), deployed())
    assert (answer["deploy"], answer["champion"]) == (True, {})
    assert answer["warnings"] == [
        f"the champion, version 2, cannot be compared with: both were tested on {others}, and 30 are needed; so it keeps no model back"
    ]


@pytest.mark.parametrize("recorded", [{}, {"report": ""}, {"report": "gone"}])
def test_a_champion_without_a_report_is_told(recorded: dict[str, str]) -> None:
    registry = Registry()
    registry.add(endpoint_config="config", **recorded)
    answer = assess(event(), reports(called(30)), registry)
    assert answer["deploy"] is True
    assert answer["warnings"][0].startswith("the champion, version 1, cannot be compared with: ")


class Closed(FakeS3):
    """Refuses what one execution left."""

    run = OLD

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        if self.run in Key:
            raise error("AccessDenied", 403)
        return super().get_object(Bucket, Key)


def test_a_champion_that_s3_does_not_show_is_told() -> None:
    answer = assess(event(), Closed(reports(called(30), called(30)).objects), deployed())
    assert (answer["deploy"], answer["champion"]) == (True, {})
    assert f"S3 does not show its report in {folder_of(OLD)} (AccessDenied)" in answer["warnings"][0]


def test_a_refused_look_at_the_models_own_report_is_no_missing_one() -> None:
    closed = Closed(reports(called(30)).objects)
    closed.run = NEW
    with pytest.raises(ClientError, match="AccessDenied"):
        assess(event(debugger="off"), closed, Registry())


def test_a_group_that_is_not_there_is_told_and_a_refusal_is_raised() -> None:
    absent = ClientError({"Error": {"Code": "ValidationException", "Message": "ModelPackageGroup x does not exist."}}, "ListModelPackages")
    answer = assess(event(), reports(called(30)), Registry(refusal=absent))
    assert answer["warnings"] == ["the model registry knows no champion to compare with: ModelPackageGroup x does not exist"]
    with pytest.raises(ClientError, match="AccessDenied"):
        assess(event(), reports(called(30)), Registry(refusal=error("AccessDeniedException", 400)))


@pytest.mark.parametrize("content", [None, {}, {"hashes": []}, {"hashes": {"data_sha256": "none"}}])
def test_a_model_without_hashes_is_registered_without_them(content: Any) -> None:
    answer = assess(event(), reports(called(30), model=content), Registry())
    assert answer["deploy"] is True
    assert "report/model.json is " in answer["warnings"][0]
    assert not HASHES.keys() & answer["metadata"].keys()


def test_names_in_no_encoding_can_be_written() -> None:
    """Lambda writes its answer as UTF-8, and Linux lets a folder's name, which is a class, be any bytes."""
    classes = ("caf\udce9", "rose", "tulip")
    files = {
        **written(NEW, test_predictions=predictions(SHOWN, called(90), classes)),
        **written(OLD, test_predictions=predictions(SHOWN, called(0), classes)),
    }
    answer = assess(event(), FakeS3(files), deployed())
    assert "caf\\udce9" in json.dumps(answer["reasons"], ensure_ascii=False).encode().decode().replace("\\\\", "\\")


@given(st.text(min_size=1))
def test_any_text_becomes_what_sagemaker_takes(text: str) -> None:
    got = accepted(text)
    assert 1 <= len(got) <= 256
    assert all(each in "_.:/=+-@" or unicodedata.category(each)[0] in "LZN" for each in got)


def test_the_answer_fits_into_an_execution() -> None:
    """256 KB are the most that a state may hand on: here with as many rules and classes as can be, and all that each may say."""
    statuses = [
        {"RuleConfigurationName": f"Rule{number}", "RuleEvaluationStatus": "IssuesFound", "StatusDetails": "…" * 1024}
        for number in range(20)
    ]
    classes = [f"{number}{'x' * 240}" for number in range(500)]
    shown = [number for number in range(500) for _ in range(60)]
    files = {
        **written(
            NEW,
            rule_statuses=statuses,
            profiler_rule_statuses=statuses,
            test_predictions=predictions(shown, [(label + 1) % 500 for label in shown], classes),
        ),
        **written(OLD, test_predictions=predictions(shown, shown, classes)),
    }
    names = [each["RuleConfigurationName"] for each in statuses]
    answer = assess(event(block_deployment=names), FakeS3(files), deployed())
    assert len(answer["reasons"]) > 20
    assert len(json.dumps(answer, ensure_ascii=False).encode()) < 200_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
DAMAGED = st.one_of(
    st.none(),
    st.binary(max_size=40),
    JSON.map(lambda content: json.dumps(content).encode()),
    st.dictionaries(st.sampled_from([*evaluation(), *predictions([], [])]), JSON).map(lambda part: {**evaluation(), **part}),
)


@given(
    st.fixed_dictionaries(dict.fromkeys(("evaluation", "model", "rule_statuses", "test_predictions"), DAMAGED)),
    DAMAGED,
    st.dictionaries(st.text(max_size=9), st.text(max_size=9)),
)
def test_no_file_whatever_it_holds_ends_an_execution(new: dict[str, Any], old: Any, metadata: dict[str, str]) -> None:
    """Only documents that are believed let the model through."""
    registry = Registry()
    registry.add(**{**metadata, "endpoint_config": "config", "report": f"{folder_of(OLD)}/report"})
    files = {**written(NEW, **new), **written(OLD, test_predictions=old)}
    answer = assess(event(block_deployment=["ExplodingTensor"]), FakeS3(files), registry)
    json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    assert answer["deploy"] is (not answer["reasons"])
    assert (answer["accuracy"] is None) <= (not answer["deploy"])
    assert key(NEW, "evaluation") in files or not answer["deploy"]
