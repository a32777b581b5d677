"""Makes the rule that a configuration names, from its parameters, which are strings.

Runs in training jobs, and wherever rules are evaluated.
"""

import inspect
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_type_hints

from training.contract.rules import INVOKED
from training.rules.all_zero import AllZero
from training.rules.check_input_images import CheckInputImages
from training.rules.class_imbalance import ClassImbalance
from training.rules.confusion import Confusion
from training.rules.dead_relu import DeadRelu
from training.rules.exploding_tensor import ExplodingTensor
from training.rules.loss_not_decreasing import LossNotDecreasing
from training.rules.overfit import Overfit
from training.rules.overtraining import Overtraining
from training.rules.poor_weight_initialization import PoorWeightInitialization
from training.rules.saturated_activation import SaturatedActivation
from training.rules.similar_across_runs import SimilarAcrossRuns
from training.rules.stalled_training import StalledTrainingRule
from training.rules.tensor_rule import TensorRule
from training.rules.tensor_variance import TensorVariance
from training.rules.unchanged_tensor import UnchangedTensor
from training.rules.vanishing_gradient import VanishingGradient
from training.rules.weight_update_ratio import WeightUpdateRatio

RULES: dict[str, type[TensorRule]] = {
    rule.__name__: rule
    for rule in (
        VanishingGradient,
        ExplodingTensor,
        LossNotDecreasing,
        Overfit,
        Overtraining,
        PoorWeightInitialization,
        DeadRelu,
        SaturatedActivation,
        WeightUpdateRatio,
        UnchangedTensor,
        TensorVariance,
        AllZero,
        ClassImbalance,
        Confusion,
        CheckInputImages,
        StalledTrainingRule,
        SimilarAcrossRuns,
    )
}

NOT_PARAMETERS = ("rule_to_invoke", "action_json")
"""Keys of RuleParameters that are not parameters of the rule."""
REFUSED = ("source_s3_uri", "base_trial", "clock")


class ConfigurationError(ValueError):
    """A rule configuration that cannot be evaluated; the message says what to change."""


def build_rule(trial: Any, configuration: Mapping[str, Any]) -> TensorRule:
    """Make the rule of a configuration.

    Args:
        trial: the saved tensors.
        configuration: RuleConfigurationName and RuleParameters, as in a request.

    Raises:
        ConfigurationError: unknown rule or parameter, or a value that the rule does not accept.
    """
    name, given = configuration["RuleConfigurationName"], configuration.get("RuleParameters", {})
    invoked = given.get("rule_to_invoke", INVOKED.get(name, name))
    rule = RULES.get(INVOKED.get(invoked, invoked))
    if rule is None or "source_s3_uri" in given:
        own = "; custom rules from a source file are not supported" if "source_s3_uri" in given else ""
        raise ConfigurationError(f"rule_to_invoke names {invoked}, which is not one of {', '.join(RULES)}{own}")
    values = {key: _convert(rule, key, value) for key, value in given.items() if key not in NOT_PARAMETERS}
    try:
        return rule(trial, **values)
    except TypeError as error:
        raise ConfigurationError(f"{invoked} lacks a parameter: {error}") from None
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _convert(rule: type[TensorRule], name: str, value: Any) -> Any:
    """Return a parameter's value in the type that the rule's constructor names."""
    allowed = [each for each in inspect.signature(rule).parameters if each not in REFUSED]
    if name not in allowed:
        raise ConfigurationError(f"{name} is not a parameter of {rule.__name__}; allowed: {', '.join(allowed) or 'none'}")
    hint = get_type_hints(rule.__init__)[name]
    kinds = {each for each in get_args(hint) or (hint,) if each is not NoneType}
    if not isinstance(value, str):
        return value
    if NoneType in get_args(hint) and value in ("", "None"):
        return None
    try:
        return _parse(value, kinds)
    except ValueError:
        wanted = " or ".join(sorted(kind.__name__ for kind in kinds))
        raise ConfigurationError(f"{name} of {rule.__name__} must be {wanted}, got {value!r}") from None


def _parse(value: str, kinds: set[Any]) -> Any:
    if str in kinds:
        return value
    if bool in kinds:
        return ("false", "true").index(value.lower()) == 1
    if float in kinds:
        return float(value)
    number = float(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def stops_training(configuration: Mapping[str, Any]) -> bool:
    """Return whether a configuration ends the training when its rule finds an issue."""
    given = configuration.get("RuleParameters", {})
    return "stoptraining" in given.get("action_json", "").lower() or given.get("stop_training_on_fire", "").lower() == "true"
