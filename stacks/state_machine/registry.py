"""The states of the model registry, and those that end an execution which did its work: one function a state, in the order they run in.

Runs at synth; standard library only. Every assessed model becomes a version in the project's group. What is deployed, and what the next
model is compared with, is told by RecordDeployment alone, once the endpoint has answered as the training job promised.
"""

from stacks.state_machine import hosting_requests as requests
from stacks.state_machine.language import (
    REASON,
    SDK_UNNAMED,
    State,
    api_call,
    catch,
    choice,
    failure,
    function_call,
    message,
    warned,
    without_stop,
)
from stacks.state_machine.requests import jsonata, written
from training import contract

APPROVAL_SECONDS, LATER_APPROVAL_SECONDS = 30, 1800
SHORT_APPROVAL_LOOKS = 20
MOST_APPROVAL_LOOKS = SHORT_APPROVAL_LOOKS + (7 * 24 * 3600 - SHORT_APPROVAL_LOOKS * APPROVAL_SECONDS) // LATER_APPROVAL_SECONDS
"""Looks whether somebody has decided: every half a minute in the first ten, then twice an hour, for seven days."""

REGISTRY_TRANSIENT = [*SDK_UNNAMED, "SageMaker.ConflictException"]


def registry_states() -> dict[str, State]:
    """From an assessed model to one that may be deployed; goes on to CreateModel, SumUp or the states after a failure."""
    return {
        "RegisterModel": register_model(),
        "ChooseDeployment": choose_deployment(),
        "DeploymentNotAsked": not_deployed_because("'deployment.kind is none, so the model was registered and not deployed'"),
        "AskForApproval": ask_for_approval(),
        "WaitForApproval": wait_for_approval(),
        "DescribeModelPackage": describe_model_package(),
        "IsModelApproved": is_model_approved(),
        "NotApproved": not_deployed_because(NOT_APPROVED),
    }


def closing_states() -> dict[str, State]:
    """From an endpoint that is verified, or a model that is kept back, to the execution's end."""
    return {
        "RecordDeployment": record_deployment(),
        "PruneModels": prune_models(),
        "SumUp": sum_up(),
        "PublishReport": publish_report(),
        "NotifyDone": notify_done(),
        "IsDeployed": choice(("$deployed", "ExecutionDone"), default="NotDeployed"),
        "ExecutionDone": end(),
        "NotDeployed": end(),
    }


NOT_APPROVED = (
    "$approval_status = 'Rejected'"
    " ? 'its model package was rejected' & ($approval_reason = '' ? '' : ': ' & $approval_reason)"
    " : 'nobody approved its model package within 7 days: ' & $package"
)


def register_model() -> State:
    """A version of the project's model package group, with its metrics and where it comes from; a token keeps two tries one version."""
    return api_call(
        "createModelPackage",
        requests.create_model_package(),
        caught=catch(failure("RegisterModel", kind="model package group", job="$plan.model_package_group")),
        to="ChooseDeployment",
        retried=REGISTRY_TRANSIENT,
        assign={"package": jsonata("$states.result.ModelPackageArn")},
    )


def choose_deployment() -> State:
    """Whether the model goes to the endpoint at once, after somebody approved it, or not at all."""
    return choice(
        ("$not($assessment.deploy)", "SumUp"),
        ("$plan.deployment_kind = 'none'", "DeploymentNotAsked"),
        ("$plan.approval = 'manual'", "AskForApproval"),
        default="CreateModel",
    )


def not_deployed_because(reason: str) -> State:
    """The execution did its work, and its model stays where it is; `reason` is an expression."""
    return {"Type": "Pass", "Assign": {"reasons": [jsonata(reason)]}, "Next": "SumUp"}


def ask_for_approval() -> State:
    """Tells whoever subscribed that somebody has to decide, and on what."""
    lines = [
        "$assessment.description",
        "'Model package: ' & $package",
        f"'Report: ' & $training.folder & '/{contract.REPORT}/report.html'",
        "'Set its approval status to Approved or Rejected within 7 days; until then the endpoint stays as it is.'",
    ]
    return message("'${Project}: a model waits for approval'", f"$join([{', '.join(lines)}], '\\n')", to="WaitForApproval")


def wait_for_approval() -> State:
    """Until the next look: whoever waits at the screen is served soon, whoever comes on Monday too."""
    seconds = f"$approval_looks < {SHORT_APPROVAL_LOOKS} ? {APPROVAL_SECONDS} : {LATER_APPROVAL_SECONDS}"
    return {"Type": "Wait", "Seconds": jsonata(seconds), "Next": "DescribeModelPackage"}


def describe_model_package() -> State:
    """Looks what somebody has decided."""
    said = "$states.result.ApprovalDescription"
    return api_call(
        "describeModelPackage",
        {"ModelPackageName": jsonata("$package")},
        caught=catch(failure("DescribeModelPackage", kind="model package", job="$package")),
        to="IsModelApproved",
        retried=REGISTRY_TRANSIENT,
        patient=True,
        assign={
            "approval_status": jsonata("$states.result.ModelApprovalStatus"),
            "approval_reason": jsonata(f"$exists({said}) ? {said} : ''"),
            "approval_looks": jsonata("$approval_looks + 1"),
        },
    )


