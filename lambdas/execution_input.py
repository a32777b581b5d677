"""What a user may ask of one execution: the execution input, its defaults and its limits.

Runs inside `prepare_execution` (and is imported by the stacks and the tests); standard library only. Every key is optional:

    ExecutionInput.parse({})                                          # the defaults
    ExecutionInput.parse({"epochs": 5, "tuning": {"max_jobs": 4}})    # the rest stays as it is
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lambdas.input_values import InvalidExecutionInput, is_number, is_whole, known_keys, one_of, shown, text, whole_number, yes_or_no
from lambdas.rules_input import Rules

INSTANCE_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
GPU_FAMILY = re.compile(r"ml\.(p|g)[0-9]")
FOREIGN_FAMILY = re.compile(r"ml\.(trn|inf|dl)[0-9]")
UNPROCESSED_FAMILY = re.compile(r"ml\.(c5n|p3dn|p4d|p4de|p5e|p5en|p6-b200|p6-b300)\.|ml\.p5\.48xlarge")
"""Machines of training jobs that processing jobs are not offered on; a test holds them against the API's own lists."""
ARM_FAMILY = re.compile(r"ml\.([a-z]+[0-9]+g[a-z]*\.|p6e-gb)")
STRATEGIES = ("Bayesian", "Random")
DEBUGGER_MODES = ("embedded", "managed", "off")
TRAINABLE = ("head", "last_stage", "all")
CLASS_WEIGHTS = ("balanced", "none")
INPUT_MODES = ("File", "FastFile")


@dataclass(frozen=True)
class Tuning:
    """The tuning job: what is searched, and how widely."""

    max_jobs: int = 12
    """Training jobs in all, 1 to 750."""

    max_parallel_jobs: int = 3
    """Training jobs at a time, 1 to 10 and at most `max_jobs`."""

    epochs: int = 20
    """Epochs of each of these training jobs, 1 to 1000."""

    strategy: str = "Bayesian"
    """`Bayesian` or `Random`; Grid cannot search a continuous learning rate, and Hyperband is not offered."""

    lr: tuple[float, float] = (0.001, 0.1)
    """Least and greatest learning rate, searched on a logarithmic scale; both above 0 and at most 1."""

    batch_size: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """Batch sizes to choose from, each 1 to 4096."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Reads the `tuning` object; raises InvalidExecutionInput."""
        given = known_keys(document, cls, "tuning")
        max_jobs = whole_number(given, "tuning.max_jobs", cls.max_jobs, 1, 750)
        return cls(
            max_jobs=max_jobs,
            max_parallel_jobs=whole_number(given, "tuning.max_parallel_jobs", min(cls.max_parallel_jobs, max_jobs), 1, min(10, max_jobs)),
            epochs=whole_number(given, "tuning.epochs", cls.epochs, 1, 1000),
            strategy=one_of(given, "tuning.strategy", cls.strategy, STRATEGIES),
            lr=learning_rates(given.get("lr", cls.lr)),
            batch_size=batch_sizes(given.get("batch_size", cls.batch_size)),
        )


@dataclass(frozen=True)
class Preparation:
    """The processing job that reads every photo once, where no earlier execution has."""

    instance_type: str = "ml.m5.2xlarge"
    """SageMaker instance type; that of the training jobs unless another is given."""

    @classmethod
    def parse(cls, document: object, training_instance_type: str) -> Self:
        """Reads the `prepare` object; raises InvalidExecutionInput."""
        given = known_keys(document, cls, "prepare")
        chosen = instance_type(given, "prepare.instance_type", training_instance_type)
        if UNPROCESSED_FAMILY.match(chosen):
            raise InvalidExecutionInput(
                f"prepare.instance_type must be a type that SageMaker offers to processing jobs, which {shown(chosen)} is not; "
                'name another one beside the instance_type of the training jobs, such as "prepare": {"instance_type": "ml.g5.2xlarge"}'
            )
        return cls(instance_type=chosen)


@dataclass(frozen=True)
class EndpointHardware:
    """The machines that answer requests."""

    instance_type: str = "ml.m5.large"
    """SageMaker instance type; one with a GPU gets the GPU serving image."""

    instance_count: int = 1
    """How many, 1 to 100."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Reads the `endpoint` object; raises InvalidExecutionInput."""
        given = known_keys(document, cls, "endpoint")
        return cls(
            instance_type=instance_type(given, "endpoint.instance_type", cls.instance_type),
            instance_count=whole_number(given, "endpoint.instance_count", cls.instance_count, 1, 100),
        )


