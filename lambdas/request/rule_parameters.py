"""What the parameters of rules may be, whole numbers, numbers, truth values, regular expressions, modes or words, and their text.

Runs inside `prepare_execution`; standard library only. A value that a rule cannot take would make its verdict an Error, which keeps no
model back: it is refused here, before anything is paid for. A test holds this against the rules themselves.
"""

import math
import re

from lambdas.request.input_values import InvalidExecutionInput
from training.contract.fields import is_number, is_whole, shown

TRUTH = ("True", "False")
"""How AWS's rules write a truth value."""

TRUTHS = ("only_nan", "use_losses_collection", "equal_nan", "argmax", "stop_training_on_fire")
REGEXES = ("tensor_regex", "activation_inputs_regex", "labels_regex", "predictions_regex", "regex")
WORDS = (
    *("collection_names", "labels", "predictions", "labels_collection", "predictions_collection"),
    *("training_job_name_prefix", "other_trials"),
)
MODES = {"LossNotDecreasing": ("EVAL", "TRAIN", "GLOBAL"), "StepOutlier": ("EVAL", "TRAIN")}
"""Of the parameter `mode`."""

LEAST = dict.fromkeys(
    ("num_steps", "steps", "samples", "threshold_samples", "category_no", "window", "scan_interval_us"), 1
) | dict.fromkeys(("start_step", "patience", "patience_train", "patience_validation", "channel", "n_outliers"), 0)
"""Parameter that counts something -> its least value."""

LEAST_OF_RULE = {("UnchangedTensor", "num_steps"): 2}
"""Where a rule needs more: one step alone has nothing to compare."""

MOST = 10**12
"""No count is larger; a rule could not hold as many steps."""

SIGNED = ("threshold_tanh_min", "threshold_tanh_max", "threshold_sigmoid_min", "threshold_sigmoid_max")
"""Numbers that may be below zero; all others are sizes, parts or ratios."""

NUMERAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def parameter_text(rule: str, name: str, value: object, default: str | None) -> str:
    """A value as the API takes it, text of at most 256 characters; one that the rule does not take raises InvalidExecutionInput."""
    where, written = f"rules.parameters.{rule}.{name}", as_text(value)
    if not re.fullmatch(".{1,256}", written):
        raise InvalidExecutionInput(f"{where} must be a number, true, false, or one line of 1 to 256 characters, got {shown(value)}")
    found, wanted = read(rule, name, written)
    if not found:
        unless = "" if default is None else f" (default {default})"
        raise InvalidExecutionInput(f"{where} must be {wanted}{unless}, got {shown(value)}")
    return found


def read(rule: str, name: str, written: str) -> tuple[str, str]:
    """The value as the API has it, empty where it cannot be; and what it must be."""
    if name in TRUTHS:
        return written.capitalize() if written.capitalize() in TRUTH else "", "true or false"
    if name in REGEXES:
        return written if is_regex(written) else "", "a regular expression, or several separated by commas"
    if name == "mode":
        return written if written in MODES[rule] else "", f"one of {', '.join(MODES[rule])}"
    if name in WORDS:
        return written, "text"
    if name in LEAST:
        least = LEAST_OF_RULE.get((rule, name), LEAST[name])
        return whole(written, least), f"a whole number of at least {least}"
    least_number = -math.inf if name in SIGNED else 0.0
    return written if least_number <= numeral(written) < math.inf else "", "a number" if name in SIGNED else "a number, not below zero"


def as_text(value: object) -> str:
    """Text, a number or a truth value as text; empty for all else. JSON does not tell 20 from 20.0, but a rule that counts does."""
    if isinstance(value, str | bool):
        return str(value)
    if not is_number(value):
        return ""
    return str(int(value)) if is_whole(value) and abs(value) < 10**15 else repr(value)  # type: ignore[arg-type,call-overload]


def numeral(written: str) -> float:
    """The number that a text is, nothing but digits, point, sign and exponent; else NaN. Python's own reading would take `1_0` for 10."""
    return float(written) if NUMERAL.fullmatch(written) else math.nan


def whole(written: str, least: int) -> str:
    """A whole number without point and exponent, which some rules cannot read; empty where it is none, or not from `least` to MOST."""
    number = numeral(written)
    return str(int(number)) if least <= number <= MOST and number.is_integer() else ""


def is_regex(written: str) -> bool:
    """Whether each of the regular expressions, which rules separate by commas, is one."""
    try:
        for part in written.split(","):
            re.compile(part.strip())
    except (re.error, OverflowError, RecursionError):
        return False
    return True
