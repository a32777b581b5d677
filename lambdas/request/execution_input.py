"""What a user may ask of one execution: the execution input, its defaults and its limits.

Runs inside `prepare_execution` (and is imported by the tests); standard library only. Every key is optional:

    ExecutionInput.parse({})                                          # the defaults
    ExecutionInput.parse({"epochs": 5, "tuning": {"max_jobs": 4}})    # the rest stays as it is

docs/execution-input.schema.json says the same for editors and other programs: `python -m lambdas.request.execution_input_schema` writes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lambdas.request.deployment import Deployment, Gate
from lambdas.request.input_values import (
    InvalidExecutionInput,
    choice,
    declared,
    known_keys,
    number,
    shown,
    string,
    value_of,
    values_of,
    whole,
    yes_no,
)
from lambdas.request.instance_types import SUPPORTED, UNPROCESSED_FAMILY, supported_type, uses_gpu
from lambdas.request.rules import Rules
from lambdas.request.tuning import Tuning

VERSION = 1
MOST_FALLBACKS = 4
MOST_BUDGET_USD = 1_000_000
DEBUGGER_MODES = ("embedded", "managed", "off")
TRAINABLE = ("head", "last_stage", "all")
CLASS_WEIGHTS = ("balanced", "none")
INPUT_MODES = ("File", "FastFile")
REPLACED = {"endpoint": "deployment"}
"""Keys of the time before version 1 -> what they are called now."""


@dataclass(frozen=True)
class Preparation:
    """The processing job that reads every photo once, where no earlier execution has."""

    instance_type: str = string("ml.m5.2xlarge", pattern=SUPPORTED)
    """SageMaker instance type; that of the training jobs unless another is given."""

    @classmethod
    def parse(cls, document: object, training_instance_type: str) -> Self:
        """Reads the `prepare` object; raises InvalidExecutionInput."""
        given = {"instance_type": training_instance_type, **known_keys(document, cls, "prepare")}
        chosen = supported_type("prepare.instance_type", value_of(given, cls, "instance_type", "prepare."))
        if UNPROCESSED_FAMILY.match(chosen):
            raise InvalidExecutionInput(
                f"prepare.instance_type must be a type that SageMaker offers to processing jobs, which {shown(chosen)} is not; "
                'name another one beside the instance_type of the training jobs, such as "prepare": {"instance_type": "ml.g5.2xlarge"}'
            )
        return cls(instance_type=chosen)


@dataclass(frozen=True)
class ExecutionInput:
    """One execution, as asked for; `ExecutionInput.parse({})` is the default one."""

    version: int = declared(VERSION, {"const": VERSION})
    """The version of this document; 1 is the only one so far."""

    data: str = string("data/")
    """Where the photos are: a prefix in the stack's bucket, or `s3://<that bucket>/<prefix>`."""

    epochs: int = whole(20, 1, 1000)
    """Epochs of the final training job, 1 to 1000."""

    seed: int = whole(42, 0, 2**31 - 1)
    """Seed of the split, the search and the training, 0 to 2147483647."""

    instance_type: str = string("ml.m5.2xlarge", pattern=SUPPORTED)
    """SageMaker instance type of every training job; one with a GPU gets the GPU training image."""

    instance_fallbacks: tuple[str, ...] = declared(
        (),
        {"type": "array", "items": {"type": "string", "pattern": SUPPORTED}, "maxItems": MOST_FALLBACKS, "uniqueItems": True},
    )
    """Up to four other instance types, with a GPU as `instance_type` or without one as it: tried in order where AWS has no machine left."""

    instance_count: int = whole(1, 1, 16)
    """Machines of every training job, 1 to 16; more than one only where the backbone is trained."""

    spot: bool = yes_no(False)
    """Whether training jobs run on spare machines, which cost less and may be taken away: a job then goes on from its last checkpoint."""

    budget_usd: float | None = number(None, 0, MOST_BUDGET_USD, above=True, optional=True)
    """US dollars that the jobs of this execution may cost: refused where it is expected to cost more, and no job runs longer than that."""

    trainable: str = choice("head", *TRAINABLE)
    """`head`: one layer on features that are computed once; `last_stage`: also the backbone's last stage; `all`: the whole network."""

    class_weights: str = choice("balanced", *CLASS_WEIGHTS)
    """`balanced`: photos of rare classes count more while training; `none`: all count the same."""

    input_mode: str = choice("File", *INPUT_MODES)
    """`File`: each machine of a training job downloads all photos first; `FastFile`: it reads those that it needs as it goes.

    Only where the backbone is trained; `FastFile` unless `File` is asked for where several machines share a job.
    """

    debugger: str = choice("embedded", *DEBUGGER_MODES)
    """Of debugger and profiler, in the final training job. `embedded`: it saves tensors, measures itself and judges its own rules;
    `managed`: AWS's Debugger judges, where the account still has it; `off`: nothing is saved."""

    rules: Rules = field(default_factory=Rules)
    """What the rules are, and what their verdicts do."""

    prepare: Preparation = field(default_factory=Preparation)
    """The machine that prepares the data set."""

    tuning: Tuning = field(default_factory=Tuning)
    """The search before the final training job."""

    gate: Gate = field(default_factory=Gate)
    """What a model must be worth to be deployed."""

    approval: str = choice("automatic", "automatic", "manual")
    """`automatic`: a model that is worth it is deployed; `manual`: only once somebody has approved it in the model registry."""

    deployment: Deployment = field(default_factory=Deployment)
    """The endpoint."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Reads the execution input; a key that is unknown or a value that cannot be raises InvalidExecutionInput."""
        require_new_names(document)
        given = known_keys(document, cls, "")
        machine = supported_type("instance_type", value_of(given, cls, "instance_type"))
        trainable, debugger = value_of(given, cls, "trainable"), value_of(given, cls, "debugger")
        machines = training_instances(given, trainable)
        plain = ("data", "epochs", "seed", "spot", "budget_usd", "class_weights", "approval")
        return cls(
            version=version(given),
            instance_type=machine,
            instance_fallbacks=fallbacks(given.get("instance_fallbacks", ()), machine),
            instance_count=machines,
            trainable=trainable,
            input_mode=photo_input_mode(given, trainable, machines),
            debugger=debugger,
            rules=Rules.parse(given.get("rules", {}), trainable, debugger),
            prepare=Preparation.parse(given.get("prepare", {}), machine),
            tuning=Tuning.parse(given.get("tuning", {})),
            gate=Gate.parse(given.get("gate", {})),
            deployment=Deployment.parse(given.get("deployment", {})),
            **values_of(given, cls, plain, ""),
        )


