"""Strict local mode inside ministack: checks the permissions of roles also for the engine's own calls.

Runs in the engine process; `local.engine.adapter` installs it when AUTH=true. Its private names of ministack are in SEAMS.
ministack checks permissions for its callers. This file adds checks for SageMaker's calls, for the calls of state machines, for API
Gateway's call of a function and for Lambda's logs, checks trust policies when services assume roles, and records each decision.
"""

import asyncio.constants
import contextvars
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape

from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, router
from ministack.services import apigateway_v1, iam, lambda_svc, sts
from ministack.services import stepfunctions as sfn

from local.api.account import ACCOUNT, REGION
from local.engine.decisions import Decision, DecisionLog
from local.engine.required_permissions import (
    SCALING,
    Need,
    list_invocation_needs,
    list_sagemaker_needs,
    list_scaling_needs,
    list_task_needs,
    name_denied_task_error,
)
from local.storage.role_sessions import ACTING_FOR

SEAMS: tuple[tuple[str, str], ...] = (
    ("ministack.app", "_port_is_bindable"),
    ("ministack.core.iam_actions", "identity_denial_message"),
    ("ministack.core.iam_evaluator", "AuthError"),
    ("ministack.core.iam_evaluator", "EvalContext"),
    ("ministack.core.iam_evaluator", "_request_origin"),
    ("ministack.core.iam_evaluator", "_resolve_managed_policy_document"),
    ("ministack.core.iam_evaluator", "enforce"),
    ("ministack.core.iam_evaluator", "evaluate"),
    ("ministack.core.iam_evaluator", "evaluate_resource_policy"),
    ("ministack.core.iam_evaluator", "evaluate_trust_policy"),
    ("ministack.core.iam_evaluator", "parse_policy_document"),
    ("ministack.core.iam_evaluator", "pin_request_origin"),
    ("ministack.core.iam_evaluator", "resolve_principal"),
    ("ministack.core.lambda_runtime", "execution_credentials"),
    ("ministack.core.router", "extract_access_key_id"),
    ("ministack.services.iam", "_roles"),
    ("ministack.services.lambda_svc", "_emit_lambda_logs"),
    ("ministack.services.lambda_svc", "function_policy_for_arn"),
    ("ministack.services.stepfunctions", "_invoke_resource"),
    ("ministack.services.sts", "register_session"),
)
SHUTDOWN_S = 1.0
STATES, GATEWAY = "states.amazonaws.com", "apigateway.amazonaws.com"
# AWS checks these actions on log groups and streams under resource names with this suffix, as its denials show.
STREAM_ACTIONS, OF_A_STREAM = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents"), ":log-stream:"

_acting_for: contextvars.ContextVar[str] = contextvars.ContextVar("acting_for", default="")