@dataclass(frozen=True)
class ExecutionInput:
    """One execution, as asked for; `ExecutionInput.parse({})` is the default one."""

    data: str = "data/"
    """Where the photos are: a prefix in the stack's bucket, or `s3://<that bucket>/<prefix>`."""

    epochs: int = 20
    """Epochs of the final training job, 1 to 1000."""

    seed: int = 42
    """Seed of the split, the search and the training, 0 to 2147483647."""

    instance_type: str = "ml.m5.2xlarge"
    """SageMaker instance type of every training job; one with a GPU gets the GPU training image."""

    instance_count: int = 1
    """Machines of every training job, 1 to 16; more than one only where the backbone is trained."""

    spot: bool = False
    """Whether training jobs run on spare machines, which cost less and may be taken away: a job then goes on from its last checkpoint."""

    trainable: str = "head"
    """`head`: one layer on features that are computed once; `last_stage`: also the backbone's last stage; `all`: the whole network."""

    class_weights: str = "balanced"
    """`balanced`: photos of rare classes count more while training; `none`: all count the same."""

    input_mode: str = "File"
    """`File`: each machine of a training job downloads all photos first; `FastFile`: it reads those that it needs as it goes.

    Only where the backbone is trained; `FastFile` unless `File` is asked for where several machines share a job.
    """

    debugger: str = "embedded"
    """Of debugger and profiler, in the final training job. `embedded`: it saves tensors, measures itself and judges its own rules;
    `managed`: AWS's Debugger judges, where the account still has it; `off`: nothing is saved."""

    rules: Rules = field(default_factory=Rules)
    """What the rules are, and what their verdicts do."""

    prepare: Preparation = field(default_factory=Preparation)
    """The machine that prepares the data set."""

    tuning: Tuning = field(default_factory=Tuning)
    """The search before the final training job."""

    endpoint: EndpointHardware = field(default_factory=EndpointHardware)
    """The machines behind the endpoint."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Reads the execution input; a key that is unknown or a value that cannot be raises InvalidExecutionInput."""
        given = known_keys(document, cls, "")
        machine = instance_type(given, "instance_type", cls.instance_type)
        trainable = one_of(given, "trainable", cls.trainable, TRAINABLE)
        machines = training_instances(given, trainable)
        debugger = one_of(given, "debugger", cls.debugger, DEBUGGER_MODES)
        return cls(
            data=text(given, "data", cls.data),
            epochs=whole_number(given, "epochs", cls.epochs, 1, 1000),
            seed=whole_number(given, "seed", cls.seed, 0, 2**31 - 1),
            instance_type=machine,
            instance_count=machines,
            spot=yes_or_no(given, "spot", cls.spot),
            trainable=trainable,
            class_weights=one_of(given, "class_weights", cls.class_weights, CLASS_WEIGHTS),
            input_mode=photo_input_mode(given, trainable, machines),
            debugger=debugger,
            rules=Rules.parse(given.get("rules", {}), trainable, debugger),
            prepare=Preparation.parse(given.get("prepare", {}), machine),
            tuning=Tuning.parse(given.get("tuning", {})),
            endpoint=EndpointHardware.parse(given.get("endpoint", {})),
        )


def uses_gpu(instance: str) -> bool:
    """Whether this instance type carries an NVIDIA GPU (families g and p)."""
    return GPU_FAMILY.match(instance) is not None


def training_instances(given: Mapping[str, Any], trainable: str) -> int:
    """How many machines share a training job."""
    count = whole_number(given, "instance_count", ExecutionInput.instance_count, 1, 16)
    if count > 1 and trainable == "head":
        raise InvalidExecutionInput(
            f'instance_count must be 1 where trainable is "head", got {count}: one layer on prepared features is trained in seconds, '
            'and other machines would only wait; leave it out, or set trainable to "last_stage" or "all"'
        )
    return count


def photo_input_mode(given: Mapping[str, Any], trainable: str, machines: int) -> str:
    """How training jobs get the photos, where they get them at all; several machines need not download each photo several times."""
    mode = one_of(given, "input_mode", "FastFile" if machines > 1 else ExecutionInput.input_mode, INPUT_MODES)
    if mode != ExecutionInput.input_mode and trainable == "head":
        raise InvalidExecutionInput(
            f'input_mode must be "File" where trainable is "head", got {shown(mode)}: such training jobs read features and no photos; '
            'leave it out, or set trainable to "last_stage" or "all"'
        )
    return mode


def instance_type(given: Mapping[str, Any], path: str, default: str) -> str:
    """A SageMaker instance type with a CPU or an NVIDIA GPU."""
    value = text(given, path, default)
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


def learning_rates(value: object) -> tuple[float, float]:
    """[least, greatest] learning rate with 0 < least < greatest <= 1."""
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(is_number(each) for each in value):
        raise InvalidExecutionInput(f"tuning.lr must be two numbers [least, greatest], such as [0.001, 0.1], got {shown(value)}")
    least, greatest = value
    if not 0 < least < greatest <= 1:
        raise InvalidExecutionInput(f"tuning.lr must be [least, greatest] with 0 < least < greatest <= 1, got {shown(value)}")
    return float(least), float(greatest)


def batch_sizes(value: object) -> tuple[int, ...]:
    """One to thirty distinct batch sizes, each 1 to 4096, ascending."""
    if not isinstance(value, list | tuple) or not all(is_whole(each) and 1 <= each <= 4096 for each in value):
        raise InvalidExecutionInput(f"tuning.batch_size must list whole numbers from 1 to 4096, such as [16, 32, 64], got {shown(value)}")
    if not 1 <= len(value) <= 30 or len(set(value)) != len(value):
        raise InvalidExecutionInput(f"tuning.batch_size must hold 1 to 30 values, each once, got {shown(value)}")
    return tuple(sorted(int(each) for each in value))
