"""SageMaker instance types by their names: which the images support, which carry a GPU, and how large they are.

Runs inside Lambda functions; standard library only. Nothing is asked of AWS: a name such as ml.g5.12xlarge tells family and size.
"""

import re

from lambdas.request.input_values import InvalidExecutionInput, shown

INSTANCE_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
GPU_FAMILY = re.compile(r"ml\.(p|g)[0-9]")
FOREIGN_FAMILY = re.compile(r"ml\.(trn|inf|dl)[0-9]")
UNPROCESSED_FAMILY = re.compile(r"ml\.(c5n|p3dn|p4d|p4de|p5e|p5en|p6-b200|p6-b300)\.|ml\.p5\.48xlarge")
"""Machines of training jobs that processing jobs are not offered on; a test holds them against the API's own lists."""
ARM_FAMILY = re.compile(r"ml\.([a-z]+[0-9]+g[a-z]*\.|p6e-gb)")
SUPPORTED = rf"^(?!{FOREIGN_FAMILY.pattern})(?!{ARM_FAMILY.pattern}){INSTANCE_TYPE.pattern}$"
"""All of the above in one expression, for those who cannot ask three questions."""

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


def supported_type(path: str, value: str) -> str:
    """The instance type of that field of the execution input; one that the images do not support raises InvalidExecutionInput."""
    if not INSTANCE_TYPE.fullmatch(value):
        raise InvalidExecutionInput(f"{path} must be a SageMaker instance type such as ml.m5.2xlarge or ml.g5.xlarge, got {shown(value)}")
    if FOREIGN_FAMILY.match(value):
        raise InvalidExecutionInput(f"{path} must be a CPU or an NVIDIA GPU type, which is what the images support; got {shown(value)}")
    if ARM_FAMILY.match(value):
        raise InvalidExecutionInput(
            f"{path} must have an Intel or AMD processor, such as ml.m7i.large, since the images hold no programs for Arm (AWS Graviton); "
            f"got {shown(value)}"
        )
    return value
