"""Adapts ministack, the AWS engine. Only the files named here use its private names.

Runs in the engine process (`python -m local.engine`), which calls `install` before it serves. SEAMS lists the private names of the
pinned version; a test asserts that all of them exist, so that an incompatible version fails there and not in a demo.
The adapter adds SageMaker, by forwarding calls to the SageMaker plane; the SageMaker integrations of Step Functions with `.sync`;
and behaviour of AWS that the engine lacks (error classes of Lambda, timeouts and aborts of executions, size limits of the API,
snapshots that survive a kill). `local.engine.adapter_permissions` adds strict local mode; `local.engine.adapter_services` adds the
services around SageMaker, such as its events and its CloudFormation resource.
"""

import contextvars
import functools
import importlib
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import persistence, router
from ministack.services import apigateway_v1, cloudformation, lambda_svc, s3
from ministack.services import stepfunctions as sfn

from local.engine import adapter_permissions, adapter_services
from local.engine.adapter_permissions import Permissions
from local.engine.decisions import DecisionLog
from local.engine.plane_client import PlaneClient
from local.engine.snapshots import Snapshots, list_ownerless
from local.engine.sync_tasks import SyncTasks, TaskFailedError, make_error_name
from local.host.request_guard import guard_requests

MINISTACK_VERSION = "1.5.33"
SEAMS: tuple[tuple[str, str], ...] = (
    *adapter_permissions.SEAMS,
    *adapter_services.SEAMS,
    ("ministack.app", "AUTH"),
    ("ministack.app", "app"),
    ("ministack.app", "main"),
    ("ministack.app", "SERVICE_HANDLERS"),
    ("ministack.app", "_build_persistence_save_dict"),
    ("ministack.app", "_load_persisted_state"),
    ("ministack.app", "save_all"),
    ("ministack.core.persistence", "STATE_DIR"),
    ("ministack.core.persistence", "_json_default"),
    ("ministack.core.persistence", "_state_format_version"),
    ("ministack.core.router", "SERVICE_PATTERNS"),
    ("ministack.services.apigateway_v1", "_gw_error"),
    ("ministack.services.apigateway_v1", "handle_execute"),
    ("ministack.services.apigateway_v1", "_invoke_lambda_proxy_v1"),
    ("ministack.services.cloudformation", "_stacks"),
    ("ministack.services.lambda_svc", "_execute_function_warm"),
    ("ministack.services.s3", "_buckets"),
    ("ministack.services.s3", "_delete_persisted_bucket"),
    ("ministack.services.s3", "_object_versions"),
    ("ministack.services.s3", "_persist_object"),
    ("ministack.services.stepfunctions", "_SERVICE_DISPATCH"),
    ("ministack.services.stepfunctions", "_AWS_SDK_SERVICE_MAP"),
    ("ministack.services.stepfunctions", "_AWS_SDK_ERROR_PREFIX"),
    ("ministack.services.stepfunctions", "_AWS_SDK_ERROR_CODE_OVERRIDES"),
    ("ministack.services.stepfunctions", "_ExecutionError"),
    ("ministack.services.stepfunctions", "_add_event"),
    ("ministack.services.stepfunctions", "_apply_jsonata_output"),
    ("ministack.services.stepfunctions", "_apply_output_path"),
    ("ministack.services.stepfunctions", "_emit_execution_status_event"),
    ("ministack.services.stepfunctions", "_error_matches"),
    ("ministack.services.stepfunctions", "_evaluate_jsonata"),
    ("ministack.services.stepfunctions", "_executions"),
    ("ministack.services.stepfunctions", "_fail_execution"),
    ("ministack.services.stepfunctions", "_find_matching_retrier"),
    ("ministack.services.stepfunctions", "_invoke_resource_with_timeout"),
    ("ministack.services.stepfunctions", "_run_execution"),
    ("ministack.services.stepfunctions", "_state_machines"),
    ("ministack.services.stepfunctions", "_state_query_language"),
    ("ministack.services.stepfunctions", "now_iso"),
)

