"""Endpoints whose start goes wrong in ways that nobody foresaw: they fail, and can be deleted."""

import contextlib
import http.server
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from boto3.exceptions import RetriesExceededError

from local.api.errors import ServiceError
from local.hosting.deployments import Alarms
from local.hosting.endpoint_metrics import EndpointMetrics
from local.hosting.endpoints import Endpoints
from local.hosting.model_server import ModelServer
from local.hosting.models import EndpointConfigs, Models
from local.storage.store import Store
from tests.fixtures.local.endpoint_requests import SERVE
from tests.fixtures.local.fake_alarms import FakeCloudWatch
from tests.fixtures.local.fake_metrics import FakeCloudWatch as CountingCloudWatch
from tests.fixtures.local.fakes import FakeS3, fake_tools
from tests.fixtures.local.running import IMAGE, ROLE, archive, wait_until


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
    metrics = EndpointMetrics(FakeCloudWatch({}))
    endpoints = Endpoints(store, configs, models, fake_tools(tmp_path, FakeS3(error)), Alarms(FakeCloudWatch({})), metrics)
    try:
        endpoints.create({"EndpointName": "e", "EndpointConfigName": "c"})
        endpoint = wait_until(lambda: endpoints.describe("e"), lambda seen: seen["EndpointStatus"] != "Creating", 10)
        assert endpoint["EndpointStatus"] == "Failed" and reason in endpoint["FailureReason"]
        endpoints.delete("e")
    finally:
        endpoints.close()
        metrics.close()


class SomebodyElse(http.server.BaseHTTPRequestHandler):
    """A server that answers /ping as well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None: ...


@pytest.fixture(params=["answers", "is silent"])
def taken_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port where somebody else listens, who answers pings or says nothing."""
    if request.param == "is silent":
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield listening.getsockname()[1]
        return
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SomebodyElse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_port_that_somebody_else_took_is_left_for_another(tmp_path: Path, taken_port: int) -> None:
    """The server that answers there is not the model's: the endpoint must not hand photos to it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    s3 = FakeS3()
    s3.objects["model.tar.gz"] = archive({"code/serve": SERVE.replace("/usr/bin/env python", sys.executable), "word.txt": "mine"})
    container = {"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}
    ports = iter([taken_port, free])
    server = ModelServer(fake_tools(tmp_path, s3), "e", "v", container, tmp_path / "server", True, lambda: next(ports))
    try:
        server.start(20.0)
        assert server.port == free and server.is_alive()
        status, _headers, body = server.invoke(b"photo", {})
        assert (status, json.loads(body)["word"]) == (200, "mine")
    finally:
        server.stop()
    assert not server.is_alive()


@contextlib.contextmanager
def endpoints_of(folder: Path, **artefacts: dict[str, str]) -> Iterator[tuple[Endpoints, EndpointConfigs, Store]]:
    """Endpoints without an engine, and a model and an endpoint config for each of the artefacts."""
    s3, store = FakeS3(), Store(folder / "state")
    models = Models(store)
    configs = EndpointConfigs(store, models)
    for name, files in artefacts.items():
        s3.objects[f"{name}.tar.gz"] = archive(files)
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://b/{name}.tar.gz"}
        models.create({"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": ROLE})
        variant = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1}
        configs.create({"EndpointConfigName": name, "ProductionVariants": [variant]})
    metrics = EndpointMetrics(CountingCloudWatch())
    endpoints = Endpoints(store, configs, models, fake_tools(folder, s3), Alarms(FakeCloudWatch({})), metrics)
    try:
        yield endpoints, configs, store
    finally:
        endpoints.close()
        metrics.close()


def test_a_server_that_dies_while_its_endpoint_is_updated_is_not_started_beside_the_new_one(tmp_path: Path) -> None:
    """Whichever of the two came last would have taken over, also the old one."""
    serve = SERVE.replace("/usr/bin/env python", sys.executable)
    waits = f"import time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.05)\nprint("
    files = {"code/serve": serve, "word.txt": "one"}
    with endpoints_of(tmp_path, old=files, new={**files, "code/serve": serve.replace("print(", waits, 1)}) as (endpoints, _configs, _store):
        endpoints.create({"EndpointName": "e", "EndpointConfigName": "old"})
        wait_until(lambda: endpoints.describe("e"), lambda seen: seen["EndpointStatus"] == "InService", 30)
        endpoints.update({"EndpointName": "e", "EndpointConfigName": "new"})
        with pytest.raises(ServiceError, match="does not answer"):
            endpoints.invoke("e", b"die", {})
        old = endpoints._variants["e"]
        wait_until(old.is_alive, lambda alive: not alive, 10)
        endpoints.restart_dead_servers()
        assert endpoints._variants["e"] is old
        (tmp_path / "go").touch()
        endpoint = wait_until(lambda: endpoints.describe("e"), lambda seen: seen["EndpointStatus"] != "Updating", 30)
        assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "new")


def test_a_careful_update_to_a_variant_of_another_name_is_refused(tmp_path: Path) -> None:
    with endpoints_of(tmp_path, m={}) as (endpoints, configs, store):
        of_instances = {"EndpointConfigName": "m", "EndpointStatus": "InService", "ProductionVariants": [{"VariantName": "v"}]}
        store.create("endpoint", "e", {"EndpointName": "e", "EndpointArn": "arn:e", **of_instances})
        variant = {"VariantName": "other", "ModelName": "m", "InitialInstanceCount": 1}
        configs.create({"EndpointConfigName": "other", "ProductionVariants": [variant]})
        with pytest.raises(ServiceError, match="must have the variant names of the old one: it has 'other' instead of 'v'"):
            endpoints.update({"EndpointName": "e", "EndpointConfigName": "other", "DeploymentConfig": {}})
        assert endpoints.describe("e")["EndpointStatus"] == "InService"
