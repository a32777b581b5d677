"""The hyperparameters of a training job, each declared once: the execution input, the plan, the request and the program derive from it.

Runs anywhere, standard library only. A new hyperparameter that users choose is a field of `ChosenHyperparameters`, and code in
`training/` for its effect: nothing between the two names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from training.contract.choices import CLASS_WEIGHTS, DEBUGGER_MODES, TRAINABLE
from training.contract.fields import choice, number, whole, yes_no
from training.contract.limits import LARGEST_BATCH, LARGEST_SEED, MOST_EPOCHS

LR_RANGE = (0.001, 0.1)
"""Default search range of the learning rate."""

BATCH_SIZES = (16, 32, 64, 128, 256, 512)
"""Default search values of the batch size."""

TUNED_HYPERPARAMETERS = ("lr", "batch_size")
"""Those that a tuning job chooses; `lr` on a logarithmic scale, `batch_size` from a list."""

RULES = "rules"
"""Hyperparameter of the final training job: the JSON text of `Rules`, percent-encoded except for commas and colons, because the training
toolkit passes every value through a shell. May be left out."""


@dataclass(frozen=True)
class ChosenHyperparameters:
    """Those that a user sets in the execution input, and the final training job takes as they are."""

    epochs: int = whole(20, 1, MOST_EPOCHS)
    """Epochs of the final training job."""

    seed: int = whole(42, 0, LARGEST_SEED)
    """Seed of the split, the search and the training."""

    trainable: str = choice(TRAINABLE)
    """What is trained. `head`: one layer on features that are computed once; `last_stage`: also the backbone's last stage; `all`: the whole
    network."""

    class_weights: str = choice(CLASS_WEIGHTS)
    """`balanced`: photos of rare classes count more while training, never in a reported loss; `none`: all photos count the same."""

    debugger: str = choice(DEBUGGER_MODES)
    """Debugger and profiler of the final training job. `embedded`: the job saves tensors, measures itself and evaluates its rules;
    `managed`: AWS's Debugger evaluates them, in accounts that have it; `off`: nothing is saved."""


@dataclass(frozen=True)
class Rules:
    """The rules that evaluate the job."""

    evaluate: tuple[str, ...] | None = None
    """Debugger rules; None means those that suit what is trained."""
    stop_training: tuple[str, ...] = ()
    """Debugger rules that end the training when they find an issue."""
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    """Rule -> parameter -> value, where it differs from the default."""


@dataclass(frozen=True)
class Hyperparameters(ChosenHyperparameters):
    """All that the program takes; each is sent as a string, and any other is refused."""

    lr: float = number(0.01, 0, 1, above=True)
    """Learning rate of the head at the start; it falls towards zero along a cosine."""

    batch_size: int = whole(64, 1, LARGEST_BATCH)
    """Photos per step; a training set that is smaller is one batch."""

    evaluate_test: bool = yes_no(False)
    """Whether the test photos are evaluated and the report is written: once, by the final job."""

    rules: Rules = field(default_factory=Rules)


HYPERPARAMETERS = tuple(each.name for each in fields(Hyperparameters))
CHOSEN = tuple(each.name for each in fields(ChosenHyperparameters))


def write_chosen(chosen: ChosenHyperparameters) -> Mapping[str, str]:
    """Return the chosen ones as SageMaker takes them: every value is a string."""
    return {name: str(getattr(chosen, name)) for name in CHOSEN}
