"""The artefact as the Ray Serve image starts it, with a stand-in for ray, which is in no environment of ours. Run: `make test`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.fixtures.training.jobs import Job

STAND_IN = """
recorded = {}

def deployment(**options):
    recorded.update(options)
    def decorate(kind):
        kind.bind = classmethod(lambda bound: bound)
        return kind
    return decorate

def ingress(application):
    recorded["application"] = application
    return lambda kind: kind
"""
START = """
import asyncio, importlib, json, sys
from ray import serve
module, name = sys.argv[1].split(":")
assert getattr(importlib.import_module(module), name)
application = serve.recorded["application"]

async def load():
    async with application.router.lifespan_context(application):
        return application.state.model.classes

options = serve.recorded["ray_actor_options"]
print(json.dumps({"options": options, "paths": [route.path for route in application.routes], "classes": asyncio.run(load())}))
"""


def test_the_application_that_the_artefact_names_loads_its_model(finished: Job, tmp_path: Path) -> None:
    model = finished.folders.model
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").touch()
    (tmp_path / "ray" / "serve.py").write_text(STAND_IN)
    application = yaml.safe_load((model / "config.yaml").read_text())["applications"][0]
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(model.parent),
        "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, model, model / "code"))),
    }
    done = subprocess.run(
        [sys.executable, "-c", START, application["import_path"]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    started = json.loads(done.stdout.splitlines()[-1])
    assert started["options"] == {"num_cpus": os.cpu_count(), "num_gpus": int(Path("/dev/nvidia0").exists())}
    assert {"/", "/ping", "/invocations"} <= set(started["paths"])
    assert started["classes"] == json.loads((model / "model.json").read_text())["classes"]
    assert application["route_prefix"] == "/"
