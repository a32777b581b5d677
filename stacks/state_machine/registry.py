"""The states of the model registry, and those at the end of a successful execution: one function per state, in the order in which they run.

Runs at synth; standard library only. Every assessed model becomes a version in the project's group. Only RecordDeployment, after the
endpoint is verified, marks a version as deployed, which the next model is compared with.
"""

from stacks.state_machine import hosting_requests as requests
from stacks.state_machine.language import (
    REASON,
    SDK_UNNAMED,
    State,
    add_warning,
    api_call,
    catch,
    choice,
    describe_failure,
    function_call,
    message,
    strip_full_stop,
)
from stacks.state_machine.requests import jsonata, render_jsonata
from training import contract

APPROVAL_SECONDS, LATER_APPROVAL_SECONDS = 30, 1800
SHORT_APPROVAL_LOOKS = 20
MOST_APPROVAL_LOOKS = SHORT_APPROVAL_LOOKS + (7 * 24 * 3600 - SHORT_APPROVAL_LOOKS * APPROVAL_SECONDS) // LATER_APPROVAL_SECONDS
"""Checks for a decision: every 30 seconds in the first 10 minutes, then twice an hour, for seven days."""

REGISTRY_TRANSIENT = [*SDK_UNNAMED, "SageMaker.ConflictException"]


def registry_states() -> dict[str, State]:
    """From an assessed model to one that may be deployed; continues with CreateModel, SumUp or the states after a failure."""
    return {
        "RegisterModel": register_model(),
        "ChooseDeployment": choose_deployment(),
        "DeploymentNotAsked": skip_deployment("'deployment.kind is none, so the model was registered and not deployed'"),
        "AskForApproval": ask_for_approval(),
        "WaitForApproval": wait_for_approval(),
        "DescribeModelPackage": describe_model_package(),
        "IsModelApproved": is_model_approved(),
        "NotApproved": skip_deployment(NOT_APPROVED),
    }


def closing_states() -> dict[str, State]:
    """From a verified endpoint, or a model that is not deployed, to the execution's end."""
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
    " : 'its model package was not approved within 7 days: ' & $package"
)


def register_model() -> State:
    """Registers a version with its metrics and origin; a token prevents a second version in a retry."""
    return api_call(
        "createModelPackage",
        requests.create_model_package(),
        caught=catch(describe_failure("RegisterModel", kind="model package group", job="$plan.model_package_group")),
        to="ChooseDeployment",
        retried=REGISTRY_TRANSIENT,
        assign={"package": jsonata("$states.result.ModelPackageArn")},
    )


def choose_deployment() -> State:
    """Decides whether the model is deployed at once, after an approval, or not at all."""
    return choice(
        ("$not($assessment.deploy)", "SumUp"),
        ("$plan.deployment_kind = 'none'", "DeploymentNotAsked"),
        ("$plan.approval = 'manual'", "AskForApproval"),
        default="CreateModel",
    )


def skip_deployment(reason: str) -> State:
    """The execution succeeds without a deployment; `reason` is an expression."""
    return {"Type": "Pass", "Assign": {"reasons": [jsonata(reason)]}, "Next": "SumUp"}


def ask_for_approval() -> State:
    """Notifies the topic's subscribers that a model waits for approval."""
    lines = [
        "$assessment.description",
        "'Model package: ' & $package",
        f"'Report: ' & $training.folder & '/{contract.REPORT}/report.html'",
        "'Set its approval status to Approved or Rejected within 7 days; until then the endpoint stays as it is.'",
    ]
    return message("'${Project}: a model waits for approval'", f"$join([{', '.join(lines)}], '\\n')", to="WaitForApproval")


def wait_for_approval() -> State:
    """Until the next check: short waits at first, long ones later."""
    seconds = f"$approval_looks < {SHORT_APPROVAL_LOOKS} ? {APPROVAL_SECONDS} : {LATER_APPROVAL_SECONDS}"
    return {"Type": "Wait", "Seconds": jsonata(seconds), "Next": "DescribeModelPackage"}


def describe_model_package() -> State:
    """Reads the approval status."""
    description = "$states.result.ApprovalDescription"
    return api_call(
        "describeModelPackage",
        {"ModelPackageName": jsonata("$package")},
        caught=catch(describe_failure("DescribeModelPackage", kind="model package", job="$package")),
        to="IsModelApproved",
        retried=REGISTRY_TRANSIENT,
        patient=True,
        assign={
            "approval_status": jsonata("$states.result.ModelApprovalStatus"),
            "approval_reason": jsonata(f"$exists({description}) ? {description} : ''"),
            "approval_looks": jsonata("$approval_looks + 1"),
        },
    )


def is_model_approved() -> State:
    """Without an approval, rejected or undecided, the endpoint stays as it is."""
    return choice(
        ("$approval_status = 'Approved'", "CreateModel"),
        ("$approval_status = 'Rejected'", "NotApproved"),
        (f"$approval_looks < {MOST_APPROVAL_LOOKS}", "WaitForApproval"),
        default="NotApproved",
    )


def record_deployment() -> State:
    """From here on this is the champion; a deployment that cannot be recorded is reverted."""
    return api_call(
        "updateModelPackage",
        requests.record_deployment(),
        caught=catch(describe_failure("RecordDeployment", kind="model package", job="$package"), to="LookBeforeUndo"),
        to="PruneModels",
        retried=REGISTRY_TRANSIENT,
        patient=True,
        assign={"deployed": True},
    )


def prune_models() -> State:
    """Old models and endpoint configs cost nothing, so a failure here is a warning."""
    told = f"'older models were not deleted: ' & {strip_full_stop(REASON)}"
    caught = {"ErrorEquals": ["States.ALL"], "Assign": add_warning(told), "Output": {}, "Next": "SumUp"}
    asked = {"keep": jsonata("$plan.keep_versions"), "project": "${Project}", "run": jsonata("$plan.run")}
    left = {"warnings": jsonata("[$append($warnings, $states.result.Payload.left)]")}
    return function_call("PruneModels", asked, caught=caught, assign=left, to="SumUp")


def sum_up() -> State:
    """The execution's results and their locations, deployed or not."""
    deployed = {"model": jsonata("$model"), "endpoint": jsonata("$plan.endpoint"), "endpoint_config": jsonata("$endpoint_config")}
    together = f"$merge([{render_jsonata(outcome())}, $deployed ? {render_jsonata(deployed)} : {{}}])"
    return {"Type": "Pass", "Assign": {"outcome": jsonata(together)}, "Next": "PublishReport"}


def outcome() -> State:
    """The members of the outcome for any model, deployed or not."""
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
    """Writes the bill beside the execution's other files; a failure here is a warning, because the model is already deployed."""
    told = f"'the bill could not be written: ' & {strip_full_stop(REASON)}"
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
    """Notifies the topic's subscribers."""
    subject = "'${Project}: ' & ($deployed ? 'a new model is deployed' : 'the new model was not deployed')"
    lines = [
        "$assessment.description",
        "$deployed ? 'Endpoint: ' & $plan.endpoint & ', endpoint config ' & $endpoint_config : 'Not deployed: ' & $join($reasons, '; ')",
        f"'Report: ' & $training.folder & '/{contract.REPORT}/report.html'",
        "'Execution: ' & $states.context.Execution.Id",
    ]
    return message(subject, f"$join([{', '.join(lines)}], '\\n')", to="IsDeployed")


def end() -> State:
    """NotDeployed is a success too: the execution did its work, and the endpoint serves what it served before."""
    return {"Type": "Pass", "Output": jsonata("$outcome"), "End": True}