API_LIMIT_BYTES = 10 * 1024 * 1024
LAMBDA_PAYLOAD_LIMIT_BYTES = 6 * 1024 * 1024
# Errors that ErrorEquals ["States.ALL"] does not catch in Step Functions.
UNCATCHABLE = ("States.Runtime", "States.DataLimitExceeded")

_execution: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("execution", default=None)
_task_timed_out: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("task_timed_out", default=None)


class EngineVersionError(RuntimeError):
    """The installed ministack lacks a name that the adapter uses."""


def list_missing_seams() -> list[str]:
    """List the seams that the installed ministack lacks; none with the pinned version."""
    return [f"{module}.{name}" for module, name in SEAMS if not hasattr(importlib.import_module(module), name)]


def install(client: PlaneClient, notes: Path, snapshot: Path, decisions: Path) -> Snapshots:
    """Connect ministack to the SageMaker plane and return its snapshots, which the caller starts. Call before `app.main`.

    `notes` is the folder with notes of running `.sync` jobs, `snapshot` the link to the newest snapshot, `decisions` the file for the
    decisions of strict local mode.
    """
    if missing := list_missing_seams():
        raise EngineVersionError(f"ministack lacks {', '.join(missing)}; local mode requires version {MINISTACK_VERSION}: install it")
    permissions = Permissions(DecisionLog(decisions), _execution.get) if app.AUTH else None
    tasks = SyncTasks(client, notes, denial=permissions.deny_task) if permissions else SyncTasks(client, notes)
    _add_sagemaker(client, tasks, permissions)
    adapter_services.install(client)
    _guard_executions()
    _keep_error_classes()
    _limit_api_bodies()
    _accept_unsigned_calls()
    _drop_version_bodies()
    _drop_ownerless_buckets_after_loading()
    if permissions:
        permissions.install()
    threading.Thread(target=tasks.stop_left_over, daemon=True, name="stop-left-over-jobs").start()
    return _make_snapshots(snapshot)


def _add_sagemaker(client: PlaneClient, tasks: SyncTasks, permissions: Permissions | None) -> None:
    """SageMaker for SDKs and the CLI, for `aws-sdk:sagemaker:*` states, and for the optimised integration with `.sync`."""

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> tuple[int, dict[str, str], bytes]:
        if permissions and (denied := permissions.deny_call(path, headers, body, query)):
            return denied
        return await adapter_services.forward(client, method, path, headers, body)

    def run_task(resource: str, request: dict[str, Any]) -> Any:
        try:
            return tasks.run(resource.rsplit(":", 1)[1], request, _find_stop_reason)
        except TaskFailedError as failure:
            raise sfn._ExecutionError(failure.error, failure.cause) from failure

    app.SERVICE_HANDLERS["sagemaker"] = handle
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."], "host_patterns": []}
    sfn._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
    sfn._AWS_SDK_ERROR_PREFIX["sagemaker"] = "SageMaker"
    codes = ("ValidationException", "AccessDeniedException", "ResourceNotFound", "ResourceInUse", "ResourceLimitExceeded")
    sfn._AWS_SDK_ERROR_CODE_OVERRIDES["sagemaker"] = {code: make_error_name(code, sdk=True).partition(".")[2] for code in codes}
    sfn._SERVICE_DISPATCH["arn:aws:states:::sagemaker:"] = run_task


def _find_stop_reason() -> str | None:
    """Return why the running task should stop its job: its execution ended, or its TimeoutSeconds passed; else None."""
    execution, timed_out = _execution.get(), _task_timed_out.get()
    if execution is not None and execution["status"] != "RUNNING":
        return f"the execution is {execution['status']}"
    if timed_out is not None and timed_out.is_set():
        return "the state's TimeoutSeconds passed"
    return None


