"""What evaluates the final training job: for a managed one DebugRuleConfigurations and ProfilerRuleConfigurations, as the API's JSON.

Runs inside `prepare_execution`; standard library only. Every parameter is a string. SageMaker takes at most 20 rules of each kind, more
than there are.
"""

from dataclasses import dataclass
from typing import Any

from lambdas.planning.rule_images import rules_image
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.rules import Rules
from training.contract.rules import INVOKED, PROFILER_RULES, job_parameters, write_stop_action

Configuration = dict[str, Any]
"""RuleConfigurationName, RuleEvaluatorImage, RuleParameters."""

PROFILER_REPORT = "ProfilerReport"
"""The rule that evaluates all other profiler rules again, for its page; it takes their parameters as `<Rule>_<parameter>`."""


@dataclass(frozen=True)
class Judging:
    """The plan's part on the rules of the final training job."""

    rules: str
    """The hyperparameter of that name."""
    debug_rule_configurations: tuple[Configuration, ...]
    profiler_rule_configurations: tuple[Configuration, ...]
    """Both empty unless AWS's Debugger evaluates the job."""
    block_deployment: tuple[str, ...]
    """Rules whose findings keep the model from being deployed."""


def plan_rules(requested: ExecutionInput, region: str, run: str) -> Judging:
    """Return the plan's part on the rules."""
    rules, epochs = requested.rules, requested.epochs
    image = rules_image(region) if requested.debugger == "managed" else None
    return Judging(
        rules=rules.hyperparameter,
        debug_rule_configurations=debug_rule_configurations(rules, epochs, image, f"{run}-train-") if image else (),
        profiler_rule_configurations=profiler_rule_configurations(rules, epochs, image) if image else (),
        block_deployment=rules.block_deployment,
    )


def debug_rule_configurations(rules: Rules, epochs: int, image: str, job_prefix: str) -> tuple[Configuration, ...]:
    """Return one for each debugger rule; rules that stop the training stop the running job whose name begins with `job_prefix`."""
    return tuple(configuration(rule, image, debug_parameters(rule, rules, epochs, job_prefix)) for rule in rules.evaluate)


def debug_parameters(rule: str, rules: Rules, epochs: int, job_prefix: str) -> dict[str, str]:
    """Return the parameters of a debugger rule, and which job it may stop, in both ways that AWS has for it."""
    values = parameters(rule, rules, epochs)
    if values.get("stop_training_on_fire") == "True":
        values = {"training_job_name_prefix": job_prefix, **values}
    return {**values, **({"action_json": write_stop_action(job_prefix)} if rule in rules.stop_training else {})}


def profiler_rule_configurations(rules: Rules, epochs: int, image: str) -> tuple[Configuration, ...]:
    """Return one for each profiler rule, the report among them."""
    single = {rule: parameters(rule, rules, epochs) for rule in PROFILER_RULES if rule != PROFILER_REPORT}
    report = {f"{rule}_{name}": value for rule, values in single.items() for name, value in values.items()}
    return tuple(configuration(rule, image, values) for rule, values in {PROFILER_REPORT: report, **single}.items())


def parameters(rule: str, rules: Rules, epochs: int) -> dict[str, str]:
    """Return the parameters that differ from AWS's defaults."""
    return {**job_parameters(rule, epochs), **rules.parameters.get(rule, {})}


def configuration(rule: str, image: str, values: dict[str, str]) -> Configuration:
    """Return one rule in the API's shape."""
    return {
        "RuleConfigurationName": rule,
        "RuleEvaluatorImage": image,
        "RuleParameters": {"rule_to_invoke": INVOKED.get(rule, rule), **values},
    }
