"""The List operations of the SageMaker plane: filters, sorts and pages documents by the fields of SageMaker's List requests.

Runs in the SageMaker plane.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.api.errors import validation_error
from local.storage.store import Document

DEFAULT_PAGE = 10
OBJECTIVE = "FinalHyperParameterTuningJobObjectiveMetric"
SORT_FIELDS = {"CreationTime": "CreationTime", "LastModifiedTime": "LastModifiedTime"}


@dataclass(frozen=True)
class Listing:
    """The answer's list member, the document members that hold name and status, and the default order."""

    answer: str
    name_field: str
    status_field: str = ""
    sort_by: str = "CreationTime"
    sort_order: str = "Descending"


def list_documents(documents: Sequence[Document], request: Mapping[str, Any], listing: Listing) -> dict[str, Any]:
    """Answer a List request over `documents`; NextToken is the offset of the next page."""
    by = request.get("SortBy", listing.sort_by)
    chosen = [document for document in documents if _matches(document, request, listing)]
    if by == "FinalObjectiveMetricValue":
        chosen = [document for document in chosen if OBJECTIVE in document]
    chosen.sort(key=lambda document: _sort_key(document, by, listing), reverse=request.get("SortOrder", listing.sort_order) == "Descending")
    start = _read_offset(request.get("NextToken"))
    end = start + int(request.get("MaxResults", DEFAULT_PAGE))
    answer: dict[str, Any] = {listing.answer: chosen[start:end]}
    if end < len(chosen):
        answer["NextToken"] = str(end)
    return answer


def _matches(document: Document, request: Mapping[str, Any], listing: Listing) -> bool:
    created, modified = document.get("CreationTime", 0.0), document.get("LastModifiedTime", 0.0)
    return (
        request.get("NameContains", "").lower() in document[listing.name_field].lower()
        and request.get("StatusEquals", document.get(listing.status_field)) == document.get(listing.status_field)
        and request.get("CreationTimeAfter", created) <= created <= request.get("CreationTimeBefore", created)
        and request.get("LastModifiedTimeAfter", modified) <= modified <= request.get("LastModifiedTimeBefore", modified)
    )


def _sort_key(document: Document, by: str, listing: Listing) -> tuple[Any, str]:
    name = document[listing.name_field]
    if by == "Name":
        return (name, name)
    if by == "Status":
        return (document.get(listing.status_field, ""), name)
    if by == "FinalObjectiveMetricValue":
        return (document[OBJECTIVE]["Value"], name)
    return (document.get(SORT_FIELDS.get(by, "CreationTime"), 0.0), name)


def _read_offset(token: str | None) -> int:
    if token is None:
        return 0
    if not token.isdigit():
        raise validation_error(f"NextToken {token!r} is invalid: pass the NextToken of an earlier answer of this operation")
    return int(token)
