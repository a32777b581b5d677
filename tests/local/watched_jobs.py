"""Training jobs with Debugger rules, as a client requests them."""

import copy
from typing import Any

from tests.local.conftest import training_fields

IMAGE = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"

AS_THE_SDK_WRITES_IT = '{\\"name\\": \\"stoptraining\\", \\"training_job_prefix\\": \\"Watched\\"}'


def rule(name: str, image: str = IMAGE, **parameters: str) -> dict[str, Any]:
    return {"RuleConfigurationName": name, "RuleEvaluatorImage": image, "RuleParameters": {"rule_to_invoke": name, **parameters}}


def watched(**fields: Any) -> dict[str, Any]:
    """A request with everything that Debugger and Profiler take."""
    request = {
        "TrainingJobName": "watched-1",
        **training_fields("b", "s3://b/p"),
        "DebugHookConfig": {"S3OutputPath": "s3://b/debug", "CollectionConfigurations": [{"CollectionName": "losses"}]},
        "DebugRuleConfigurations": [rule("Overfit", action_json=AS_THE_SDK_WRITES_IT), rule("AllZero")],
        "ProfilerConfig": {"S3OutputPath": "s3://b/profile", "ProfilingIntervalInMilliseconds": 100},
        "ProfilerRuleConfigurations": [rule("ProfilerReport")],
    }
    return {**copy.deepcopy(request), **fields}
