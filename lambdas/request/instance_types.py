"""SageMaker instance types by their names: which the images support, which have a GPU, and how large they are.

Runs inside Lambda functions; standard library only. No call to AWS: a name such as ml.g5.12xlarge holds family and size.
"""

import re
from dataclasses import dataclass
from typing import Any

from training.contract.fields import Kind, UnfitValue, declare, shown

INSTANCE_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
GPU_FAMILY = re.compile(r"ml\.(p|g)[0-9]")
FOREIGN_FAMILY = re.compile(r"ml\.(trn|inf|dl)[0-9]")
UNPROCESSED_FAMILY = re.compile(r"ml\.(c5n|p3dn|p4d|p4de|p5e|p5en|p6-b200|p6-b300)\.|ml\.p5\.48xlarge")
"""Instance types of training jobs that SageMaker does not offer to processing jobs; a test compares them with the API's own lists."""
ARM_FAMILY = re.compile(r"ml\.([a-z]+[0-9]+g[a-z]*\.|p6e-gb)")
SUPPORTED = rf"^(?!{FOREIGN_FAMILY.pattern})(?!{ARM_FAMILY.pattern}){INSTANCE_TYPE.pattern}$"
"""All of the above in one expression, for JSON Schema."""

SMALL_SIZES = {"medium": 1, "large": 2, "xlarge": 4}
"""Size -> processors; a size such as 4xlarge has four times those of xlarge."""
GPUS = {
    "g": {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8, "metal": 8},
    "p": {"8xlarge": 4, "16xlarge": 8, "24xlarge": 8, "48xlarge": 8},
}
"""First letter of the family -> size -> GPUs where there are several: so it is in g4dn, g5, g6, p3, p4 and p5."""


def uses_gpu(instance: str) -> bool:
    """Whether this instance type carries an NVIDIA GPU (families g and p)."""
    return GPU_FAMILY.match(instance) is not None


def processors(instance: str) -> int:
    """How many processors (vCPUs) the size of this instance type stands for; 96 of a bare machine."""
    size = instance.rpartition(".")[2]
    times = size.removesuffix("xlarge")
    return SMALL_SIZES["xlarge"] * int(times) if times.isdecimal() else SMALL_SIZES.get(size, 96)


def gpus(instance: str) -> int:
    """How many GPUs it carries; newer families may differ."""
    if not uses_gpu(instance):
        return 0
    return GPUS[instance.removeprefix("ml.")[0]].get(instance.rpartition(".")[2], 1)


@dataclass(frozen=True)
class InstanceType(Kind):
    """An instance type that the images support; the error says which condition a type does not meet."""

    def take(self, value: Any) -> Any:
        """Return the type; raise UnfitValue."""
        name = super().take(value)
        if not INSTANCE_TYPE.fullmatch(name):
            raise UnfitValue(f" must be a SageMaker instance type such as ml.m5.2xlarge or ml.g5.xlarge, got {shown(name)}")
        if FOREIGN_FAMILY.match(name):
            raise UnfitValue(f" must be a CPU or an NVIDIA GPU type, which is what the images support; got {shown(name)}")
        if ARM_FAMILY.match(name):
            raise UnfitValue(
                " must have an Intel or AMD processor, such as ml.m7i.large, since the images hold no programs for Arm (AWS Graviton); "
                f"got {shown(name)}"
            )
        return name


SUPPORTED_TYPE = InstanceType(
    schema={"type": "string", "pattern": SUPPORTED},
    allowed="a string",
    cell="an instance type with an Intel, AMD or NVIDIA processor",
    accepts=lambda value: isinstance(value, str),
    convert=str,
)


def instance_type(default: str, *, also: str = "") -> Any:
    """Declare an instance type."""
    return declare(default, SUPPORTED_TYPE, also)