class Permissions:
    """The permission checks of strict local mode and the record of their results."""

    def __init__(self, book: DecisionLog, execution: Callable[[], dict[str, Any] | None]) -> None:
        """Record decisions in `book`; `execution` returns the execution of the present thread."""
        self._book = book
        self._execution = execution

    def install(self) -> None:
        """Install the checks before the engine serves."""
        self._note_decisions()
        self._check_tasks()
        _check_scaling()
        _hide_missing_objects()
        _let_services_assume_roles()
        _check_api_functions()
        _check_function_logs()
        app._port_is_bindable = lambda _host, _port: False  # it would also listen on 443, which other programs may need
        # The end of a TLS connection waits this long for the client, which would otherwise delay the engine's end.
        asyncio.constants.SSL_SHUTDOWN_TIMEOUT = SHUTDOWN_S

    def deny_call(self, path: str, headers: Mapping[str, str], body: bytes, query: Any) -> tuple[int, dict[str, str], bytes] | None:
        """Return AWS's answer to an SDK's call of SageMaker without permission; None if it is allowed."""
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            needs = list_sagemaker_needs(operation, json.loads(body or b"{}")) if operation else list_invocation_needs(path)
        except ValueError:
            return None  # invalid JSON, for which the plane has a better error
        return _make_denial(headers, query, needs)

    def deny_task(self, operation: str, request: Mapping[str, Any]) -> str | None:
        """Return why the running execution's role may not call a SageMaker operation; None if it may."""
        return self._deny(list_sagemaker_needs(operation, request))

    def _deny(self, needs: Iterable[Need]) -> str | None:
        """Return why the running execution's role lacks one of these permissions. Services call each other over TLS."""
        execution = self._execution()
        machine = sfn._state_machines.get(execution["stateMachineArn"]) if execution else None
        if machine is None:
            return "the running execution has no known state machine"
        role = machine["roleArn"]
        key = _open_session(role, STATES)
        if key is None:
            return f"The role {role} cannot be assumed by {STATES}: it must exist, and its trust policy must allow that service"
        context = contextvars.copy_context()
        context.run(iam_evaluator.pin_request_origin, "127.0.0.1", True)
        return context.run(_find_denial, key, needs)

    def _note_decisions(self) -> None:
        """Record each decision about a role, with the statement that allowed it."""
        enforce = iam_evaluator.enforce

        @functools.wraps(enforce)
        def enforce_and_note(
            key: str, action: str, service: str, region: str, resource_arn: str = "*", service_context: dict[str, Any] | None = None
        ) -> Any:
            resource = _name_log_resource(action, resource_arn)
            result = enforce(key, action, service, region, resource, service_context)
            principal = iam_evaluator.resolve_principal(key or "", ACCOUNT)
            if not isinstance(result, iam_evaluator.AuthError) and getattr(principal, "type", "") == "AssumedRole":
                address, secure = iam_evaluator._request_origin.get()
                context = {**(service_context or {}), "aws:SourceIp": address, "aws:SecureTransport": secure}
                asked = Decision(principal.arn.split("/")[1], action, resource, result is None, "", context)
                self._book.note(replace(asked, by=_find_allowing(asked)))
            return result

        iam_evaluator.enforce = enforce_and_note

    def _check_tasks(self) -> None:
        """Check the calls of task states, except SageMaker's optimised tasks, which use `denial_of_task` for each call."""
        invoke = sfn._invoke_resource

        @functools.wraps(invoke)
        def invoke_if_allowed(resource: str, data: Any) -> Any:
            if not resource.startswith("arn:aws:states:::sagemaker:"):
                needs = list_task_needs(resource, data)
                if needs is None:
                    raise sfn._ExecutionError("States.Runtime", f"strict local mode does not know which permissions {resource} needs")
                if denial := self._deny(needs):
                    raise sfn._ExecutionError(name_denied_task_error(resource), denial)
            return invoke(resource, data)

        sfn._invoke_resource = invoke_if_allowed


def allows(documents: Iterable[Mapping[str, Any]], asked: Decision) -> bool:
    """Whether identity policies with these documents allow a role's request, by the engine's evaluator, without side effects."""
    context = {key.lower(): value for key, value in asked.context.items()}
    question = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{asked.role}/session",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=asked.action,
        resource_arn=asked.resource,
        region=REGION,
        source_ip=str(context.pop("aws:sourceip", "127.0.0.1")),
        secure_transport=bool(context.pop("aws:securetransport", True)),
        service_context={"aws:tagkeys": None, **context},
    )
    policies = [iam_evaluator.parse_policy_document(dict(document)) for document in documents]
    return bool(iam_evaluator.evaluate(question, policies).decision == "Allow")


def _find_allowing(asked: Decision) -> str:
    """Return the first statement of a role's policies that allows its request, as policy[index]; empty if there is none."""
    for name, document in _list_documents(asked.role).items():
        for index, statement in enumerate(document.get("Statement", ())):
            if statement.get("Effect") == "Allow" and allows([{"Statement": [statement]}], asked):
                return f"{name}[{index}]"
    return ""


