"""What the main job alone does not do and the stack's roles are for: a second model, aborts, left-overs, an endpoint that nobody asks.

Each exercise makes calls in the deployed stack's own functions and state machine, for strict local mode to note.
"""

import json
import time
from datetime import UTC, datetime
from typing import Any

from lambdas.aws.run_names import run_name, tuning_job_prefix
from tests.end_to_end.conftest import Demo, call, post
from tests.fixtures.local.running import archive, training_fields, wait_until

SECOND_MODEL = {
    "debugger": "managed",
    "gate": {"tolerance": 1, "class_tolerance": 1},
    "deployment": {"keep_versions": 1, "max_instance_count": 1, "update": "all_at_once"},
}
"""The demo's own input but for who judges, how the endpoint is updated, and what of it stays."""
ENDED = ("Completed", "Stopped", "Failed")


def update_the_endpoint(demo: Demo) -> None:
    """The same model once more, judged by AWS's Debugger, takes the endpoint over; the first one is forgotten, and nothing scales any more.

    Whoever judges, the verdicts are the same.
    """
    first = demo.target.client("stepfunctions").describe_execution(executionArn=demo.record["execution_arn"])
    execution = finished(demo, started(demo, json.loads(first["input"]) | SECOND_MODEL))
    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    output = json.loads(execution["output"])
    assert output["deployed"], output
    assert output["best"] == json.loads(first["output"])["best"]
    assert verdicts(output["rule_statuses"]) == verdicts(demo.record["rule_statuses"])
    assert set(verdicts(output["profiler_rule_statuses"])) == set(verdicts(demo.record["profiler_rule_statuses"]))
    assert not {"InProgress", "Error"} & set(verdicts(output["profiler_rule_statuses"]).values())


def verdicts(statuses: list[dict[str, Any]]) -> dict[str, str]:
    """Rule -> what it found."""
    return {each["RuleConfigurationName"]: each["RuleEvaluationStatus"] for each in statuses}


def fail_at_once(demo: Demo) -> None:
    """An execution that fails in its first state is cleaned up after, and its failure told."""
    assert finished(demo, started(demo, {"epochs": 0}))["status"] == "FAILED"


def abort_jobs(demo: Demo) -> None:
    """Step Functions stops the job that it waits for, whatever the job is; the reaper, who would come too, is kept away."""
    few = {"max_jobs": 1, "max_parallel_jobs": 1, "epochs": 1}
    events = demo.target.client("events")
    events.disable_rule(Name="whippet-reap-execution")
    try:
        abort(demo, {"seed": 7}, "processing_job", "ProcessingJob", "ProcessingJobSummaries")
        abort(demo, {"tuning": {**few, "max_jobs": 50}}, "hyper_parameter_tuning_job", "HyperParameterTuningJob")
        abort(demo, {"tuning": few, "epochs": 1000}, "training_job", "TrainingJob", part="-train-")
    finally:
        events.enable_rule(Name="whippet-reap-execution")


def abort(demo: Demo, value: dict[str, Any], kind: str, noun: str, members: str = "", part: str = "whippet") -> None:
    """An execution that is stopped while a job of one kind runs; `part` is of the names of those jobs."""
    sagemaker, members = demo.target.client("sagemaker"), members or f"{noun}Summaries"

    def names() -> set[str]:
        listed = getattr(sagemaker, f"list_{kind}s")(MaxResults=100, NameContains=part)[members]
        return {each[f"{noun}Name"] for each in listed}

    before = names()
    arn = started(demo, value)
    (name,) = wait_until(lambda: names() - before, bool, 90)
    demo.target.client("stepfunctions").stop_execution(executionArn=arn, error="ByHand", cause="enough")
    describe = getattr(sagemaker, f"describe_{kind}")
    wait_until(lambda: describe(**{f"{noun}Name": name})[f"{noun}Status"], lambda status: status in ENDED, 60)


def tidy_up(demo: Demo, function: str) -> None:
    """The function ends jobs of every kind, a model and an endpoint config of a run whose execution is over."""
    start = datetime.now(UTC).replace(microsecond=0)
    arn = f"{demo.target.outputs().state_machine.replace(':stateMachine:', ':execution:')}:{function}-{time.monotonic_ns()}"
    run = run_name("whippet", arn, start)
    left = leave_behind(demo, run, f"{tuning_job_prefix('whippet', start)}{time.monotonic_ns() % 16**8:08x}")
    detail = {"executionArn": arn, "startDate": int(start.timestamp() * 1000), "status": "ABORTED"}
    event = {"execution_arn": arn, "start_time": start.isoformat(), "detail": detail}
    answer = invoked(demo, function, event)
    done = answer.get(run, answer)
    assert set(done["stopped"]) | set(done["deleted"]) >= left, answer
    assert done["left"] == []


