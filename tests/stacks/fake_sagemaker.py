"""Runs our state machine against a SageMaker in memory: `run(asked, describeEndpoint=[…])` walks one execution to its end.

The Lambda functions are the real ones, on an S3 in memory. Waiting is cut to LOOKS looks.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lambdas.assess_model import assess
from lambdas.planning.photos import Photos
from lambdas.planning.plan import Prepared, plan
from lambdas.planning.settings import Settings
from lambdas.request.execution_input import ExecutionInput
from stacks.state_machine.definition import definition
from stacks.state_machine.endpoint import MOST_CHECKS
from stacks.state_machine.registry import MOST_APPROVAL_LOOKS
from stacks.state_machine.requests import Security
from stacks.state_machine.training import MOST_LOOKS, MOST_RULE_LOOKS, SHORT_LOOKS
from stacks.state_machine.undo import MOST_UNDOS
from tests.lambdas.fake_registry import FakeRegistry
from tests.lambdas.fake_s3 import FakeS3
from tests.lambdas.reports import HASHES, evaluation
from tests.stacks.execution import FUNCTIONS, SUBSTITUTED, Execution, TaskError, filled_in

LOOKS = 4
FEW_LOOKS = 2


def shortened(security: Security) -> dict[str, Any]:
    """The machine with fewer looks, so that waiting ends soon."""
    return dict(
        json.loads(
            json.dumps(filled_in(definition(security)))
            .replace(f"$checks < {MOST_CHECKS}", f"$checks < {LOOKS}")
            .replace(f"$looks < {SHORT_LOOKS}", f"$looks < {FEW_LOOKS}")
            .replace(f"$looks < {MOST_LOOKS}", f"$looks < {LOOKS}")
            .replace(f"$rule_looks < {MOST_RULE_LOOKS}", f"$rule_looks < {LOOKS}")
            .replace(f"$approval_looks < {MOST_APPROVAL_LOOKS}", f"$approval_looks < {LOOKS}")
            .replace(f"$undos < {MOST_UNDOS}", f"$undos < {LOOKS}")
            .replace(f"$undos >= {MOST_UNDOS}", f"$undos >= {LOOKS}")
        )
    )


MACHINE, SECURED_MACHINE = (shortened(each) for each in (Security(), Security(kms=True, vpc=True, subnets=2)))
SETTINGS = Settings(
    "whippet-data",
    "whippet",
    "a.gz",
    "1.dkr.ecr/pytorch:cpu",
    "1.dkr.ecr/pytorch:gpu",
    "1.dkr.ecr/ray:cpu",
    "1.dkr.ecr/ray:gpu",
    "us-east-1",
)
IN_PROGRESS = TaskError("SageMaker.SageMakerException", 'Cannot update in-progress endpoint "arn:aws:sagemaker:…:endpoint/whippet".')
OLDER = "whippet-an-older-one"
"""Endpoint config that the endpoint serves before an execution comes to it."""
ABSENT = TaskError("SageMaker.SageMakerException", 'Could not find endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/whippet".')


PHOTOS = Photos("s3://whippet-data/data/", {}, 0, files=20, bytes=10**12)
PREPARED = "prepared-data-sets/0a1b/"


def planned(asked: dict[str, Any], present: str = "") -> dict[str, Any]:
    start = datetime(2026, 11, 22, 16, tzinfo=UTC)
    made = plan(ExecutionInput.parse(asked), SETTINGS, PHOTOS, Prepared(PREPARED, present), "arn:aws:states:execution:1", start)
    return dict(json.loads(json.dumps(made, default=vars)))


def verdict(rule: str, status: str = "NoIssuesFound", details: str = "looked at 12 steps") -> dict[str, str]:
    return {"RuleConfigurationName": rule, "RuleEvaluationStatus": status, "StatusDetails": details}


HEALTHY = (verdict("LossNotDecreasing"), verdict("ExplodingTensor"), verdict("UnchangedTensor"))
NAMES = {SUBSTITUTED[f"{state}Arn"]: state[0].lower() + state[1:] for state in FUNCTIONS}
"""ARN of a function -> the name that a script calls it by."""
PACKAGE = "arn:aws:sagemaker:us-east-1:000000000000:model-package/whippet/1"


USUAL = object()
"""Stands in a script for the usual answer."""


class FakeSageMaker:
    """SageMaker as one execution sees it. `script[action]` holds answers, functions of the request or errors that come before the usual
    answers."""

    def __init__(self, verdicts: Sequence[dict[str, str]] = HEALTHY, **script: list[Any]) -> None:
        self.script, self.verdicts = script, verdicts
        self.training_output = ""
        self.endpoint_serves = OLDER
        self.endpoint_status = "InService"

    def __call__(self, action: str, arguments: dict[str, Any]) -> Any:
        name = action.removesuffix(".sync")
        if action == "invoke":
            name = NAMES[arguments["FunctionName"]]
        queue = self.script.get(name, [])
        answer: Any = queue.pop(0) if queue else USUAL
        answer = getattr(self, name)(arguments) if answer is USUAL else answer(arguments) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        if action == "describeTrainingJob":
            described = {**self.describeTrainingJob(arguments), **answer}
            return {key: value for key, value in described.items() if value is not None}
        if action == "describeEndpoint":
            self.endpoint_status = answer["EndpointStatus"]
            if self.endpoint_status == "InService":
                self.endpoint_serves = answer["EndpointConfigName"]
        return answer

    def prepareExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - after the action's names
        return {"Payload": planned(arguments["Payload"]["input"]), "StatusCode": 200}

    def assessModel(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        s3 = FakeS3(self.reports(arguments["Payload"]["folder"]))
        return {"Payload": assess(arguments["Payload"], s3, FakeRegistry()), "StatusCode": 200}

    def reports(self, folder: str) -> dict[str, bytes]:
        """What the training job left, which wrote a verdict of each debugger rule and one of a profiler rule."""
        where = folder.removeprefix("s3://whippet-data/")
        judged = {"rule_statuses": self.verdicts, "profiler_rule_statuses": [verdict("CPUBottleneck")]}
        files: dict[str, Any] = {**judged, "evaluation": evaluation(), "model": {"hashes": HASHES}}
        return {f"{where}/report/{name}.json": json.dumps(statuses).encode() for name, statuses in files.items()}

    def createProcessingJob(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the action's name
        return {"ProcessingJobName": arguments["ProcessingJobName"], "ProcessingJobStatus": "Completed"}

    def createHyperParameterTuningJob(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        best = {
            "TrainingJobName": "whippet-1-001",
            "TunedHyperParameters": {"lr": "0.0123", "batch_size": '"64"'},
            "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "objective:valid_loss", "Value": 0.51},
        }
        return {"HyperParameterTuningJobName": arguments["HyperParameterTuningJobName"], "BestTrainingJob": best}

    def createTrainingJob(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name, self.training_output = arguments["TrainingJobName"], arguments["OutputDataConfig"]["S3OutputPath"]
        return {**self.describeTrainingJob(arguments), "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}"}

    def createModel(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"ModelArn": f"arn:aws:sagemaker:us-east-1:000000000000:model/{arguments['ModelName']}"}

    def createEndpointConfig(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"EndpointConfigArn": f"arn:aws:sagemaker:us-east-1:000000000000:endpoint-config/{arguments['EndpointConfigName']}"}

    def createEndpoint(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.endpoint_status, self.endpoint_serves = "Creating", arguments["EndpointConfigName"]
        return {"EndpointArn": "arn:aws:sagemaker:us-east-1:000000000000:endpoint/whippet"}

    updateEndpoint = createEndpoint  # noqa: N815

    def describeEndpoint(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"EndpointStatus": "InService", "EndpointConfigName": self.endpoint_serves}

    def deleteEndpoint(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if self.endpoint_status in ("Creating", "Updating"):
            raise IN_PROGRESS
        return {}

    def describeTrainingJob(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = arguments["TrainingJobName"]
        return {
            "TrainingJobName": name,
            "TrainingJobStatus": "Completed",
            "SecondaryStatus": "Completed",
            "ModelArtifacts": {"S3ModelArtifacts": f"{self.training_output}/{name}/model.tar.gz"},
            "DebugRuleEvaluationStatuses": list(self.verdicts),
        }

    def createModelPackage(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"ModelPackageArn": PACKAGE}

    def describeModelPackage(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": "Approved"}

    updateModelPackage = createModelPackage  # noqa: N815

    def verifyEndpoint(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        answer = {"verified": True, "reasons": [], "photos": 4, "largest_difference": 1e-05, "milliseconds": 31.2}
        return {"Payload": answer, "StatusCode": 200}

    def pruneModels(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Payload": {"deleted": [], "left": []}, "StatusCode": 200}

    def publishReport(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        uri = f"s3://whippet-data/executions/{arguments['Payload']['run']}/execution.json"
        return {"Payload": {"bill": {"total_usd": 0.31}, "uri": uri}, "StatusCode": 200}

    def cleanUp(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Payload": {"stopped": [], "deleted": [], "left": []}, "StatusCode": 200}

    def publish(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        return {"MessageId": "0a1b"}

    def sendTaskFailure(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """The task that makes this call is the one that its token names."""
        raise TaskError(arguments["Error"], arguments["Cause"])

    def deregisterScalableTarget(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {}

    def listTrainingJobsForHyperParameterTuningJob(self, _arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"TrainingJobSummaries": []}


def run(asked: Any = None, /, *, machine: Any = MACHINE, **script: Any) -> Execution:
    return Execution(machine, FakeSageMaker(**script), asked or {}).run()


def status(now: str, **more: Any) -> dict[str, Any]:
    return {"EndpointStatus": now, "EndpointConfigName": OLDER, **more}


def asked_for(execution: Execution, action: str) -> list[dict[str, Any]]:
    return [arguments for each, arguments in execution.requests if each == action]