def _list_documents(role: str) -> dict[str, dict[str, Any]]:
    """Return the policy documents of a role by name or ARN."""
    found = iam._roles.get_scoped(ACCOUNT, None, role) or {}
    attached = {arn: iam_evaluator._resolve_managed_policy_document(arn, ACCOUNT) for arn in found.get("AttachedPolicies", ())}
    documents = {**(found.get("InlinePolicies") or {}), **attached}
    return {name: json.loads(each) if isinstance(each, str) else each for name, each in documents.items() if each}


def _make_denial(headers: Mapping[str, str], query: Any, needs: Iterable[Need]) -> tuple[int, dict[str, str], bytes] | None:
    """Return AWS's answer to a call whose caller lacks a permission; None if it has all. REST calls get the status 403."""
    denial = _find_denial(router.extract_access_key_id(headers, query), needs)
    if denial is None:
        return None
    said = {"__type": "AccessDeniedException", "message": denial, "Message": denial}
    kind = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": "AccessDeniedException"}
    return 400 if "x-amz-target" in headers else 403, kind, json.dumps(said).encode()


def _check_scaling() -> None:
    """Check calls of Application Auto Scaling, which `local.engine.adapter_services` has added."""
    handle = app.SERVICE_HANDLERS[SCALING]

    async def handle_if_allowed(method: str, path: str, headers: dict[str, str], body: Any, query: Any) -> Any:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            denied = _make_denial(headers, query, list_scaling_needs(operation, json.loads(body or b"{}")))
        except ValueError:
            denied = None  # invalid JSON, for which the service has a better error
        return denied or await handle(method, path, headers, body, query)

    app.SERVICE_HANDLERS[SCALING] = handle_if_allowed


def _hide_missing_objects() -> None:
    """Hide missing objects: without s3:ListBucket on the bucket, a caller gets AccessDenied instead of NoSuchKey."""
    handle = app.SERVICE_HANDLERS["s3"]

    async def handle_and_hide(method: str, path: str, headers: dict[str, str], body: Any, query: Any) -> Any:
        answer = await handle(method, path, headers, body, query)
        bucket, _, key = path.lstrip("/").partition("/")
        if answer[0] != 404 or method not in ("GET", "HEAD") or not key or b"NoSuchBucket" in bytes(answer[2] or b""):
            return answer
        denial = _find_denial(router.extract_access_key_id(headers, query), [Need("s3", "s3:ListBucket", f"arn:aws:s3:::{bucket}")])
        if denial is None:
            return answer
        said = f"<Error><Code>AccessDenied</Code><Message>{escape(denial)}</Message></Error>"
        return 403, {"Content-Type": "application/xml"}, b"" if method == "HEAD" else said.encode()

    app.SERVICE_HANDLERS["s3"] = handle_and_hide


def _name_log_resource(action: str, resource: str) -> str:
    """Return the resource that CloudWatch Logs checks; the engine names only the log group."""
    service, _, name = action.partition(":")
    whole = service != "logs" or name not in STREAM_ACTIONS or resource == "*" or OF_A_STREAM in resource
    return resource if whole else resource + OF_A_STREAM


