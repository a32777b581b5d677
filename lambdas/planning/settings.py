"""What the stack hands to PrepareExecution through its environment. Runs inside that Lambda function; standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from lambdas.request.instance_types import uses_gpu


@dataclass(frozen=True)
class Settings:
    """Names and images of this deployment."""

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
        """Read one variable for each field, its name in capitals; a missing one is a KeyError, a fault of the deployment. Lambda itself
        sets AWS_REGION."""
        names = {each.name: each.name.upper() for each in fields(cls)} | {"region": "AWS_REGION"}
        return cls(**{field: environment[name] for field, name in names.items()})

    def training_image(self, instance_type: str) -> str:
        """Return the image of processing and training jobs on this instance type."""
        return self.training_image_gpu if uses_gpu(instance_type) else self.training_image_cpu

    def serving_image(self, instance_type: str) -> str:
        """Return the image of endpoints on this instance type."""
        return self.serving_image_gpu if uses_gpu(instance_type) else self.serving_image_cpu
