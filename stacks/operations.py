"""Operations: the functions that look after a deployment between executions, each with the event or the schedule that calls it.

Runs at synth. ReapExecution tidies up after executions that were stopped from outside, ScaleEndpoint sets the endpoint's limits whenever it
comes into service, StopIdleEndpoint removes one that nobody asks, StartRetraining starts an execution when there are new photos. Nobody
waits for their answers: what fails three times goes to the queue of undelivered events, and an alarm tells.
"""

from typing import Any

from aws_cdk import Aws, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.function import Function
from stacks.notifications import Notifications
from stacks.permissions import allow, resource_arn
from stacks.storage import Storage
from stacks.tidying import (
    ENDPOINTS_ONLY,
    NEW_NAMES,
    allow_deleting_endpoint,
    allow_listing_executions,
    allow_looking_at_deployments,
    allow_reading_model_packages,
    allow_removing,
    allow_stopping_jobs,
)
from stacks.workflow import Workflow

REAP_AGAIN = "rate(15 minutes)"
IDLE_LOOK = "rate(1 hour)"
NEW_DATA_LOOK = "rate(15 minutes)"
QUIET_MINUTES = 30
"""Photos are still being uploaded while the newest is younger than that."""

SCALING_ROLE = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
"""AWS's own role of endpoint scaling, which the account's first scaled endpoint makes."""


