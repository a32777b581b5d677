"""Endpoints, run for real: a standard-library server out of a model artefact, behind InvokeEndpoint."""

import json
import os
import signal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.processes import ProcessBook
from tests.local.conftest import IMAGE, ROLE, Local, archive, wait_until

SERVE = """#!/usr/bin/env python
import http.server, json, os, pathlib, sys
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
print("loading", (base / "model" / "word.txt").read_text(), flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"refuse":
            return self.answer(400, b'{"error": "that is no photo"}')
        if body == b"die":
            os._exit(7)
        word = (base / "model" / "word.txt").read_text()
        self.answer(200, json.dumps({"word": word, "bytes": len(body), "type": self.headers["Content-Type"]}).encode())
    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer((os.environ["BIND_HOST"], int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


def make_config(local: Local, name: str, files: dict[str, str]) -> str:
    sagemaker = local.client("sagemaker")
    uri = local.put(f"models/{name}/model.tar.gz", archive(files))
    sagemaker.create_model(
        ModelName=name, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": uri}, ExecutionRoleArn=ROLE, EnableNetworkIsolation=True
    )
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    return name


def wait_for_endpoint(local: Local, name: str, *statuses: str) -> dict[str, Any]:
    describe = local.client("sagemaker").describe_endpoint
    endpoint: dict[str, Any] = wait_until(lambda: describe(EndpointName=name), lambda seen: seen["EndpointStatus"] in statuses, 60)
    return endpoint


def invoke(local: Local, name: str, body: bytes = b"photo") -> Any:
    answer = local.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=body, ContentType="image/jpeg")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    return json.loads(answer["Body"].read())


def test_an_endpoint_serves_is_updated_without_a_gap_and_goes(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    first = make_config(local, "first", {"code/serve": SERVE, "word.txt": "one"})
    sagemaker.create_endpoint(EndpointName="serves", EndpointConfigName=first)
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        sagemaker.create_endpoint(EndpointName="serves", EndpointConfigName=first)
    wait_for_endpoint(local, "serves", "InService", "Failed")
    assert invoke(local, "serves") == {"word": "one", "bytes": 5, "type": "image/jpeg"}

    second = make_config(local, "second", {"code/serve": SERVE, "word.txt": "two"})
    sagemaker.update_endpoint(EndpointName="serves", EndpointConfigName=second)
    words = []
    while sagemaker.describe_endpoint(EndpointName="serves")["EndpointStatus"] == "Updating":
        words.append(invoke(local, "serves")["word"])
    assert words and set(words) <= {"one", "two"}
    assert invoke(local, "serves")["word"] == "two"
    assert sagemaker.describe_endpoint(EndpointName="serves")["EndpointConfigName"] == "second"

    broken = make_config(local, "broken", {"code/serve": "#!/bin/sh\necho cannot load the weights\nexit 1\n"})
    sagemaker.update_endpoint(EndpointName="serves", EndpointConfigName=broken)
    endpoint = wait_for_endpoint(local, "serves", "InService", "Failed")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "second")
    assert "cannot load the weights" in endpoint["FailureReason"]
    assert invoke(local, "serves")["word"] == "two"

    sagemaker.delete_endpoint(EndpointName="serves")
    with pytest.raises(ClientError, match=r"Endpoint serves of account 000000000000 not found\."):
        invoke(local, "serves")
    assert local.mode.status().jobs == 0


def test_a_model_that_cannot_load_ends_failed_with_the_end_of_its_log(local: Local) -> None:
    config = make_config(local, "unloadable", {"code/serve": "#!/bin/sh\necho the weights are of another model\nexit 1\n"})
    local.client("sagemaker").create_endpoint(EndpointName="unloadable", EndpointConfigName=config)
    endpoint = wait_for_endpoint(local, "unloadable", "InService", "Failed")
    assert endpoint["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    assert "the weights are of another model" in endpoint["FailureReason"]
    assert any("another model" in line for line in local.log_lines("/aws/sagemaker/Endpoints/unloadable", "AllTraffic/"))
    with pytest.raises(ClientError, match="which is Failed: delete it, then create it again"):
        local.client("sagemaker").update_endpoint(EndpointName="unloadable", EndpointConfigName=config)
    local.client("sagemaker").delete_endpoint(EndpointName="unloadable")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"word.txt": "no program"}, "has no executable code/serve"),
        ({"../../escape/serve": SERVE}, "not a tar.gz that can be unpacked safely"),
    ],
)
def test_an_artefact_that_cannot_be_served_is_named(local: Local, files: dict[str, str], sentence: str) -> None:
    name = f"unservable-{len(sentence)}"
    local.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=make_config(local, name, files))
    endpoint = wait_for_endpoint(local, name, "InService", "Failed")
    assert endpoint["EndpointStatus"] == "Failed" and sentence in endpoint["FailureReason"]
    local.client("sagemaker").delete_endpoint(EndpointName=name)


def test_errors_of_the_model_reach_the_caller_as_aws_words_them(local: Local) -> None:
    config = make_config(local, "errors", {"code/serve": SERVE, "word.txt": "one"})
    local.client("sagemaker").create_endpoint(EndpointName="errors", EndpointConfigName=config)
    wait_for_endpoint(local, "errors", "InService")
    with pytest.raises(ClientError) as caught:
        invoke(local, "errors", b"refuse")
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelError" and response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 400 and json.loads(response["OriginalMessage"]) == {"error": "that is no photo"}
    assert response["Error"]["Message"].startswith("Received client error (400) from primary with message")
    with pytest.raises(ClientError, match="the most an invocation takes"):
        invoke(local, "errors", b"x" * (7 << 20))
    local.client("sagemaker").delete_endpoint(EndpointName="errors")


def test_a_server_that_dies_is_started_again(local: Local) -> None:
    config = make_config(local, "dies", {"code/serve": SERVE, "word.txt": "back"})
    local.client("sagemaker").create_endpoint(EndpointName="dies", EndpointConfigName=config)
    wait_for_endpoint(local, "dies", "InService")
    (record,) = ProcessBook(local.mode.home / "run").records("server-dies-")
    os.kill(record.pid, signal.SIGKILL)
    wait_for_endpoint(local, "dies", "Updating")
    wait_for_endpoint(local, "dies", "InService")
    assert invoke(local, "dies")["word"] == "back"
    local.client("sagemaker").delete_endpoint(EndpointName="dies")


def test_configs_and_models_are_checked_described_listed_tagged_and_deleted(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    name = make_config(local, "described", {"code/serve": SERVE})
    with pytest.raises(ClientError, match="already existing model"):
        make_config(local, "described", {})
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.create_endpoint_config(EndpointConfigName="x", ProductionVariants=[{"VariantName": "A", "ModelName": "absent"}])
    with pytest.raises(ClientError, match=r"ProductionVariants\[A\]\.InitialInstanceCount 2 is not done by local mode"):
        variant = {"VariantName": "A", "ModelName": name, "InitialInstanceCount": 2, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(EndpointConfigName="x", ProductionVariants=[variant])
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        sagemaker.create_endpoint(EndpointName="x", EndpointConfigName="absent")
    assert sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"][0]["ModelName"] == name
    assert name in [model["ModelName"] for model in sagemaker.list_models(MaxResults=100)["Models"]]
    arn = sagemaker.describe_model(ModelName=name)["ModelArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "project", "Value": "whippet"}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "project", "Value": "whippet"}]
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.describe_model(ModelName=name)
