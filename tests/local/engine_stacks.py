"""CloudFormation stacks and EventBridge listeners in the engine."""

import io
import json
import uuid
import zipfile
from typing import Any

from tests.local.conftest import ROLE, Local, wait_until

LISTENER = """
import json, os, urllib.request, boto3
def handler(event, context):
    boto3.client("s3").put_object(Bucket="{bucket}", Key="heard/{name}/" + event["id"], Body=json.dumps(event))
"""


def listen(local: Local, pattern: dict[str, Any]) -> str:
    """A rule whose target is a function that keeps each event below heard/<name>/; returns the name."""
    name = f"heard-{uuid.uuid4().hex[:8]}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", LISTENER.format(bucket=local.bucket, name=name))
    function = local.client("lambda").create_function(
        FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="handler.handler", Code={"ZipFile": buffer.getvalue()}, Timeout=30
    )["FunctionArn"]
    events = local.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "function", "Arn": function}])
    return name


def heard(local: Local, name: str, least: int = 1, timeout_s: float = 30) -> list[dict[str, Any]]:
    keys = wait_until(lambda: local.keys(f"heard/{name}/"), lambda seen: len(seen) >= least, timeout_s)
    s3 = local.client("s3")
    events = [json.loads(s3.get_object(Bucket=local.bucket, Key=key)["Body"].read()) for key in keys]
    return sorted(events, key=lambda event: (event["time"], event["id"]))


def template(name: str, fails: bool = False, **properties: Any) -> str:
    resources: dict[str, Any] = {
        "Group": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {"ModelPackageGroupName": name, **properties}}
    }
    if fails:
        resources["Again"] = {**resources["Group"], "DependsOn": "Group"}
    outputs = {"Arn": {"Value": {"Ref": "Group"}}, "Status": {"Value": {"Fn::GetAtt": ["Group", "ModelPackageGroupStatus"]}}}
    return json.dumps({"Resources": resources, "Outputs": outputs})


def stack_at_rest(local: Local, name: str) -> dict[str, Any]:
    describe = local.client("cloudformation").describe_stacks
    stack: dict[str, Any] = wait_until(
        lambda: describe(StackName=name)["Stacks"][0], lambda seen: not seen["StackStatus"].endswith("_IN_PROGRESS"), 30
    )
    return stack
