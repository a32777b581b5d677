"""State machines that start jobs, run to their end in the engine."""

import io
import json
import textwrap
import uuid
import zipfile
from typing import Any

from tests.local.conftest import ROLE, Local, wait_until


def run_machine(local: Local, states: dict[str, Any], given: object = None, **machine: Any) -> str:
    """Create a JSONata state machine and start it; returns the execution's ARN."""
    sfn = local.client("stepfunctions")
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **machine}
    arn = sfn.create_state_machine(name=f"m-{uuid.uuid4().hex[:12]}", definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"]
    started: str = sfn.start_execution(stateMachineArn=arn, input=json.dumps(given or {}))["executionArn"]
    return started


def ended(local: Local, arn: str, timeout_s: float = 60) -> dict[str, Any]:
    sfn = local.client("stepfunctions")
    execution: dict[str, Any] = wait_until(
        lambda: sfn.describe_execution(executionArn=arn), lambda seen: seen["status"] != "RUNNING", timeout_s
    )
    return execution


def make_function(local: Local, source: str) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", textwrap.dedent(source))
    name = f"f-{uuid.uuid4().hex[:12]}"
    created = local.client("lambda").create_function(
        FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="handler.handler", Code={"ZipFile": buffer.getvalue()}
    )
    return str(created["FunctionArn"])


def training_task(local: Local, program: str, name: str, **state: Any) -> dict[str, Any]:
    request = local.training_request(name, program)
    return {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync", "Arguments": request, "End": True, **state}


def job_named(local: Local, prefix: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = local.client("sagemaker").list_training_jobs(NameContains=prefix)["TrainingJobSummaries"]
    return found
