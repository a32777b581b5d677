"""DebugRuleConfigurations and ProfilerRuleConfigurations of a managed training job, as the API's JSON: every value is a string.

Runs inside `prepare_execution`; standard library only. At most 20 of each, which all rules together do not reach.
"""

from typing import Any

from lambdas.request.rules import Rules
from training.contract.rules import INVOKED, PROFILER_RULES, job_parameters

Configuration = dict[str, Any]
"""RuleConfigurationName, RuleEvaluatorImage, RuleParameters."""

PROFILER_REPORT = "ProfilerReport"
"""The rule that evaluates all the others once more, for its page; it takes their parameters as `<Rule>_<parameter>`."""


def debug_rule_configurations(rules: Rules, epochs: int, image: str, job_prefix: str) -> tuple[Configuration, ...]:
    """One for each debugger rule; those that stop the training stop the one running job whose name begins with `job_prefix`."""
    return tuple(configuration(rule, image, debug_parameters(rule, rules, epochs, job_prefix)) for rule in rules.evaluate)


def debug_parameters(rule: str, rules: Rules, epochs: int, job_prefix: str) -> dict[str, str]:
    """What a debugger rule is sent: its parameters, and which job it may stop, in either way that AWS has for saying so."""
    values = parameters(rule, rules, epochs)
    if values.get("stop_training_on_fire") == "True":
        values = {"training_job_name_prefix": job_prefix, **values}
    return {**values, **({"action_json": stop_action(job_prefix)} if rule in rules.stop_training else {})}


def profiler_rule_configurations(rules: Rules, epochs: int, image: str) -> tuple[Configuration, ...]:
    """One for each profiler rule, the report among them."""
    single = {rule: parameters(rule, rules, epochs) for rule in PROFILER_RULES if rule != PROFILER_REPORT}
    report = {f"{rule}_{name}": value for rule, values in single.items() for name, value in values.items()}
    return tuple(configuration(rule, image, values) for rule, values in {PROFILER_REPORT: report, **single}.items())


def parameters(rule: str, rules: Rules, epochs: int) -> dict[str, str]:
    """What differs from AWS's defaults."""
    return {**job_parameters(rule, epochs), **rules.parameters.get(rule, {})}


def configuration(rule: str, image: str, values: dict[str, str]) -> Configuration:
    """A rule of AWS's own by its name; it needs no machine of ours."""
    return {
        "RuleConfigurationName": rule,
        "RuleEvaluatorImage": image,
        "RuleParameters": {"rule_to_invoke": INVOKED.get(rule, rule), **values},
    }


def stop_action(job_prefix: str) -> str:
    """The action StopTraining as the SageMaker SDK writes it, quotes escaped: AWS's image reads it as a literal of Python first."""
    return rf"{{\"name\": \"stoptraining\", \"training_job_prefix\": \"{job_prefix}\"}}"
