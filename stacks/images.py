"""AWS's container images: the publishing account in each region, the repositories and the tags.

Runs at synth. The table becomes a CloudFormation mapping, so that one template works in every region without a lookup; a test compares it
with the tables in the SageMaker SDK.
"""

from aws_cdk import Aws, CfnMapping
from constructs import Construct

from stacks.configuration import PRIVATE_IMAGE, Config

TRAINING_REPOSITORY = "pytorch"
TRAINING_TAGS = {"cpu": "2.13-cpu-amzn2023-sagemaker", "gpu": "2.13-cu133-amzn2023-sagemaker"}

SERVING_REPOSITORY = "ray"
SERVING_TAGS = {"cpu": "serve-ml-sagemaker-cpu-v1.4", "gpu": "serve-ml-sagemaker-cuda-v1.4"}

ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-1": "763104351884",
    "ap-northeast-2": "763104351884",
    "ap-northeast-3": "364406365360",
    "ap-south-1": "763104351884",
    "ap-south-2": "772153158452",
    "ap-southeast-1": "763104351884",
    "ap-southeast-2": "763104351884",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-central-1": "763104351884",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-1": "763104351884",
    "eu-central-2": "380420809688",
    "eu-isoe-west-1": "371248457586",
    "eu-north-1": "763104351884",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "eu-west-1": "763104351884",
    "eu-west-2": "763104351884",
    "eu-west-3": "763104351884",
    "eusc-de-east-1": "204133271717",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "me-west-1": "124382933778",
    "mx-central-1": "637423239942",
    "sa-east-1": "763104351884",
    "us-east-1": "763104351884",
    "us-east-2": "763104351884",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
    "us-iso-east-1": "886529160074",
    "us-isob-east-1": "094389454867",
    "us-isof-east-1": "303241398832",
    "us-isof-south-1": "454834333376",
    "us-west-1": "763104351884",
    "us-west-2": "763104351884",
}
"""Region -> account that publishes the images there, for both repositories."""


class Images(Construct):
    """The four images of a deployment: AWS's own unless the configuration names others. Each is an address, resolved at deploy time."""

    def __init__(self, scope: Construct, id: str, *, config: Config) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the mapping from region to account."""
        super().__init__(scope, id)
        self.accounts = CfnMapping(
            self, "Accounts", lazy=True, mapping={region: {"account": account} for region, account in ACCOUNTS.items()}
        )
        self.training_cpu = config.training_image_cpu or self.name_published_image(TRAINING_REPOSITORY, TRAINING_TAGS["cpu"])
        self.training_gpu = config.training_image_gpu or self.name_published_image(TRAINING_REPOSITORY, TRAINING_TAGS["gpu"])
        self.serving_cpu = config.serving_image_cpu or self.name_published_image(SERVING_REPOSITORY, SERVING_TAGS["cpu"])
        self.serving_gpu = config.serving_image_gpu or self.name_published_image(SERVING_REPOSITORY, SERVING_TAGS["gpu"])
        self.training_repositories = self.list_repositories(TRAINING_REPOSITORY, config.training_image_cpu, config.training_image_gpu)
        self.serving_repositories = self.list_repositories(SERVING_REPOSITORY, config.serving_image_cpu, config.serving_image_gpu)

    def name_published_image(self, repository: str, tag: str) -> str:
        """Address of an image that AWS publishes in the stack's region."""
        return f"{self.account}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}/{repository}:{tag}"

    def list_repositories(self, published: str, *images: str) -> list[str]:
        """ARNs of the repositories that a role must pull from; public images need no permission."""
        arns = {f"arn:{Aws.PARTITION}:ecr:{Aws.REGION}:{self.account}:repository/{published}"} if "" in images else set()
        for match in filter(None, map(PRIVATE_IMAGE.fullmatch, images)):
            arns.add(f"arn:{Aws.PARTITION}:ecr:{match['region']}:{match['account']}:repository/{match['repository']}")
        return sorted(arns)

    @property
    def account(self) -> str:
        """The publishing account of the stack's region."""
        return self.accounts.find_in_map(Aws.REGION, "account")
