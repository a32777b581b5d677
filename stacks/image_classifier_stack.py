"""The one stack: photos in a bucket, a state machine that makes a classifier of them, an API that asks it.

Runs at synth, from app.py; it needs no account and no network. What it makes is named by its outputs.
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
    """Storage, Workflow and InferenceApi. Models and endpoints are made by executions, not by this stack, and outlive it."""

    def __init__(self, scope: Construct, id: str, *, config: Config) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the three, and the outputs that tools find them by."""
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
        CfnOutput(self, "BucketName", value=storage.bucket.bucket_name, description="Photos, weights, and what executions leave")
        CfnOutput(self, "StateMachineArn", value=workflow.state_machine.state_machine_arn, description="Start an execution of it with {}")
        CfnOutput(self, "ApiUrl", value=api.url, description="Post a photo here")
        CfnOutput(self, "PageUrl", value=api.page_url, description="The same for a browser, where the API is open to one")
        CfnOutput(self, "EndpointName", value=config.project, description="The SageMaker endpoint, once an execution has made it")
        CfnOutput(self, "SourceArchiveUri", value=workflow.source_archive_uri, description="What the training jobs run")
        Tags.of(self).add("project", config.project)