def _let_services_assume_roles() -> None:
    """Check trust policies against the service that assumes a role; the engine would check the user whose key the service uses."""
    handle, trusts = app.SERVICE_HANDLERS["sts"], iam_evaluator.evaluate_trust_policy

    async def handle_for_service(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Any:
        token = _acting_for.set(headers.get(ACTING_FOR, ""))
        try:
            return await handle(method, path, headers, body, query)
        finally:
            _acting_for.reset(token)

    @functools.wraps(trusts)
    def trusts_caller(document: Any, caller: str, context: Any = None) -> bool:
        service = _acting_for.get()
        if service and context is not None and caller.endswith(":root"):
            return _trusts_service(document, context.resource_arn, service)
        return bool(trusts(document, caller, context))

    app.SERVICE_HANDLERS["sts"] = handle_for_service
    iam_evaluator.evaluate_trust_policy = trusts_caller


def _trusts_service(document: Any, role: str, service: str) -> bool:
    return _policy_allows_service(document, service, "sts:AssumeRole", role, {"aws:sourceaccount": ACCOUNT})


def _policy_allows_service(document: Any, service: str, action: str, resource: str, context: dict[str, Any]) -> bool:
    question = iam_evaluator.EvalContext(service, "Service", "", action, resource, REGION, secure_transport=True, service_context=context)
    return bool(iam_evaluator.evaluate_resource_policy(document, question, service=service).decision == "Allow")


def _find_denial(key: str, needs: Iterable[Need]) -> str | None:
    """Return AWS's message for the first need that the caller with this access key lacks; None if it has all."""
    for need in needs:
        denied = iam_evaluator.enforce(key, need.action, need.service, REGION, need.resource, need.context)
        if isinstance(denied, iam_evaluator.AuthError):
            return str(denied.message)
        if denied is not None:
            explicit = denied.decision == "Deny"
            return str(iam_actions.identity_denial_message(need.action, denied.principal_arn, need.resource, explicit))
    return None


def _open_session(role: str, service: str) -> str | None:
    """Return the access key of a service's session with a role; None if the role's trust policy forbids it."""
    name = role.rpartition("/")[2]
    found = iam._roles.get_scoped(ACCOUNT, None, name)
    if found is None or not _trusts_service(found.get("AssumeRolePolicyDocument", "{}"), role, service):
        return None
    secret = hashlib.sha256(f"{service} as {role}".encode()).hexdigest()
    key = f"ASIA{secret[:16].upper()}"
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{service.partition('.')[0]}"
    kind = {"PrincipalType": "AssumedRole", "AccountId": ACCOUNT, "UserId": f"{name}:{service}"}
    sts.register_session(key, {"Arn": arn, "SecretAccessKey": secret, "SessionToken": secret, **kind})
    return key


def _check_api_functions() -> None:
    """Let API Gateway invoke a function only if the function's policy allows it."""
    invoke = apigateway_v1._invoke_lambda_proxy_v1

    @functools.wraps(invoke)
    async def invoke_if_allowed(
        integration: Any, api: str, stage: str, settings: Any, resource: Any, path: str, method: str, *rest: Any, **named: Any
    ) -> Any:
        found = re.search(r"functions/(arn:[^/]+)/invocations", integration.get("uri", ""))
        function = found.group(1) if found else ""
        policy: Any = (lambda_svc.function_policy_for_arn(function) or ({},))[0]
        source = {"aws:sourcearn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/{stage}/{method}{path}", "aws:sourceaccount": ACCOUNT}
        if not _policy_allows_service(policy, GATEWAY, "lambda:InvokeFunction", function, source):
            return apigateway_v1._gw_error("API_CONFIGURATION_ERROR", "Internal server error")
        return await invoke(integration, api, stage, settings, resource, path, method, *rest, **named)

    apigateway_v1._invoke_lambda_proxy_v1 = invoke_if_allowed


def _check_function_logs() -> None:
    """Write a function's log only if its role has the permission."""
    emit = lambda_svc._emit_lambda_logs

    @functools.wraps(emit)
    def emit_if_allowed(function: Any, *rest: Any, **named: Any) -> None:
        settings = function.get("config") or function
        group = settings.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{settings.get('FunctionName')}"
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
        key = lambda_runtime.execution_credentials(settings)["AWS_ACCESS_KEY_ID"]
        if _find_denial(key, [Need("logs", f"logs:{action}", arn) for action in ("CreateLogStream", "PutLogEvents")]) is None:
            emit(function, *rest, **named)

    lambda_svc._emit_lambda_logs = emit_if_allowed
