"""Operations: the functions that maintain a deployment between executions, each with the event or the schedule that calls it.

Runs at synth. ReapExecution cleans up after executions that were stopped from outside, ScaleEndpoint sets the endpoint's limits when it
comes into service, StopIdleEndpoint deletes an idle endpoint, StartRetraining starts an execution when the photos have changed. They
are called asynchronously: events that fail three times go to the dead-letter queue and raise an alarm.
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
    allow_reading_deployments,
    allow_reading_model_packages,
    allow_removing,
    allow_stopping_jobs,
)
from stacks.workflow import Workflow

REAP_AGAIN = "rate(15 minutes)"
IDLE_LOOK = "rate(1 hour)"
NEW_DATA_LOOK = "rate(15 minutes)"
QUIET_MINUTES = 30
"""The upload counts as finished when the newest photo is older than this."""

SCALING_ROLE = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
"""AWS's service-linked role for endpoint scaling, created with the account's first scaled endpoint."""


class Operations(Construct):
    """The functions and their rules, except those that the configuration disables."""

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
        """Adds a function that is called asynchronously."""
        options: dict[str, Any] = {"memory_mb": 256, "timeout": timeout, "environment": environment, "dead_letters": self.undelivered}
        return Function(self, name, module=module, config=self.config, encryption=self.encryption, **options)

    def call(self, function: Function, name: str, description: str, **when: Any) -> None:
        """Adds the rule that calls the function: `event_pattern` or `schedule`."""
        target = targets.LambdaFunction(function.function, dead_letter_queue=self.undelivered)
        rule_name = f"{self.config.project}-{name}"
        kind = "Schedule" if "schedule" in when else "Rule"
        events.Rule(self, f"{function.node.id}{kind}", rule_name=rule_name, description=description, targets=[target], **when)

    def add_reap_execution(self) -> Function:
        """An execution that is aborted or times out runs no further state, so its own CleanUp never runs."""
        project = self.config.project
        machine = self.workflow.state_machine.state_machine_arn
        function = self.add("ReapExecution", "reap_execution", Duration.minutes(15), PROJECT=project, STATE_MACHINE_ARN=machine)
        role, why = function.role, "It stops jobs and deletes resources of an execution that was stopped from outside."
        allow_listing_executions(role, project, why="It lists the executions that ended.")
        executions = resource_arn(self, "states", f"execution:{project}:*")
        why_look, names = "It checks whether an execution was redriven.", "Each execution has a new name."
        allow(role, ["states:DescribeExecution"], executions, why=why_look, why_wildcard=names)
        allow_stopping_jobs(role, project, why=why)
        allow_reading_deployments(role, project, why="It keeps models that are served or would be served next.")
        allow_removing(role, project, why=why)
        allow_deleting_endpoint(role, project, why="It deletes an endpoint that the execution created but did not verify.")
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{project}")
        configs = resource_arn(self, "sagemaker", f"endpoint-config/{project}-*")
        why = "It reverts an endpoint that the execution updated but did not verify."
        allow(role, ["sagemaker:UpdateEndpoint"], endpoint, configs, why=why, why_wildcard=NEW_NAMES)
        self.encryption.allow_storage(role)
        ended = events.EventPattern(
            source=["aws.states"],
            detail_type=["Step Functions Execution Status Change"],
            detail={"stateMachineArn": [machine], "status": ["ABORTED", "TIMED_OUT", "FAILED"]},
        )
        self.call(function, "reap-execution", "Executions that ended before they were finished", event_pattern=ended)
        again = events.Schedule.expression(REAP_AGAIN)
        self.call(function, "reap-executions", "Clean-up that had to wait because the endpoint was changing", schedule=again)
        return function

    def add_scale_endpoint(self) -> Function:
        """Scaling limits belong to a variant, and a new variant does not inherit those of the old one."""
        project = self.config.project
        function = self.add("ScaleEndpoint", "scale_endpoint", Duration.minutes(5), PROJECT=project)
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{project}")
        why = "It reads the endpoint's maximum number of instances."
        allow(function.role, ["sagemaker:DescribeEndpoint"], endpoint, why=why)
        configs = resource_arn(self, "sagemaker", f"endpoint-config/{project}-*")
        allow(function.role, ["sagemaker:DescribeEndpointConfig", "sagemaker:ListTags"], configs, why=why, why_wildcard=NEW_NAMES)
        self.allow_scaling(function.role)
        # SageMaker's events spell a status differently from its API, and AWS's documents disagree about which spelling.
        in_service = events.EventPattern(
            source=["aws.sagemaker"],
            detail_type=["SageMaker Endpoint State Change"],
            detail={"EndpointName": [project], "EndpointStatus": ["IN_SERVICE", "InService"]},
        )
        self.call(function, "scale-endpoint", "The endpoint has come into service", event_pattern=in_service)
        return function

    def allow_scaling(self, role: iam.Role) -> None:
        """Application Auto Scaling changes the number of instances with its own service-linked role, which the first caller creates."""
        why = "It sets the endpoint's scaling limits and policy."
        changes = [f"application-autoscaling:{each}" for each in ("RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy")]
        targets_of_ours = resource_arn(role, "application-autoscaling", "scalable-target/*")
        named_by_aws = "AWS chooses the target's id; the condition limits it to endpoints."
        allow(role, changes, targets_of_ours, why=why, why_wildcard=named_by_aws, conditions=ENDPOINTS_ONLY)
        endpoint = resource_arn(role, "sagemaker", f"endpoint/{self.config.project}")
        why = "Application Auto Scaling calls SageMaker with the caller's permissions."
        allow(role, ["sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"], endpoint, why=why)
        alarms = resource_arn(role, "cloudwatch", f"alarm:TargetTracking-endpoint/{self.config.project}/variant/*")
        watch = [f"cloudwatch:{each}" for each in ("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms")]
        allow(role, watch, alarms, why="A scaling policy creates alarms as its caller.", why_wildcard="AWS appends ids to their names.")
        by_scaling = {"StringEquals": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}}
        aws_role = f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/{SCALING_ROLE}"
        why = "The first scaled endpoint of an account creates AWS's service-linked role."
        allow(role, ["iam:CreateServiceLinkedRole"], aws_role, why=why, conditions=by_scaling)

    def add_stop_idle_endpoint(self) -> Function:
        """An endpoint costs by the hour, with or without requests."""
        project = self.config.project
        hours = str(self.config.endpoint_idle_hours)
        function = self.add("StopIdleEndpoint", "stop_idle_endpoint", Duration.minutes(5), PROJECT=project, IDLE_HOURS=hours)
        why = "It keeps an endpoint that a request could not recreate."
        allow(function.role, ["sagemaker:DescribeEndpoint"], resource_arn(self, "sagemaker", f"endpoint/{project}"), why=why)
        allow_reading_model_packages(function.role, project, why=why)
        allow_deleting_endpoint(function.role, project, why="It deletes an endpoint that had no requests for `endpoint_idle_hours`.")
        why = "It counts the endpoint's requests."
        reading = "CloudWatch has no resource-level permissions for metrics."
        allow(function.role, ["cloudwatch:GetMetricData"], "*", why=why, why_wildcard=reading)
        self.call(function, "stop-idle-endpoint", "Checks whether the endpoint is idle", schedule=events.Schedule.expression(IDLE_LOOK))
        return function

    def add_start_retraining(self) -> Function:
        """Trains a new model if the photos have changed since the newest execution and the upload has finished."""
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
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="It lists the photos' names and dates.")
        allow(role, ["states:StartExecution"], machine, why="It starts an execution if none is running.")
        allow_listing_executions(role, project, why="It checks whether an execution is running.")
        allow_reading_model_packages(role, project, why="It reads which photos the newest model was trained from.")
        schedule = events.Schedule.expression(NEW_DATA_LOOK if self.config.retrain_on_new_data else self.config.retraining)
        self.call(function, "start-retraining", "Checks whether the photos have changed", schedule=schedule)
        return function
