"""A served program, its endpoint config and endpoint, and calls to it."""

import json
from typing import Any

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
