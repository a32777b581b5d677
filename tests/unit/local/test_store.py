"""The plane's documents on disk, and the List operations over them."""

from pathlib import Path
from typing import Any

import pytest

from local.api.errors import ServiceError
from local.jobs import training_jobs
from local.storage.listing import Listing, list_documents
from local.storage.store import Store
from local.tuning import tuning_jobs

LISTING = Listing("Jobs", "Name", "Status")
DOCUMENTS: list[dict[str, Any]] = [
    {"Name": f"job-{n}", "Status": "Failed" if n % 2 else "Completed", "CreationTime": 100.0 + n} for n in range(12)
]


def names(answer: dict[str, Any]) -> list[str]:
    return [document["Name"] for document in answer["Jobs"]]


def test_documents_survive_and_changes_do_not_leak(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.create("job", "a", {"Status": "InProgress", "Metrics": [1]})
    assert not store.create("job", "a", {})
    copy = store.get("job", "a")
    assert copy is not None
    copy["Metrics"].append(2)
    store.update("job", "a", Status="Completed", FailureReason="x")
    store.update("job", "a", FailureReason=None)
    again = Store(tmp_path)
    assert again.get("job", "a") == {"Status": "Completed", "Metrics": [1]} == store.get("job", "a")
    assert again.delete("job", "a") and not again.delete("job", "a")
    assert Store(tmp_path).list_all("job") == [] and store.get("job", "other") is None


def test_documents_are_chosen_before_they_are_copied(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("a", "b"):
        store.create("job", name, {"Name": name})
    seen: list[dict[str, Any]] = []

    def wanted(document: dict[str, Any]) -> bool:
        seen.append(document)
        return bool(document["Name"] == "b")

    (chosen,) = store.list_all("job", wanted)
    assert chosen == {"Name": "b"} and chosen is not seen[1]
    chosen["Name"] = "changed"
    assert store.get("job", "b") == {"Name": "b"}


def test_a_change_that_depends_on_a_status_is_not_made_in_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("job", "a", {"Status": "InProgress"})
    assert store.update_if("job", "a", "Status", ("InProgress",), Status="Stopping")
    assert not store.update_if("job", "a", "Status", ("InProgress",), Status="Other")
    assert Store(tmp_path).get("job", "a") == {"Status": "Stopping"}


def test_a_write_cut_short_leaves_the_last_document(tmp_path: Path) -> None:
    Store(tmp_path).create("job", "a", {"Status": "Completed"})
    (tmp_path / "job" / "a.unfinished").write_text('{"Status": "Fai')
    assert Store(tmp_path).get("job", "a") == {"Status": "Completed"}


def test_pages_follow_each_other() -> None:
    first = list_documents(DOCUMENTS, {"MaxResults": 5}, LISTING)
    second = list_documents(DOCUMENTS, {"MaxResults": 5, "NextToken": first["NextToken"]}, LISTING)
    third = list_documents(DOCUMENTS, {"MaxResults": 5, "NextToken": second["NextToken"]}, LISTING)
    assert names(first) + names(second) + names(third) == [f"job-{n}" for n in reversed(range(12))]
    assert "NextToken" not in third


def test_filters_and_order() -> None:
    failed = list_documents(DOCUMENTS, {"StatusEquals": "Failed", "SortOrder": "Ascending", "CreationTimeAfter": 105.0}, LISTING)
    assert names(failed) == ["job-5", "job-7", "job-9", "job-11"]
    assert names(list_documents(DOCUMENTS, {"NameContains": "B-1", "SortBy": "Name"}, LISTING)) == ["job-11", "job-10", "job-1"]
    assert names(list_documents(DOCUMENTS, {"SortBy": "Status", "SortOrder": "Ascending", "MaxResults": 1}, LISTING)) == ["job-0"]


def test_the_order_that_a_request_leaves_open_is_the_operations_own() -> None:
    """As SageMaker's documentation of each List operation gives it."""
    documents: list[dict[str, Any]] = [
        {"TrainingJobName": name, "HyperParameterTuningJobName": name, "ModelName": name, "CreationTime": created}
        for name, created in (("b", 1.0), ("a", 2.0), ("c", 3.0))
    ]

    def order(listing: Listing) -> str:
        return "".join(document["ModelName"] for document in list_documents(documents, {}, listing)[listing.answer])

    assert order(training_jobs.LISTING) == "bac"
    assert order(tuning_jobs.LISTING) == order(tuning_jobs.JOBS_LISTING) == "abc"
    assert order(Listing("Models", "ModelName")) == "cab"


def test_jobs_without_an_objective_are_not_sorted_by_it() -> None:
    objective = "FinalHyperParameterTuningJobObjectiveMetric"
    documents: list[dict[str, Any]] = [
        {"Name": "a", objective: {"Value": 0.5}},
        {"Name": "none"},
        {"Name": "b", objective: {"Value": 0.25}},
    ]
    assert names(list_documents(documents, {"SortBy": "FinalObjectiveMetricValue", "SortOrder": "Ascending"}, LISTING)) == ["b", "a"]


def test_a_made_up_token_is_refused() -> None:
    with pytest.raises(ServiceError, match="NextToken 'x' is invalid"):
        list_documents(DOCUMENTS, {"NextToken": "x"}, LISTING)
