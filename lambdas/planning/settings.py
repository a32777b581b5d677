"""What the stack tells PrepareExecution through its environment. Runs inside that Lambda function; standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from lambdas.request.instance_types import uses_gpu


@dataclass(frozen=True)
class Settings:
    """What the stack tells this function, through its environment."""

    bucket: str
    project: str
    preparation_code: str
    """Hash of the code that PrepareDataset runs."""
    training_image_cpu: str
    training_image_gpu: str
    serving_image_cpu: str
    serving_image_gpu: str
    region: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """BUCKET, PROJECT, PREPARATION_CODE and the four images; a missing one is a KeyError, a fault of the deployment. Lambda sets the
        region itself."""
        return cls(
            bucket=environment["BUCKET"],
            project=environment["PROJECT"],
            preparation_code=environment["PREPARATION_CODE"],
            training_image_cpu=environment["TRAINING_IMAGE_CPU"],
            training_image_gpu=environment["TRAINING_IMAGE_GPU"],
            serving_image_cpu=environment["SERVING_IMAGE_CPU"],
            serving_image_gpu=environment["SERVING_IMAGE_GPU"],
            region=environment["AWS_REGION"],
        )

    def training_image(self, instance_type: str) -> str:
        """The image of processing and training jobs on such a machine."""
        return self.training_image_gpu if uses_gpu(instance_type) else self.training_image_cpu

    def serving_image(self, instance_type: str) -> str:
        """The image of endpoints on such a machine."""
        return self.serving_image_gpu if uses_gpu(instance_type) else self.serving_image_cpu
