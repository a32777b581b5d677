"""Somebody else's training script with smdebug's own hook, in a real local job, judged by the real programs.

The script knows nothing of this repository: what makes it run beside numpy 2.4 and protobuf 6 is the smdebug of the source archive.
"""

import io
import json
import tarfile
from typing import Any

import pytest

from local.jobs.rule_statuses import DEBUG, PROFILER
from stacks.source_archive import build_archive
from tests.fixtures.local.running import Local, wait_until
from tests.fixtures.local.watched_jobs import rule

FOREIGN = """
import os
import time

import torch
from torch import nn

import smdebug.pytorch as smd

torch.manual_seed(0)
torch.set_num_threads(1)
photos = torch.randn(64, 12)
classes = (photos[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
loss_function = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=float(os.environ["LR"]))

hook = smd.get_hook(create_if_not_exists=True)
hook.register_module(model)
hook.register_loss(loss_function)

for epoch in range(int(os.environ["EPOCHS"])):
    hook.set_mode(smd.modes.TRAIN)
    model.train()
    for batch in range(4):
        optimizer.zero_grad()
        loss = loss_function(model(photos[batch::4]), classes[batch::4])
        loss.backward()
        optimizer.step()
        time.sleep(0.2)
    hook.set_mode(smd.modes.EVAL)
    model.eval()
    with torch.no_grad():
        loss_function(model(photos), classes)
print("trained to the end")
"""
RAW = {"save_interval": "1"}


@pytest.fixture(scope="module")
def program() -> bytes:
    """The archive as it is deployed, and the foreign script in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(build_archive())) as made, tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member in made.getmembers():
            if member.name.startswith("smdebug/"):
                tar.addfile(member, made.extractfile(member))
        script = tarfile.TarInfo("train.py")
        script.size = len(FOREIGN.encode())
        tar.addfile(script, io.BytesIO(FOREIGN.encode()))
    return buffer.getvalue()


def request(local: Local, name: str, program: bytes, lr: str, epochs: str, *rules: dict[str, Any]) -> dict[str, Any]:
    collections = [
        {"CollectionName": "losses", "CollectionParameters": RAW},
        {"CollectionName": "gradients", "CollectionParameters": RAW},
        {"CollectionName": "relu_output", "CollectionParameters": {"include_regex": ".*1_output", **RAW}},
    ]
    return local.training_request(
        name,
        local.put(f"code/{name}/sourcedir.tar.gz", program),
        Environment={"LR": lr, "EPOCHS": epochs},
        DebugHookConfig={"S3OutputPath": f"s3://{local.bucket}/debug/", "CollectionConfigurations": collections},
        DebugRuleConfigurations=list(rules),
        ProfilerConfig={"S3OutputPath": f"s3://{local.bucket}/profile", "ProfilingIntervalInMilliseconds": 100},
        ProfilerRuleConfigurations=[rule("ProfilerReport"), rule("CPUBottleneck")],
    )


def judged(local: Local, name: str) -> dict[str, Any]:
    """The job's description when no rule is in progress any longer."""

    def verdicts(job: dict[str, Any]) -> set[str]:
        return {status["RuleEvaluationStatus"] for field in (DEBUG, PROFILER) for status in job[field]}

    local.wait_for_job(name, 240)
    job: dict[str, Any] = wait_until(
        lambda: local.client("sagemaker").describe_training_job(TrainingJobName=name), lambda job: "InProgress" not in verdicts(job), 240
    )
    return job


def by_name(statuses: list[dict[str, Any]]) -> dict[str, str]:
    return {status["RuleConfigurationName"]: status["RuleEvaluationStatus"] for status in statuses}


def test_a_foreign_script_with_its_own_hook_is_recorded_profiled_and_judged(local: Local, program: bytes) -> None:
    rules = (rule("VanishingGradient"), rule("ExplodingTensor"), rule("DeadRelu", tensor_regex=".*1_output"), rule("TensorVariance"))
    local.client("sagemaker").create_training_job(**request(local, "foreign", program, "0.1", "3", *rules))
    job = judged(local, "foreign")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    verdicts = by_name(job[DEBUG])
    assert (verdicts["VanishingGradient"], verdicts["ExplodingTensor"]) == ("NoIssuesFound", "NoIssuesFound"), job[DEBUG]
    assert "Error" not in (verdicts["DeadRelu"], *by_name(job[PROFILER]).values()), job
    kept = local.keys("debug/foreign/debug-output/")
    assert any(key.startswith("debug/foreign/debug-output/events/") for key in kept)
    assert "debug/foreign/debug-output/training_job_end.ts" in kept
    assert any(key.endswith(".algo-1.json") for key in local.keys("profile/foreign/profiler-output/system/incremental/"))
    output = local.keys("output/foreign/rule-output/")
    assert any(key.endswith("/profiler-output/profiler-report.html") for key in output), output
    statuses = json.loads(local.client("s3").get_object(Bucket=local.bucket, Key="output/foreign/rule-output/statuses.json")["Body"].read())
    assert by_name(statuses) == verdicts
    assert any("trained to the end" in line for line in local.log_lines("/aws/sagemaker/TrainingJobs", "foreign/"))
    assert local.mode.status().jobs == 0


def test_a_rule_stops_a_training_that_explodes(local: Local, program: bytes) -> None:
    action = '{\\"name\\": \\"stoptraining\\", \\"training_job_prefix\\": \\"explodes\\"}'
    local.client("sagemaker").create_training_job(
        **request(local, "explodes", program, "1e30", "3000", rule("ExplodingTensor", action_json=action))
    )
    job = judged(local, "explodes")
    assert (job["TrainingJobStatus"], by_name(job[DEBUG])) == ("Stopped", {"ExplodingTensor": "IssuesFound"}), job
    assert job[DEBUG][0]["StatusDetails"].startswith("RuleEvaluationConditionMet")
    assert not any("trained to the end" in line for line in local.log_lines("/aws/sagemaker/TrainingJobs", "explodes/"))
