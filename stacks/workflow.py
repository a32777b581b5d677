"""Workflow: the state machine with its functions, and the roles of its jobs and models.

Runs at synth. Each role has only the permissions that it needs: no managed policy, and no `*` where a name is possible.
"""

import json
import re

from aws_cdk import Aws, CfnResource
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.function import add_log_group
from stacks.images import Images
from stacks.network import Network
from stacks.notifications import Notifications
from stacks.roles import JobRoles
from stacks.source_archive import SourceArchive
from stacks.state_functions import StateFunctions
from stacks.state_machine.definition import definition
from stacks.state_machine.requests import Security
from stacks.state_machine_role import add_state_machine_role
from stacks.storage import Storage


class Workflow(Construct):
    """From photos in the bucket to an endpoint in service."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        config: Config,
        storage: Storage,
        encryption: Encryption,
        network: Network,
        notifications: Notifications,
    ) -> None:
        """Adds the state machine and what it needs."""
        super().__init__(scope, id)
        self.config, self.encryption, self.network, self.topic = config, encryption, network, notifications.topic
        images = Images(self, "Images", config=config)
        self.source_archive = SourceArchive(self, "SourceArchive")
        self.functions = StateFunctions(self, "States", config=config, encryption=encryption, storage=storage, images=images)
        self.job_roles = JobRoles(
            self,
            "JobRoles",
            config=config,
            storage=storage,
            encryption=encryption,
            network=network,
            images=images,
            source_archive=self.source_archive,
        )
        self.role = add_state_machine_role(
            self,
            project=config.project,
            encryption=encryption,
            called=[each.function for each in self.functions.by_state.values()],
            passed=self.job_roles,
            images=images,
            artefacts=storage.bucket.arn_for_objects("executions/*/output/model.tar.gz"),
            topic=self.topic,
        )
        self.state_machine = self.add_state_machine()

    @property
    def source_archive_uri(self) -> str:
        """`s3://…` of the source archive."""
        asset = self.source_archive.asset
        return f"s3://{asset.s3_bucket_name}/{asset.s3_object_key}"

    def add_state_machine(self) -> stepfunctions.StateMachine:
        """Adds the state machine, with all events logged and traced."""
        name = f"/aws/vendedlogs/states/{self.config.project}"
        log_group = add_log_group(self, "Logs", name, config=self.config, encryption=self.encryption)
        written = json.dumps(definition(self.security()))
        state_machine = stepfunctions.StateMachine(
            self,
            "StateMachine",
            state_machine_name=self.config.project,
            definition_body=stepfunctions.DefinitionBody.from_string(written),
            definition_substitutions=self.substitutions(written),
            role=self.role,
            logs=stepfunctions.LogOptions(destination=log_group, level=stepfunctions.LogLevel.ALL, include_execution_data=True),
            tracing_enabled=True,
        )
        # cfn-lint accepts only ARNs that begin with arn:aws:, and these are filled in at deploy time; the tests lint the result.
        resource = state_machine.node.default_child
        assert isinstance(resource, CfnResource)
        resource.add_metadata("cfn-lint", {"config": {"ignore_checks": ["E3601"]}})
        return state_machine

    def security(self) -> Security:
        """The key and the network that the requests name."""
        return Security(kms=self.encryption.key is not None, vpc=bool(self.network.subnets), subnets=len(self.network.subnets))

    def substitutions(self, written: str) -> dict[str, str]:
        """The value that CloudFormation inserts for each `${…}` of the definition; KeyError if one is unknown."""
        known = {**self.names(), **self.role_arns(), **self.function_arns(), **self.security_ids()}
        return {name: known[name] for name in sorted(set(re.findall(r"\$\{(\w+)\}", written)))}

    def names(self) -> dict[str, str]:
        """Values other than ARNs of roles and functions."""
        return {
            "Partition": Aws.PARTITION,
            "Project": self.config.project,
            "TopicArn": self.topic.topic_arn,
            "SourceArchiveUri": self.source_archive_uri,
            "SourceArchiveName": self.source_archive.asset.s3_object_key.rpartition("/")[2],
        }

    def role_arns(self) -> dict[str, str]:
        """The roles of jobs and endpoints."""
        roles = self.job_roles
        return {
            "PreparationRoleArn": roles.preparation.role_arn,
            "TrainingRoleArn": roles.training.role_arn,
            "ManagedTrainingRoleArn": roles.managed_training.role_arn,
            "HostingRoleArn": roles.hosting.role_arn,
        }

    def function_arns(self) -> dict[str, str]:
        """Each function by its state, with the log group that a failure message names."""
        functions = self.functions.by_state.items()
        arns = {f"{state}Arn": each.function.function_arn for state, each in functions}
        return arns | {f"{state}LogGroup": each.log_group.log_group_name for state, each in functions}

    def security_ids(self) -> dict[str, str]:
        """The key, the subnets and the security group, if there are any."""
        subnets = {f"SubnetId{number}": subnet for number, subnet in enumerate(self.network.subnets)}
        key = {"KmsKeyArn": self.encryption.key.key_arn} if self.encryption.key else {}
        group = {"SecurityGroupId": self.network.security_group_id} if self.network.subnets else {}
        return {**key, **subnets, **group}
