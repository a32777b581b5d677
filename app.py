"""The CDK app: one stack, named after the project. Run by the CDK command line: `npx cdk synth`, `npx cdk deploy`."""

import aws_cdk as cdk

from stacks.configuration import Config
from stacks.image_classifier_stack import ImageClassifierStack

app = cdk.App()
config = Config.from_context(app.node.get_all_context())
ImageClassifierStack(app, config.project, config=config)
app.synth()
