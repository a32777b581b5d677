"""`whippet cost`: the bill that an execution left, what was expected, and what the endpoint goes on costing. Run: `make test`."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from cli.cost import describe_endpoint, format_amount, print_cost, read_cost
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.executions import FakeServices, Moment
from tests.fixtures.cli.fakes import ARN, FakeMachine, FakeS3, client_error, invoke, target

RUN = "whippet-261122160000-73e7"
KEY = f"executions/{RUN}/execution.json"
BILL = {
    "jobs": [
        {"name": "a", "kind": "processing job", "instance_type": "ml.m5.2xlarge", "jobs": 1, "seconds": 204, "usd": 0.0261},
        {"name": "b", "kind": "tuning job", "instance_type": "ml.m5.2xlarge", "jobs": 12, "seconds": 3120, "usd": 0.3995},
        {"name": "c", "kind": "training job", "instance_type": "ml.g7.2xlarge", "jobs": 1, "seconds": 180, "usd": None},
    ],
    "total_usd": 0.4256,
    "notes": ["no price of ml.g7.2xlarge is known"],
    "endpoint_per_hour": 0.115,
}
DOCUMENT = {"run": RUN, "outcome": {}, "bill": BILL, "estimate": {"estimate": {"total": 0.1925}, "endpoint_per_hour": 0.115}}


class Services(FakeServices):
    """With an endpoint, or the error that SageMaker gives for an absent one."""

    endpoint: str | None = "InService"

    def describe_endpoint(self, **arguments: str) -> dict[str, Any]:
        if self.endpoint is None:
            raise client_error("ValidationException", 'Could not find endpoint "whippet".')
        return {"EndpointStatus": self.endpoint}


def found(document: Any = DOCUMENT, status: str = "SUCCEEDED", endpoint: str | None = "InService") -> dict[str, Any]:
    services = Services([Moment(status)])
    services.endpoint = endpoint
    objects = {} if document is None else {KEY: json.dumps(document).encode()}
    return read_cost(target(s3=FakeS3(objects), **services.clients()), ARN)


def printed(cost: dict[str, Any], machine: FakeMachine | None = None) -> str:
    paper = io.StringIO()
    print_cost(Console(file=paper, width=160), target(machine), cost)
    return paper.getvalue()


def test_the_bill_is_found_by_the_executions_name() -> None:
    cost = found()
    assert (cost["run"], cost["bill"], cost["estimate"]["estimate"]) == (RUN, BILL, {"total": 0.1925})
    assert json.loads(json.dumps(cost)) == cost


def test_every_job_is_told_and_what_was_expected() -> None:
    lines = [" ".join(line.split()) for line in printed(found()).splitlines()]
    assert "processing job ml.m5.2xlarge 204 0.03" in lines
    assert "tuning job of 12 training jobs ml.m5.2xlarge 3,120 0.40" in lines
    assert "training job ml.g7.2xlarge 180 unknown" in lines
    assert "total 0.43" in lines
    assert "expected 0.19" in lines
    assert "no price of ml.g7.2xlarge is known" in lines


def test_on_this_machine_nothing_is_paid() -> None:
    assert "Local mode is free" in printed(found(), FakeMachine())
    assert "Local mode is free" not in printed(found())


def test_an_endpoint_is_told_with_what_ends_it() -> None:
    text = printed(found())
    assert "The endpoint 'whippet' is InService and costs 0.115 USD an hour, 83.95 a month, until `whippet down`." in text
    assert "The endpoint 'whippet' does not exist, so it does not cost anything." in printed(found(endpoint=None))


@pytest.mark.parametrize(("hourly", "sentence"), [(None, "is unknown"), (0.0, "is free between requests")])
def test_an_endpoint_without_a_price_is_told_too(hourly: float | None, sentence: str) -> None:
    cost = found({**DOCUMENT, "bill": {**BILL, "endpoint_per_hour": hourly}})
    assert sentence in describe_endpoint(cost, target())


@pytest.mark.parametrize(
    ("status", "when"),
    [
        ("RUNNING", "when it has ended"),
        ("FAILED", "at the end of an execution that has started a job"),
        ("ABORTED", "by the execution itself, and a stopped or timed-out execution cannot write it"),
    ],
)
def test_an_execution_without_a_bill_is_refused(status: str, when: str) -> None:
    with pytest.raises(RefusedError) as refused:
        found(None, status)
    assert f"The execution is {status} and has no bill: it is written to s3://photos-bucket/{KEY} {when}" in str(refused.value)


def test_a_document_that_is_no_bill_is_refused() -> None:
    with pytest.raises(RefusedError, match="is not a JSON object"):
        found([1])


def test_a_refused_look_is_no_missing_bill() -> None:
    class Denied(FakeS3):
        def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
            raise client_error("AccessDenied", "no")

    with pytest.raises(Exception, match="AccessDenied"):
        read_cost(target(s3=Denied(), **Services([Moment("SUCCEEDED")]).clients()), ARN)


def test_small_amounts_do_not_become_nothing() -> None:
    assert [format_amount(dollars) for dollars in (None, 0.0, 0.0012, 1234.5)] == ["unknown", "0.00", "0.0012", "1,234.50"]


def test_the_verb_is_there() -> None:
    assert "the cost of an execution" in invoke("cost", "--help").output