def _guard_executions() -> None:
    """Add timeouts of state machines and tasks, the end after an abort, `Output` of Succeed, RedriveCount, errors outside States.ALL."""
    sfn._run_execution = _add_timeout(sfn._run_execution)
    sfn._invoke_resource_with_timeout = _signal_timeout(sfn._invoke_resource_with_timeout)
    evaluate = sfn._evaluate_jsonata
    fail, find_retrier, matches, output_path = sfn._fail_execution, sfn._find_matching_retrier, sfn._error_matches, sfn._apply_output_path

    def fail_while_running(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    def retry_while_running(retriers: Any, error: str, counts: Any) -> Any:
        execution = _execution.get()
        ended = execution is not None and execution["status"] != "RUNNING"
        return (None, -1) if ended else find_retrier(retriers, error, counts)

    def match_as_documented(error_equals: list[str], error: str) -> bool:
        return error in error_equals if error in UNCATCHABLE else bool(matches(error_equals, error))

    def output_of_succeed(state: dict[str, Any], data: Any, ctx: Any = None) -> Any:
        if state.get("Type") == "Succeed" and sfn._state_query_language(state, ctx) == "JSONata":
            return sfn._apply_jsonata_output(state, data, ctx, default=data)
        return output_path(state, data, ctx)

    def evaluate_with_redrives(expression: str, data: Any, ctx: Any = None, *rest: Any, **named: Any) -> Any:
        if ctx and "Execution" in ctx:
            ctx["Execution"].setdefault("RedriveCount", 0)  # the engine redrives nothing
        return evaluate(expression, data, ctx, *rest, **named)

    sfn._evaluate_jsonata = evaluate_with_redrives
    sfn._fail_execution = fail_while_running
    sfn._find_matching_retrier = retry_while_running
    sfn._error_matches = match_as_documented
    sfn._apply_output_path = output_of_succeed


def _add_timeout(run: Callable[[str], None]) -> Callable[[str], None]:
    """Wrap an execution's thread: it records its execution, and ends it TIMED_OUT after the state machine's TimeoutSeconds."""

    @functools.wraps(run)
    def run_with_timeout(arn: str) -> None:
        execution = sfn._executions.get(arn)
        _execution.set(execution)
        timer = None
        if execution and (seconds := _read_machine_timeout(execution)):
            timer = threading.Timer(seconds, _time_out, (execution,))
            timer.daemon = True
            timer.start()
        try:
            run(arn)
        finally:
            if timer:
                timer.cancel()

    return run_with_timeout


def _read_machine_timeout(execution: dict[str, Any]) -> float | None:
    machine = sfn._state_machines.get(execution["stateMachineArn"]) or {}
    try:
        return float(json.loads(machine.get("definition", "{}")).get("TimeoutSeconds") or 0) or None
    except ValueError:
        return None


def _time_out(execution: dict[str, Any]) -> None:
    if execution["status"] == "RUNNING":
        execution.update(
            status="TIMED_OUT", stopDate=sfn.now_iso(), error="States.Timeout", cause="the state machine's TimeoutSeconds passed"
        )
        sfn._add_event(
            execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {"error": "States.Timeout", "cause": execution["cause"]}}
        )
        sfn._emit_execution_status_event(execution)


def _signal_timeout(invoke: Callable[[str, Any, float], Any]) -> Callable[[str, Any, float], Any]:
    """Wrap a task call: it signals a timeout to the task, so that a `.sync` task can stop its job."""

    @functools.wraps(invoke)
    def invoke_and_tell(resource: str, data: Any, timeout: float) -> Any:
        timed_out = threading.Event()
        token = _task_timed_out.set(timed_out)
        try:
            return invoke(resource, data, timeout)
        except sfn._ExecutionError as failure:
            if failure.error == "States.Timeout":
                timed_out.set()
            raise
        finally:
            _task_timed_out.reset(token)

    return invoke_and_tell


