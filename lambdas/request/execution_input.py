"""The execution input: all that a user can choose for one execution, with defaults and limits.

Runs inside `prepare_execution`; standard library only. Every key is optional:

    ExecutionInput.parse({})                                          # the defaults
    ExecutionInput.parse({"epochs": 5, "tuning": {"max_jobs": 4}})    # the rest stays as it is

A field is declared once, here or, if training jobs take it, in `training.contract.hyperparameters`. Parsing, the plan, JSON Schema and the
table in docs/execution-input.md derive from the declaration; `lambdas.request.execution_input_schema` makes both documents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lambdas.request.deployment import Deployment, Gate
from lambdas.request.input_values import InvalidExecutionInput, read, read_field, require_known_keys
from lambdas.request.instance_types import SUPPORTED_TYPE, UNPROCESSED_FAMILY, instance_type, uses_gpu
from lambdas.request.rules import Rules
from lambdas.request.tuning import Tuning
from training.contract.choices import APPROVALS, INPUT_MODES
from training.contract.fields import Kind, choice, declare, number, several, shown, text, whole, yes_no
from training.contract.hyperparameters import ChosenHyperparameters

VERSION = 1
VERSION_KIND = Kind(
    schema={"const": VERSION},
    allowed=f"{VERSION}, the only version of the execution input so far",
    cell=str(VERSION),
    accepts=lambda value: not isinstance(value, bool) and value == VERSION,
    convert=int,
)
MOST_FALLBACKS = 4
MOST_BUDGET_USD = 1_000_000
REPLACED = {"endpoint": "deployment"}
"""Keys of earlier versions -> their names today."""


@dataclass(frozen=True)
class Preparation:
    """The processing job that reads every photo once, unless an earlier execution did."""

    instance_type: str = instance_type("ml.m5.2xlarge", also="one that SageMaker offers to processing jobs")
    """Instance type of the processing job; without one, that of the training jobs."""

    @classmethod
    def parse(cls, document: object, training_instance_type: str) -> Self:
        """Read the `prepare` object; raise InvalidExecutionInput."""
        given = require_known_keys(document, cls, "prepare")
        parsed = read(cls, {"instance_type": training_instance_type, **given}, "prepare")
        if UNPROCESSED_FAMILY.match(parsed.instance_type):
            raise InvalidExecutionInput(
                f"prepare.instance_type must be a type that SageMaker offers to processing jobs, which {shown(parsed.instance_type)} is "
                'not; name another one beside the instance_type of the training jobs, such as "prepare": {"instance_type": "ml.g5.2xlarge"}'
            )
        return parsed


@dataclass(frozen=True)
class Source:
    """Where an execution starts from: in a class of its own, so that its fields come first."""

    version: int = declare(VERSION, VERSION_KIND)
    """Version of this document."""

    data: str = text("data/", cell="a prefix in the stack's bucket, or `s3://<that bucket>/<prefix>`")
    """Where the photos are."""


@dataclass(frozen=True)
class ExecutionInput(ChosenHyperparameters, Source):
    """One execution; `ExecutionInput.parse({})` is the default one."""

    instance_type: str = instance_type("ml.m5.2xlarge")
    """Instance type of every training job; one with a GPU gets the GPU training image."""

    instance_fallbacks: tuple[str, ...] = several(
        (), SUPPORTED_TYPE, most=MOST_FALLBACKS, such_as='["ml.m6i.2xlarge"]', also="with a GPU if `instance_type` has one, without if not"
    )
    """Other instance types, tried in order where AWS has no capacity for `instance_type` or the account's quota is reached."""

    instance_count: int = whole(1, 1, 16, also="1 where `trainable` is `head`")
    """Instances that share a training job."""

    spot: bool = yes_no(False)
    """Whether training jobs run on spot instances, which cost less and can be interrupted: a job then continues from its checkpoint."""

    budget_usd: float | None = number(None, 0, MOST_BUDGET_USD, above=True, optional=True)
    """US dollars that the jobs of this execution may cost. An execution that is expected to cost more is refused, and the run time of every
    job is limited accordingly."""

    input_mode: str = choice(INPUT_MODES, also="`File` where `trainable` is `head`")
    """How training jobs get the photos. `File`: each instance downloads all of them first; `FastFile`: it reads its share of every batch
    when it needs it. Where `instance_count` is above 1, the default is `FastFile`."""

    rules: Rules = field(default_factory=Rules)
    """The rules that evaluate the final training job, and what their findings do."""

    prepare: Preparation = field(default_factory=Preparation)
    """The processing job that prepares the data set."""

    tuning: Tuning = field(default_factory=Tuning)
    """The search before the final training job."""

    gate: Gate = field(default_factory=Gate)
    """What a model must reach to be deployed."""

    approval: str = choice(APPROVALS)
    """`automatic`: a model that passes the gate is deployed; `manual`: only after a reviewer has approved it in the model registry."""

    deployment: Deployment = field(default_factory=Deployment)
    """The endpoint."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Read the execution input; an unknown key or a value that is not allowed raises InvalidExecutionInput."""
        require_new_names(document)
        given = require_known_keys(document, cls, "")
        chosen = {name: read_field(cls, given, "", name) for name in ("instance_type", "trainable", "debugger")}
        parsed = read(
            cls,
            {**usual_input_mode(given), **given},
            "",
            rules=Rules.parse(given.get("rules", {}), chosen["trainable"], chosen["debugger"]),
            prepare=Preparation.parse(given.get("prepare", {}), chosen["instance_type"]),
            tuning=Tuning.parse(given.get("tuning", {})),
            gate=Gate.parse(given.get("gate", {})),
            deployment=Deployment.parse(given.get("deployment", {})),
        )
        require_same_kind(parsed.instance_fallbacks, parsed.instance_type)
        require_backbone(parsed)
        return parsed