def is_model_approved() -> State:
    """Rejected, and never decided, come to the same: the endpoint stays as it is."""
    return choice(
        ("$approval_status = 'Approved'", "CreateModel"),
        ("$approval_status = 'Rejected'", "NotApproved"),
        (f"$approval_looks < {MOST_APPROVAL_LOOKS}", "WaitForApproval"),
        default="NotApproved",
    )


def record_deployment() -> State:
    """From here on this is the model that others are compared with; a deployment that cannot be recorded is undone."""
    return api_call(
        "updateModelPackage",
        requests.record_deployment(),
        caught=catch(failure("RecordDeployment", kind="model package", job="$package"), to="LookBeforeUndo"),
        to="PruneModels",
        retried=REGISTRY_TRANSIENT,
        patient=True,
        assign={"deployed": True},
    )


def prune_models() -> State:
    """Old models and endpoint configs cost nothing but the sight of them, so a failure here is a warning."""
    told = f"'older models were not removed: ' & {without_stop(REASON)}"
    caught = {"ErrorEquals": ["States.ALL"], "Assign": warned(told), "Output": {}, "Next": "SumUp"}
    asked = {"keep": jsonata("$plan.keep_versions"), "project": "${Project}", "run": jsonata("$plan.run")}
    left = {"warnings": jsonata("[$append($warnings, $states.result.Payload.left)]")}
    return function_call("PruneModels", asked, caught=caught, assign=left, to="SumUp")


def sum_up() -> State:
    """What the execution made and where, whether it was deployed or not."""
    deployed = {"model": jsonata("$model"), "endpoint": jsonata("$plan.endpoint"), "endpoint_config": jsonata("$endpoint_config")}
    together = f"$merge([{written(outcome())}, $deployed ? {written(deployed)} : {{}}])"
    return {"Type": "Pass", "Assign": {"outcome": jsonata(together)}, "Next": "PublishReport"}


def outcome() -> State:
    """What is known of the model, deployed or not."""
    return {
        "run": jsonata("$plan.run"),
        "deployed": jsonata("$deployed"),
        "dataset": jsonata("$dataset & '/'"),
        "tuning_job": jsonata("$tuning_job"),
        "training_job": jsonata("$training.job"),
        "best": {
            "lr": jsonata("$number($best.lr)"),
            "batch_size": jsonata("$number($best.batch_size)"),
            "objective": jsonata("$best.objective"),
        },
        "model_artifact": jsonata("$training.model_artifact"),
        "model_package": jsonata("$package"),
        "report": jsonata(f"$training.folder & '/{contract.REPORT}/'"),
        "debug_output": jsonata(f"$training.folder & '/{contract.DEBUG_OUTPUT}/'"),
        "profiler_output": jsonata(f"$training.folder & '/{contract.PROFILER_OUTPUT}/'"),
        "rule_output": jsonata(f"$training.folder & '/{contract.RULE_OUTPUT}/'"),
        "accuracy": jsonata("$assessment.accuracy"),
        "metrics": jsonata("$assessment.metrics"),
        "champion": jsonata("$assessment.champion"),
        "reasons": jsonata("$reasons"),
        "warnings": jsonata("$warnings"),
        "rule_statuses": jsonata("$assessment.rule_statuses"),
        "profiler_rule_statuses": jsonata("$assessment.profiler_rule_statuses"),
        "bill": jsonata("{}"),
        "execution_report": "",
    }


def publish_report() -> State:
    """What it cost, written beside what it made; a failure here is a warning, for the model is where it belongs."""
    told = f"'the bill could not be made: ' & {without_stop(REASON)}"
    told_too = f"$merge([$outcome, {{'warnings': [$append($outcome.warnings, [{told}])]}}])"
    caught = {"ErrorEquals": ["States.ALL"], "Assign": {"outcome": jsonata(told_too)}, "Output": {}, "Next": "NotifyDone"}
    asked = {
        "run": jsonata("$plan.run"),
        "outcome": jsonata("$outcome"),
        "plan": jsonata("{'cost': $plan.cost, 'budget_usd': $plan.budget_usd}"),
    }
    answer = "$states.result.Payload"
    billed = f"$merge([$outcome, {{'bill': {answer}.bill, 'execution_report': {answer}.uri}}])"
    return function_call("PublishReport", asked, caught=caught, assign={"outcome": jsonata(billed)}, to="NotifyDone")


def notify_done() -> State:
    """Tells whoever subscribed to the topic."""
    subject = "'${Project}: ' & ($deployed ? 'a new model answers' : 'the new model was not deployed')"
    lines = [
        "$assessment.description",
        "$deployed ? 'Endpoint: ' & $plan.endpoint & ', endpoint config ' & $endpoint_config : 'Not deployed: ' & $join($reasons, '; ')",
        f"'Report: ' & $training.folder & '/{contract.REPORT}/report.html'",
        "'Execution: ' & $states.context.Execution.Id",
    ]
    return message(subject, f"$join([{', '.join(lines)}], '\\n')", to="IsDeployed")


def end() -> State:
    """NotDeployed is a success too: the execution did what it was asked to, and whatever answered before still does."""
    return {"Type": "Pass", "Output": jsonata("$outcome"), "End": True}
