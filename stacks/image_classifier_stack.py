"""The one stack: a bucket for photos, a state machine that trains a classifier from them, an API that serves it.

Runs at synth, from app.py; it needs no account and no network. Its outputs name the resources that tools need.
"""

from aws_cdk import CfnOutput, Stack, Tags
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.inference_api import InferenceApi
from stacks.network import Network
from stacks.notifications import Notifications
from stacks.observability import Observability
from stacks.operations import Operations
from stacks.storage import Storage
from stacks.workflow import Workflow


class ImageClassifierStack(Stack):
    """Storage, Workflow, InferenceApi and what they need. Executions create models and endpoints, which outlive the stack."""

    def __init__(self, scope: Construct, id: str, *, config: Config) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the constructs, and the outputs by which tools find them."""
        super().__init__(scope, id, description="Whippet: a tuned, trained and deployed image classifier")
        encryption = Encryption(self, "Encryption", config=config)
        network = Network(self, "Network", config=config)
        storage = Storage(self, "Storage", config=config, encryption=encryption)
        notifications = Notifications(self, "Notifications", config=config, encryption=encryption)
        workflow = Workflow(
            self,
            "Workflow",
            config=config,
            storage=storage,
            encryption=encryption,
            network=network,
            notifications=notifications,
        )
        operations = Operations(
            self,
            "Operations",
            config=config,
            encryption=encryption,
            storage=storage,
            workflow=workflow,
            notifications=notifications,
        )
        api = InferenceApi(self, "InferenceApi", config=config, encryption=encryption)
        Observability(
            self,
            "Observability",
            config=config,
            workflow=workflow,
            operations=operations,
            api=api,
            notifications=notifications,
        )
        CfnOutput(self, "BucketName", value=storage.bucket.bucket_name, description="Photos, weights and outputs of executions")
        CfnOutput(self, "StateMachineArn", value=workflow.state_machine.state_machine_arn, description="Start an execution with {}")
        CfnOutput(self, "ApiUrl", value=api.url, description="Post a photo here")
        CfnOutput(self, "PageUrl", value=api.page_url, description="The page for browsers, if api_authorization is none")
        CfnOutput(self, "EndpointName", value=config.project, description="The SageMaker endpoint, after an execution has created it")
        CfnOutput(self, "SourceArchiveUri", value=workflow.source_archive_uri, description="Code of the processing and training jobs")
        Tags.of(self).add("project", config.project)