class Operations(Construct):
    """The functions and their rules; those that the configuration turns off are not there."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        config: Config,
        encryption: Encryption,
        storage: Storage,
        workflow: Workflow,
        notifications: Notifications,
    ) -> None:
        """Adds them."""
        super().__init__(scope, id)
        self.config, self.encryption, self.undelivered = config, encryption, notifications.undelivered
        self.storage, self.workflow = storage, workflow
        self.reap_execution = self.add_reap_execution()
        self.functions = [self.reap_execution, self.add_scale_endpoint()]
        if config.endpoint_idle_hours:
            self.functions.append(self.add_stop_idle_endpoint())
        if config.retraining != "none" or config.retrain_on_new_data:
            self.functions.append(self.add_start_retraining())

    def add(self, name: str, module: str, timeout: Duration, **environment: str) -> Function:
        """One of them."""
        options: dict[str, Any] = {"memory_mb": 256, "timeout": timeout, "environment": environment, "dead_letters": self.undelivered}
        return Function(self, name, module=module, config=self.config, encryption=self.encryption, **options)

    def call(self, function: Function, name: str, description: str, **when: Any) -> None:
        """The rule that calls it: `event_pattern` or `schedule`."""
        target = targets.LambdaFunction(function.function, dead_letter_queue=self.undelivered)
        rule_name = f"{self.config.project}-{name}"
        kind = "Schedule" if "schedule" in when else "Rule"
        events.Rule(self, f"{function.node.id}{kind}", rule_name=rule_name, description=description, targets=[target], **when)

    def add_reap_execution(self) -> Function:
        """A state machine that is aborted or times out runs no state more, so its own CleanUp never comes."""
        project = self.config.project
        machine = self.workflow.state_machine.state_machine_arn
        function = self.add("ReapExecution", "reap_execution", Duration.minutes(15), PROJECT=project, STATE_MACHINE_ARN=machine)
        role, why = function.role, "What an execution that was stopped from outside left behind is stopped and deleted."
        allow_listing_executions(role, project, why="It looks which executions ended.")
        executions = resource_arn(self, "states", f"execution:{project}:*")
        why_look, names = "It looks whether one runs again.", "Executions get a new name each time."
        allow(role, ["states:DescribeExecution"], executions, why=why_look, why_wildcard=names)
        allow_stopping_jobs(role, project, why=why)
        allow_looking_at_deployments(role, project, why="What is or would next be served is spared.")
        allow_removing(role, project, why=why)
        allow_deleting_endpoint(role, project, why="An endpoint that it made and nobody verified is removed.")
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{project}")
        configs = resource_arn(self, "sagemaker", f"endpoint-config/{project}-*")
        why = "An endpoint that it moved and nobody verified is taken back."
        allow(role, ["sagemaker:UpdateEndpoint"], endpoint, configs, why=why, why_wildcard=NEW_NAMES)
        self.encryption.allow_storage(role)
        ended = events.EventPattern(
            source=["aws.states"],
            detail_type=["Step Functions Execution Status Change"],
            detail={"stateMachineArn": [machine], "status": ["ABORTED", "TIMED_OUT", "FAILED"]},
        )
        self.call(function, "reap-execution", "Executions that ended before their work was done", event_pattern=ended)
        again = events.Schedule.expression(REAP_AGAIN)
        self.call(function, "reap-executions", "What had to wait because the endpoint was being changed", schedule=again)
        return function

    def add_scale_endpoint(self) -> Function:
        """An endpoint's limits are its variant's, and a new variant knows nothing of the old one's."""
        project = self.config.project
        function = self.add("ScaleEndpoint", "scale_endpoint", Duration.minutes(5), PROJECT=project)
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{project}")
        why = "It reads how far the endpoint may grow."
        allow(function.role, ["sagemaker:DescribeEndpoint"], endpoint, why=why)
        configs = resource_arn(self, "sagemaker", f"endpoint-config/{project}-*")
        allow(function.role, ["sagemaker:DescribeEndpointConfig", "sagemaker:ListTags"], configs, why=why, why_wildcard=NEW_NAMES)
        self.allow_scaling(function.role)
        # SageMaker's events write a status in another way than its API does; which of the two is not the same in all of its documents.
        in_service = events.EventPattern(
            source=["aws.sagemaker"],
            detail_type=["SageMaker Endpoint State Change"],
            detail={"EndpointName": [project], "EndpointStatus": ["IN_SERVICE", "InService"]},
        )
        self.call(function, "scale-endpoint", "The endpoint has come into service", event_pattern=in_service)
        return function

    def allow_scaling(self, role: iam.Role) -> None:
        """Application Auto Scaling moves the number of machines in the name of a role of its own, which the first caller makes."""
        why = "It sets between which numbers of machines the endpoint moves, and by what."
        changes = [f"application-autoscaling:{each}" for each in ("RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy")]
        targets_of_ours = resource_arn(role, "application-autoscaling", "scalable-target/*")
        named_by_aws = "Its id is chosen by AWS; the condition leaves endpoints only."
        allow(role, changes, targets_of_ours, why=why, why_wildcard=named_by_aws, conditions=ENDPOINTS_ONLY)
        endpoint = resource_arn(role, "sagemaker", f"endpoint/{self.config.project}")
        why = "Scaling asks about the endpoint in the caller's name."
        allow(role, ["sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"], endpoint, why=why)
        alarms = resource_arn(role, "cloudwatch", f"alarm:TargetTracking-endpoint/{self.config.project}/variant/*")
        watch = [f"cloudwatch:{each}" for each in ("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms")]
        allow(role, watch, alarms, why="A policy makes alarms in its caller's name.", why_wildcard="AWS puts ids at their names' ends.")
        by_scaling = {"StringEquals": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}}
        aws_role = f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/{SCALING_ROLE}"
        why = "The first scaled endpoint of an account makes AWS's own role for it."
        allow(role, ["iam:CreateServiceLinkedRole"], aws_role, why=why, conditions=by_scaling)

    def add_stop_idle_endpoint(self) -> Function:
        """An endpoint costs by the hour, whether somebody asks it or not."""
        project = self.config.project
        hours = str(self.config.endpoint_idle_hours)
        function = self.add("StopIdleEndpoint", "stop_idle_endpoint", Duration.minutes(5), PROJECT=project, IDLE_HOURS=hours)
        why = "An endpoint that no request would wake as it is stays."
        allow(function.role, ["sagemaker:DescribeEndpoint"], resource_arn(self, "sagemaker", f"endpoint/{project}"), why=why)
        allow_reading_model_packages(function.role, project, why=why)
        allow_deleting_endpoint(function.role, project, why="It removes the endpoint that nobody has asked for so long.")
        why = "It counts what the endpoint was asked."
        reading = "CloudWatch reads metrics without naming a resource."
        allow(function.role, ["cloudwatch:GetMetricData"], "*", why=why, why_wildcard=reading)
        self.call(function, "stop-idle-endpoint", "Looks whether anybody asks the endpoint", schedule=events.Schedule.expression(IDLE_LOOK))
        return function

    def add_start_retraining(self) -> Function:
        """Photos that have changed since the newest execution make a new model, once they have all arrived."""
        project, bucket = self.config.project, self.storage.bucket
        machine = self.workflow.state_machine.state_machine_arn
        environment = {
            "BUCKET": bucket.bucket_name,
            "PROJECT": project,
            "STATE_MACHINE_ARN": machine,
            "QUIET_MINUTES": str(QUIET_MINUTES),
            "EXECUTION_INPUT": self.config.retraining_input,
        }
        function = self.add("StartRetraining", "start_retraining", Duration.minutes(15), **environment)
        role = function.role
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="It looks through the photos' names and dates.")
        allow(role, ["states:StartExecution"], machine, why="It starts an execution where none runs.")
        allow_listing_executions(role, project, why="It looks whether one runs.")
        allow_reading_model_packages(role, project, why="It looks from which photos the newest model was made.")
        schedule = events.Schedule.expression(NEW_DATA_LOOK if self.config.retrain_on_new_data else self.config.retraining)
        self.call(function, "start-retraining", "Looks whether the photos have changed", schedule=schedule)
        return function