def _keep_error_classes() -> None:
    """Name Lambda errors after the exception's class and add its stack, as AWS does: Retry and Catch match the name."""
    execute = lambda_svc._execute_function_warm

    @functools.wraps(execute)
    def execute_and_name(function: Any, event: Any, request_id: str) -> dict[str, Any]:
        result: dict[str, Any] = execute(function, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            name, stack = parse_traceback(result.get("log", ""))
            result["body"] = {**body, "errorType": name or "Runtime.HandlerError", "requestId": request_id, "stackTrace": stack}
        return result

    lambda_svc._execute_function_warm = execute_and_name


def parse_traceback(log: str) -> tuple[str | None, list[str]]:
    """Parse the class name (without its module) and the frames of the last traceback in a log; (None, []) without a traceback."""
    _before, found, last = log.rpartition("Traceback (most recent call last):")
    if not found:
        return None, []
    frames: list[str] = []
    for line in last.splitlines()[1:]:
        if not line.startswith(" "):
            match = re.match(r"([A-Za-z_][\w.]*)(:|$)", line)
            return (match.group(1).rsplit(".", 1)[-1] if match else None), frames
        frames.append(line)
    return None, frames


def _limit_api_bodies() -> None:
    """Answer 413 for bodies over 10 MB, API Gateway's limit, or over 6 MB after base64, Lambda's limit."""
    invoke = apigateway_v1._invoke_lambda_proxy_v1

    @functools.wraps(invoke)
    async def invoke_within_limit(*arguments: Any, **named: Any) -> Any:
        size = len(arguments[8] or b"") if len(arguments) > 8 else 0
        if size > API_LIMIT_BYTES or size * 4 / 3 > LAMBDA_PAYLOAD_LIMIT_BYTES:
            return apigateway_v1._gw_error("REQUEST_TOO_LARGE", "Request Too Long")
        return await invoke(*arguments, **named)

    apigateway_v1._invoke_lambda_proxy_v1 = invoke_within_limit


def _accept_unsigned_calls() -> None:
    """Accept unsigned API calls as the user's, because a browser cannot sign.

    Only this machine reaches 127.0.0.1, and `guard_requests` rejects requests from other pages in its browsers.
    """
    execute = apigateway_v1.handle_execute

    @functools.wraps(execute)
    async def execute_for_user(api: str, stage: str, method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
        known = headers if app.AUTH or "authorization" in headers else {**headers, "authorization": "unsigned"}
        return await execute(api, stage, method, path, known, body, query)

    apigateway_v1.handle_execute = execute_for_user


def _drop_version_bodies() -> None:
    """Drop bodies of versioned buckets from memory: the engine has also written them to files."""
    persist = s3._persist_object

    @functools.wraps(persist)
    def persist_and_drop(bucket: str, key: str, record: Any) -> None:
        persist(bucket, key, record)
        if isinstance(record, dict) and record.get("body") is None:
            for version in s3._object_versions.get((bucket, key)) or ():
                version.pop("data", None)

    s3._persist_object = persist_and_drop


def _make_snapshots(link: Path) -> Snapshots:
    """Make snapshots of all loaded services, but not during a deployment: CloudFormation's resources belong together."""

    def encode(service: str, state: Any) -> str:
        wrapped = {"__ministack_format__": persistence._state_format_version(service), "payload": state}
        return json.dumps(wrapped, default=persistence._json_default)

    def is_quiet() -> bool:
        statuses = [str(stack.get("StackStatus")) for stack in list(cloudformation._stacks.all_values())]
        return not any(status.endswith("_IN_PROGRESS") and not status.startswith("REVIEW") for status in statuses)

    # Only state files move; the code of Lambda functions, named by its hash, stays in the engine's folder.
    persistence.STATE_DIR = str(link)
    snapshots = Snapshots(link, app._build_persistence_save_dict, encode, is_quiet)
    app.save_all = snapshots.save_last
    app.app = guard_requests(snapshots.watch(app.app))
    return snapshots


def _drop_ownerless_buckets_after_loading() -> None:
    load = app._load_persisted_state

    @functools.wraps(load)
    def load_and_drop() -> None:
        load()
        resources = [each for stack in cloudformation._stacks.all_values() for each in stack.get("_resources", {}).values()]
        for name in list_ownerless(list(s3._buckets), [each.get("PhysicalResourceId", "") for each in resources]):
            s3._delete_persisted_bucket(name)
            s3._buckets.pop(name, None)

    app._load_persisted_state = load_and_drop