def require_new_names(document: object) -> None:
    """Refuse a key of an earlier version with its new name."""
    for old, new in REPLACED.items():
        if isinstance(document, Mapping) and old in document:
            raise InvalidExecutionInput(
                f'{old} is now {new}, got {shown(document[old])}: write "{new}" in its place, such as '
                f'{{"{new}": {{"kind": "instance", "instance_type": "ml.m5.large", "instance_count": 1}}}}'
            )


def usual_input_mode(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the default of input_mode: several instances need not download each photo several times."""
    return {"input_mode": "FastFile"} if given.get("instance_count", 1) not in (0, 1) else {}


def require_same_kind(fallbacks: tuple[str, ...], instance: str) -> None:
    """Refuse other instance types that repeat the first, or need another image than it."""
    for each in fallbacks:
        if each == instance:
            raise InvalidExecutionInput(f"instance_fallbacks must name types other than instance_type, {instance}; got {shown(each)} again")
        if uses_gpu(each) != uses_gpu(instance):
            kind = "with a GPU" if uses_gpu(instance) else "without a GPU"
            raise InvalidExecutionInput(
                f"instance_fallbacks must be types {kind}, as instance_type, {instance}, is one; got {shown(each)}: the image of the "
                "jobs and the batch sizes that fit depend on it"
            )


def require_backbone(parsed: ExecutionInput) -> None:
    """Refuse what only training jobs that read photos can use, where one layer is trained on features."""
    if parsed.trainable != "head":
        return
    if parsed.instance_count > 1:
        raise InvalidExecutionInput(
            f'instance_count must be 1 where trainable is "head", got {parsed.instance_count}: one layer on prepared features is trained '
            'in seconds, and other instances would only wait; leave it out, or set trainable to "last_stage" or "all"'
        )
    if parsed.input_mode != ExecutionInput.input_mode:
        raise InvalidExecutionInput(
            f'input_mode must be "File" where trainable is "head", got {shown(parsed.input_mode)}: such training jobs read features and no '
            'photos; leave it out, or set trainable to "last_stage" or "all"'
        )