def require_new_names(document: object) -> None:
    """A key that has another name now is not called unknown."""
    for old, new in REPLACED.items():
        if isinstance(document, Mapping) and old in document:
            raise InvalidExecutionInput(
                f'{old} is now {new}, got {shown(document[old])}: write "{new}" in its place, such as '
                f'{{"{new}": {{"kind": "instance", "instance_type": "ml.m5.large", "instance_count": 1}}}}'
            )


def version(given: Mapping[str, Any]) -> int:
    """1, until there is another one."""
    value = given.get("version", VERSION)
    if isinstance(value, bool) or value != VERSION:
        raise InvalidExecutionInput(f"version must be {VERSION}, the only version of the execution input so far, got {shown(value)}")
    return VERSION


def fallbacks(value: object, machine: str) -> tuple[str, ...]:
    """Other instance types for the jobs: each once, and of the first one's kind, since one image serves them all."""
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value) or len(value) > MOST_FALLBACKS:
        raise InvalidExecutionInput(
            f"instance_fallbacks must list at most {MOST_FALLBACKS} SageMaker instance types, "
            f'such as ["ml.m6i.2xlarge"], got {shown(value)}'
        )
    for position, instance in enumerate(value):
        supported_type(f"instance_fallbacks[{position}]", instance)
        if instance == machine or instance in value[:position]:
            raise InvalidExecutionInput(
                f"instance_fallbacks must name types other than instance_type, {machine}, each once; got {shown(instance)} again"
            )
        if uses_gpu(instance) != uses_gpu(machine):
            kind = "with a GPU" if uses_gpu(machine) else "without a GPU"
            raise InvalidExecutionInput(
                f"instance_fallbacks must be types {kind}, as instance_type, {machine}, is one; got {shown(instance)}: the image of the "
                "jobs and the batch sizes that fit depend on it"
            )
    return tuple(value)


def training_instances(given: Mapping[str, Any], trainable: str) -> int:
    """How many machines share a training job."""
    count = int(value_of(given, ExecutionInput, "instance_count"))
    if count > 1 and trainable == "head":
        raise InvalidExecutionInput(
            f'instance_count must be 1 where trainable is "head", got {count}: one layer on prepared features is trained in seconds, '
            'and other machines would only wait; leave it out, or set trainable to "last_stage" or "all"'
        )
    return count


def photo_input_mode(given: Mapping[str, Any], trainable: str, machines: int) -> str:
    """How training jobs get the photos, where they get them at all; several machines need not download each photo several times."""
    usual = {"input_mode": "FastFile"} if machines > 1 else {}
    mode = str(value_of({**usual, **given}, ExecutionInput, "input_mode"))
    if mode != ExecutionInput.input_mode and trainable == "head":
        raise InvalidExecutionInput(
            f'input_mode must be "File" where trainable is "head", got {shown(mode)}: such training jobs read features and no photos; '
            'leave it out, or set trainable to "last_stage" or "all"'
        )
    return mode
