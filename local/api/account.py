"""The AWS account and region that local mode answers for, and the ARNs of SageMaker's resources in it."""

REGION = "us-east-1"
ACCOUNT = "000000000000"


def build_arn(kind: str, name: str) -> str:
    """Build the ARN of a SageMaker resource; a name that is already an ARN is returned unchanged."""
    return name if name.startswith("arn:") else f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"