def leave_behind(demo: Demo, run: str, tuning_job: str) -> set[str]:
    """A processing, a tuning and a training job that run, a model and an endpoint config; the names."""
    sagemaker, bucket = demo.target.client("sagemaker"), demo.target.outputs().bucket
    program = f"s3://{bucket}/code/endless/sourcedir.tar.gz"
    body = archive({"train.py": "import time\ntime.sleep(600)"})
    demo.target.client("s3").put_object(Bucket=bucket, Key="code/endless/sourcedir.tar.gz", Body=body)
    fields = {**training_fields(bucket, program), "RoleArn": job_role(demo, "RolesTraining")}
    fields["OutputDataConfig"] = {"S3OutputPath": f"s3://{bucket}/executions/{run}"}
    values = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz"}
    processing, training, model = f"{run}-prepare-00000000", f"{run}-train-00000000", f"{run}-00000000"
    sagemaker.create_training_job(TrainingJobName=training, HyperParameters=values, **fields)
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuning_job,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "objective:valid_loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.1", "MaxValue": "0.2"}]},
        },
        TrainingJobDefinition={"StaticHyperParameters": values, **fields},
        Tags=[{"Key": "execution", "Value": run}],
    )
    sagemaker.create_processing_job(
        ProcessingJobName=processing,
        RoleArn=job_role(demo, "RolesPreparation"),
        AppSpecification={"ImageUri": "image", "ContainerEntrypoint": ["sleep", "600"]},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
    )
    make_model(demo, model, f"s3://{bucket}/executions/none/model.tar.gz")
    return {processing, tuning_job, training, model}


def take_back(demo: Demo) -> None:
    """An endpoint that serves what nobody verified goes back to the newest deployed version."""
    sagemaker, bucket = demo.target.client("sagemaker"), demo.target.outputs().bucket
    served = sagemaker.describe_endpoint(EndpointName="whippet")["EndpointConfigName"]
    arn, start = f"{demo.target.outputs().state_machine.replace(':stateMachine:', ':execution:')}:moved", datetime.now(UTC)
    run = run_name("whippet", arn, start)
    serve = "#!/bin/sh\nexec python3 -m http.server --bind 127.0.0.1 $SAGEMAKER_BIND_TO_PORT\n"
    artefact = {"Bucket": bucket, "Key": f"executions/{run}/model.tar.gz"}
    demo.target.client("s3").put_object(**artefact, Body=archive({"code/serve": serve, "ping": "pong"}))
    uri = f"s3://{bucket}/{artefact['Key']}"
    make_model(demo, f"{run}-00000000", uri)
    sagemaker.update_endpoint(EndpointName="whippet", EndpointConfigName=f"{run}-00000000")
    in_service(demo, f"{run}-00000000")
    invoked(demo, "reap-execution", {"detail": {"executionArn": arn, "startDate": int(start.timestamp() * 1000), "status": "ABORTED"}})
    in_service(demo, served)


def in_service(demo: Demo, config: str) -> None:
    """Wait until the endpoint serves a config."""
    wait_until(
        lambda: demo.target.client("sagemaker").describe_endpoint(EndpointName="whippet"),
        lambda seen: (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", config),
        90,
    )


def make_model(demo: Demo, name: str, uri: str) -> None:
    """A model and an endpoint config of one name, by the user."""
    sagemaker = demo.target.client("sagemaker")
    role = job_role(demo, "RolesHosting")
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": "image", "ModelDataUrl": uri}, ExecutionRoleArn=role)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def job_role(demo: Demo, part: str) -> str:
    """The ARN of the one role with this in its name."""
    pages = demo.target.client("iam").get_paginator("list_roles").paginate()
    (arn,) = [each["Arn"] for page in pages for each in page["Roles"] if part in each["RoleName"]]
    return str(arn)


def miss_a_report(demo: Demo) -> None:
    """A report that is not there is told from one that may not be read."""
    bucket = demo.target.outputs().bucket
    served = demo.target.client("sagemaker").describe_endpoint(EndpointName="whippet")["EndpointConfigName"]
    event = {"endpoint": "whippet", "endpoint_config": served, "report": f"s3://{bucket}/executions/none/report/"}
    demo.target.client("lambda").invoke(FunctionName="whippet-verify-endpoint", Payload=json.dumps(event))


def look_at_all_executions(demo: Demo) -> None:
    """The reaper's round every quarter of an hour."""
    invoked(demo, "reap-execution", {})


def sleep_and_wake(demo: Demo) -> None:
    """An endpoint that nobody asks is deleted, and the next photo brings it back."""
    functions, name = demo.target.client("lambda"), "whippet-stop-idle-endpoint"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**variables, "IDLE_HOURS": "0.0005"}})
    answer = wait_until(lambda: invoked(demo, "stop-idle-endpoint", {}), lambda seen: seen["deleted"], 60)
    assert "nobody asked it anything" in answer["reason"]
    status, answer = post(demo, photo(demo), "image/jpeg")
    assert (status, list(answer)) == (503, ["error"])
    wait_until(lambda: post(demo, photo(demo), "image/jpeg"), lambda seen: seen[0] == 200, 90)


def look_at_the_page(demo: Demo) -> None:
    """GET /."""
    assert call(demo, demo.target.page_url())[0] == 200


def photo(demo: Demo) -> bytes:
    """One of the uploaded photos."""
    bucket, s3 = demo.target.outputs().bucket, demo.target.client("s3")
    key = next(each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix="data/rook/")["Contents"])
    return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def invoked(demo: Demo, function: str, event: dict[str, Any]) -> dict[str, Any]:
    """The answer of one of the stack's functions."""
    answer = demo.target.client("lambda").invoke(FunctionName=f"whippet-{function}", Payload=json.dumps(event))
    body: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def started(demo: Demo, value: dict[str, Any]) -> str:
    """The ARN of a new execution."""
    machine = demo.target.outputs().state_machine
    return str(demo.target.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(value))["executionArn"])


def finished(demo: Demo, arn: str) -> dict[str, Any]:
    """An execution, once it has ended."""
    states = demo.target.client("stepfunctions")
    execution: dict[str, Any] = wait_until(
        lambda: states.describe_execution(executionArn=arn), lambda seen: seen["status"] != "RUNNING", 240
    )
    return execution
