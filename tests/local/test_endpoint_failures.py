"""Endpoints whose start goes wrong in ways that nobody foresaw: they fail, and can be deleted."""

from pathlib import Path

import pytest
from boto3.exceptions import RetriesExceededError

from local.endpoints import Endpoints
from local.models import EndpointConfigs, Models
from local.store import Store
from tests.local.conftest import IMAGE, ROLE, wait_until
from tests.local.fakes import FakeS3, fake_tools


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TypeError("an argument too many"), "the endpoint's thread ended early"),
        (RetriesExceededError(OSError("the connection broke")), "Max Retries Exceeded"),
        (TimeoutError(), "TimeoutError()"),
    ],
)
def test_an_error_that_nobody_foresaw_fails_the_endpoint(tmp_path: Path, error: Exception, reason: str) -> None:
    store = Store(tmp_path / "state")
    models = Models(store)
    configs = EndpointConfigs(store, models)
    models.create({"ModelName": "m", "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}, "ExecutionRoleArn": ROLE})
    configs.create({"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1}]})
    endpoints = Endpoints(store, configs, models, fake_tools(tmp_path, FakeS3(error)))
    try:
        endpoints.create({"EndpointName": "e", "EndpointConfigName": "c"})
        endpoint = wait_until(lambda: endpoints.describe("e"), lambda seen: seen["EndpointStatus"] != "Creating", 10)
        assert endpoint["EndpointStatus"] == "Failed" and reason in endpoint["FailureReason"]
        endpoints.delete("e")
    finally:
        endpoints.close()
