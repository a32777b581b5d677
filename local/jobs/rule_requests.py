"""Validates the Debugger and Profiler fields of a CreateTrainingJob request, beyond what botocore's model checks.

Runs in the SageMaker plane. It rejects contradictory requests as AWS does, and, unlike AWS, custom rules and the actions Email and SMS.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from local.api.errors import validation_error
from local.api.feature_support import reject_unsupported
from training.contract import rules as known
from training.contract.rules import INVOKED

DEBUG_RULES = tuple(INVOKED.get(rule, rule) for rule in known.DEBUG_RULES)
PROFILER_RULES = tuple(known.PROFILER_RULES)
RULES = {"DebugRuleConfigurations": DEBUG_RULES, "ProfilerRuleConfigurations": PROFILER_RULES}
IMAGE_REPOSITORY = "sagemaker-debugger-rules"
INTERVALS_MS = (100, 200, 500, 1000, 5000, 60000)
DEFAULT_INTERVAL_MS = 500
STOP_TRAINING = "stoptraining"
_IMAGE = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/(?P<repository>[^:@]+)(:[\w.-]+|@sha256:[0-9a-f]{64})?")


def is_profiled(request: Mapping[str, Any]) -> bool:
    """Whether the job of this request or document is profiled."""
    config = request.get("ProfilerConfig")
    return config is not None and not config.get("DisableProfiler", False)


def check_debugger_request(request: Mapping[str, Any]) -> None:
    """Raise a ValidationException for an invalid or unsupported ProfilerConfig or rule."""
    _check_profiler(request)
    names: list[str] = []
    for field in RULES:
        for rule in request.get(field, ()):
            where = f"{field}[{rule['RuleConfigurationName']}]."
            reject_unsupported(field, rule, where)
            _check_rule(rule, field, where, request["TrainingJobName"])
            names.append(rule["RuleConfigurationName"])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise validation_error(
            f"Rule configuration names must be unique within a training job: {twice[0]!r} is given {names.count(twice[0])} times"
        )
    if request.get("DebugRuleConfigurations") and not request.get("DebugHookConfig"):
        raise validation_error("DebugRuleConfigurations without DebugHookConfig: the rules need the hook's tensors; give both or neither")


def _check_profiler(request: Mapping[str, Any]) -> None:
    config = request.get("ProfilerConfig", {})
    if request.get("ProfilerRuleConfigurations") and not is_profiled(request):
        state = "ProfilerConfig.DisableProfiler is true" if config.get("DisableProfiler") else "ProfilerConfig is missing"
        raise validation_error(
            f"ProfilerRuleConfigurations are only for a job that is profiled, and {state}: remove the rules, or enable the profiler"
        )
    if is_profiled(request) and not config.get("S3OutputPath"):
        raise validation_error("ProfilerConfig.S3OutputPath is required unless DisableProfiler is true")
    interval = config.get("ProfilingIntervalInMilliseconds", DEFAULT_INTERVAL_MS)
    if interval not in INTERVALS_MS:
        raise validation_error(
            f"Value '{interval}' at 'profilerConfig.profilingIntervalInMilliseconds' failed to satisfy constraint: "
            f"Member must be one of [{', '.join(map(str, INTERVALS_MS))}]"
        )


def _check_rule(rule: Mapping[str, Any], field: str, where: str, job: str) -> None:
    image = _IMAGE.fullmatch(rule["RuleEvaluatorImage"])
    if image is None or image["repository"] != IMAGE_REPOSITORY:
        raise validation_error(
            f"{where}RuleEvaluatorImage {rule['RuleEvaluatorImage']!r} is not supported in local mode: supported: the built-in rules of "
            f"<account>.dkr.ecr.<region>.amazonaws.com/{IMAGE_REPOSITORY}:latest"
        )
    wanted = rule.get("RuleParameters", {}).get("rule_to_invoke")
    if wanted not in RULES[field]:
        other = next((name for name, rules in RULES.items() if wanted in rules), None)
        hint = f"here: move it to {other}" if other else f"in local mode: supported: {', '.join(RULES[field])}"
        raise validation_error(f"{where}RuleParameters.rule_to_invoke {wanted!r} is not supported {hint}")
    for action in _read_actions(rule["RuleParameters"].get("action_json", ""), where):
        _check_action(action, where, job)
    _check_prefix("training_job_name_prefix", rule["RuleParameters"].get("training_job_name_prefix", ""), where, job)


def _read_actions(text: str, where: str) -> Iterator[Mapping[str, Any]]:
    """Read the actions of a rule. The SDK writes a backslash before each quote, which is not valid JSON; both forms are accepted."""
    if not text.strip():
        return
    try:
        parsed = json.loads(text.replace('\\"', '"'))
    except ValueError as error:
        raise validation_error(f"{where}RuleParameters.action_json is not JSON: {error}") from error
    for action in parsed if isinstance(parsed, list) else [parsed]:
        if not isinstance(action, Mapping):
            raise validation_error(
                f"{where}RuleParameters.action_json contains {action!r}: it must be an object with a name, or a list of such objects"
            )
        parameters = action.get("parameters", {})
        if not isinstance(parameters, Mapping):
            raise validation_error(
                f"{where}RuleParameters.action_json has the parameters {parameters!r}: they must be an object; remove them otherwise"
            )
        yield {**action, **parameters}


def _check_action(action: Mapping[str, Any], where: str, job: str) -> None:
    name = str(action.get("name", "")).lower()
    if name != STOP_TRAINING:
        raise validation_error(f"{where}RuleParameters.action_json {name!r} is not supported in local mode: supported: StopTraining")
    _check_prefix("action_json: training_job_prefix", str(action.get("training_job_prefix", "")), where, job)


def _check_prefix(what: str, prefix: str, where: str, job: str) -> None:
    # smdebug compares in lower case: it lowers the whole text of the action.
    if not job.lower().startswith(prefix.lower()):
        raise validation_error(
            f"{where}RuleParameters.{what} {prefix!r} is not supported in local mode, where a rule stops only its own job: give a prefix "
            f"of the job's name, {job!r}, or remove it"
        )
