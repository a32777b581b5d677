"""Local mode killed in the middle: nothing in S3 is lost, no process goes on for ever, the next start works."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil

from local.host.ports import find_free_port
from local.host.processes import PidFiles
from tests.fixtures.local.endpoint_requests import SERVE, invoke, make_config, wait_for_endpoint
from tests.fixtures.local.engine_stacks import stack_at_rest, template
from tests.fixtures.local.processing_requests import processing_request
from tests.fixtures.local.running import Local, lives, wait_until
from tests.fixtures.local.state_machines import job_named, make_function, run_machine, training_task
from tests.fixtures.local.watched_jobs import watched


def kill(local: Local, name: str) -> None:
    pid = getattr(local.mode.status(), f"{name}_pid")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: getattr(local.mode.status(), f"{name}_pid"), lambda pid: pid is None, 10)


def test_a_killed_plane_leaves_no_job_running_and_brings_endpoints_back(fresh_local: Local) -> None:
    local = fresh_local
    config = make_config(local, "comes-back", {"code/serve": SERVE, "word.txt": "here"})
    local.client("sagemaker").create_endpoint(EndpointName="comes-back", EndpointConfigName=config)
    wait_for_endpoint(local, "comes-back", "InService")
    program = local.put_program("endless", "import time\nprint('endless')\ntime.sleep(600)")
    local.client("sagemaker").create_training_job(**local.training_request("killed", program))
    local.client("sagemaker").create_processing_job(**processing_request(local, "killed", "import time\ntime.sleep(600)"))
    book = PidFiles(local.mode.home / "run")
    wait_until(lambda: book.list_records("job-"), lambda records: len(records) == 2, 20)
    time.sleep(1)
    orphans = [record.pid for record in (*book.list_records("job-"), *book.list_records("server-"))]
    assert len(orphans) == 3 == local.mode.status().jobs
    kill(local, "plane")
    assert all(lives(pid) for pid in orphans)

    local.mode.start()

    assert not any(lives(pid) for pid in orphans)
    job = local.client("sagemaker").describe_training_job(TrainingJobName="killed")
    assert job["TrainingJobStatus"] == "Failed" and "local mode ended while the job ran" in job["FailureReason"]
    processing = local.client("sagemaker").describe_processing_job(ProcessingJobName="killed")
    assert processing["ProcessingJobStatus"] == "Failed" and "local mode ended while the job ran" in processing["FailureReason"]
    wait_for_endpoint(local, "comes-back", "InService")
    assert invoke(local, "comes-back")["word"] == "here"
    leftover = list((local.mode.home / "sagemaker").glob("*jobs/*/ml"))
    assert leftover == []


def test_a_killed_engine_keeps_objects_and_control_plane_and_stops_its_jobs(fresh_local: Local) -> None:
    local = fresh_local
    local.client("ssm").put_parameter(Name="/kept", Value="yes", Type="String")
    function = make_function(local, "def handler(event, context):\n    return 'its code is still there'\n")
    program = local.put_program("endless", "import time\nprint('endless')\ntime.sleep(600)")
    execution = run_machine(local, {"Train": training_task(local, program, "of-a-killed-engine")})
    wait_until(lambda: job_named(local, "of-a-killed-engine"), bool, 20)
    local.put("late.txt", b"put just before the end")
    snapshot = local.mode.home / "engine" / "snapshot" / "stepfunctions.json"
    wait_until(lambda: snapshot.exists() and execution in snapshot.read_text(), bool, 20)
    kill(local, "engine")

    local.mode.start()

    assert local.client("s3").get_object(Bucket=local.bucket, Key="late.txt")["Body"].read() == b"put just before the end"
    assert local.client("ssm").get_parameter(Name="/kept")["Parameter"]["Value"] == "yes"
    answer = local.client("lambda").invoke(FunctionName=function)["Payload"].read()
    assert json.loads(answer) == "its code is still there"
    described = local.client("stepfunctions").describe_execution(executionArn=execution)
    assert (described["status"], described["error"]) == ("FAILED", "States.ServiceRestart")
    assert local.wait_for_job("of-a-killed-engine", 30)["TrainingJobStatus"] == "Stopped"


def test_an_engine_killed_right_after_a_bootstrap_can_be_bootstrapped_again(fresh_local: Local) -> None:
    """The bucket lies on disk at once, as the registry's group does, their stack only in the next snapshot: neither may be in the way."""
    local = fresh_local
    bucket = {
        "Type": "AWS::S3::Bucket",
        "Properties": {"BucketName": "cdk-tests-assets-000000000000-us-east-1"},
        "DeletionPolicy": "Retain",
    }
    group = {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {"ModelPackageGroupName": "of-a-lost-stack"}}
    template = json.dumps({"Resources": {"StagingBucket": bucket, "Registry": group}})

    def bootstrap(change_set_name: str) -> str:
        formation = local.client("cloudformation")
        # A change set, as the CDK command line makes one: it is checked against what exists before anything is made.
        name = {"StackName": "CDKTests", "ChangeSetName": change_set_name}
        formation.create_change_set(**name, TemplateBody=template, ChangeSetType="CREATE")
        change_set = wait_until(
            lambda: formation.describe_change_set(**name), lambda seen: seen["Status"] in ("CREATE_COMPLETE", "FAILED"), 30
        )
        assert change_set["Status"] == "CREATE_COMPLETE", change_set["StatusReason"]
        formation.execute_change_set(**name)
        stack = wait_until(
            lambda: formation.describe_stacks(StackName="CDKTests")["Stacks"][0],
            lambda stack: not stack["StackStatus"].endswith("_IN_PROGRESS"),
            30,
        )
        return str(stack["StackStatus"])

    wait_until(lambda: (local.mode.home / "engine" / "snapshot").is_symlink(), bool, 20)
    time.sleep(2.5)
    assert bootstrap("first") == "CREATE_COMPLETE"
    local.client("s3").put_object(Bucket="cdk-tests-assets-000000000000-us-east-1", Key="asset.zip", Body=b"x")
    kill(local, "engine")
    # As if the kill had come before the next snapshot, which it may or may not have done.
    (local.mode.home / "engine" / "snapshot" / "cloudformation.json").unlink(missing_ok=True)
    local.mode.start()
    assert local.client("cloudformation").list_stacks()["StackSummaries"] == []
    groups = local.client("sagemaker").list_model_package_groups
    wait_until(lambda: groups()["ModelPackageGroupSummaryList"], lambda seen: seen == [], 10)
    assert bootstrap("second") == "CREATE_COMPLETE"
    assert local.bucket in [each["Name"] for each in local.client("s3").list_buckets()["Buckets"]]


def test_a_stack_that_waits_for_a_killed_plane_keeps_the_engine_from_nothing(fresh_local: Local) -> None:
    local = fresh_local
    kill(local, "plane")
    local.client("cloudformation").create_stack(StackName="registry", TemplateBody=template("waited-for"))
    assert local.client("s3").list_buckets()["Buckets"]
    (stack,) = local.client("cloudformation").describe_stacks(StackName="registry")["Stacks"]
    assert stack["StackStatus"] == "CREATE_IN_PROGRESS"
    engine = local.mode.status().engine_pid
    local.mode.start()
    assert local.mode.status().engine_pid == engine
    assert stack_at_rest(local, "registry")["StackStatus"] == "CREATE_COMPLETE"


def test_stop_ends_everything_by_pid_and_start_finds_the_objects_again(fresh_local: Local) -> None:
    local = fresh_local
    local.put("kept.txt", b"kept")
    local.mode.start()
    first, url = local.mode.status(), local.mode.engine_url
    pids = local.mode.stop()
    assert {first.engine_pid, first.plane_pid} <= set(pids)
    assert not local.mode.is_running() and local.mode.stop() == []
    assert list((local.mode.home / "run").glob("*.pid")) == []
    local.mode.start()
    assert local.mode.engine_url == url, "the port changed although it was free"
    assert local.client("s3").get_object(Bucket=local.bucket, Key="kept.txt")["Body"].read() == b"kept"


def test_an_engine_that_had_to_take_another_port_has_a_plane_that_finds_it(fresh_local: Local) -> None:
    local = fresh_local
    url = local.mode.engine_url
    kill(local, "engine")
    wait_until(lambda: find_free_port(int(url.rpartition(":")[2]), set()), lambda port: url.endswith(f":{port}"), 10)
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
        local.mode.start()
        assert local.mode.engine_url != url
        local.client("s3").create_bucket(Bucket=local.bucket)  # the kill may have come before the first snapshot
        job = local.train("elsewhere", local.put_program("elsewhere", "print('here')"))
    assert job["TrainingJobStatus"] == "Completed", job


def test_only_this_machine_can_reach_it(local: Local) -> None:
    pids = {local.mode.status().engine_pid, local.mode.status().plane_pid}
    listening = [each for each in psutil.net_connections("inet") if each.pid in pids and each.status == psutil.CONN_LISTEN]
    assert len(listening) == 2
    assert {str(each.laddr).partition("ip='")[2].partition("'")[0] for each in listening} == {"127.0.0.1"}


def test_the_engine_refuses_to_listen_on_other_addresses() -> None:
    environment = {"PATH": os.environ["PATH"], "BIND_HOST": "0.0.0.0"}  # noqa: S104 - what is refused
    done = subprocess.run([sys.executable, "-m", "local.engine"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "must be 127.0.0.1" in done.stderr


def test_a_killed_plane_leaves_no_sampler_running_and_no_rule_in_progress(fresh_local: Local) -> None:
    local = fresh_local
    program = local.put_program("endless", "import time\ntime.sleep(600)")
    fields = {name: value for name, value in watched().items() if name.startswith(("Debug", "Profiler"))}
    local.client("sagemaker").create_training_job(**local.training_request("watched-1", program, **fields))
    book = PidFiles(local.mode.home / "run")
    pids = [record.pid for record in wait_until(lambda: book.list_records("job-"), lambda records: len(records) == 3, 20)]
    kill(local, "plane")

    local.mode.start()

    assert not any(lives(pid) for pid in pids) and book.list_records("job-") == []
    job = local.client("sagemaker").describe_training_job(TrainingJobName="watched-1")
    verdicts = [*job["DebugRuleEvaluationStatuses"], *job["ProfilerRuleEvaluationStatuses"]]
    assert {status["RuleEvaluationStatus"] for status in verdicts} == {"Error"}
    assert "local mode ended while the rule was evaluated" in verdicts[0]["StatusDetails"]
    assert list((local.mode.home / "sagemaker").glob("jobs/*/rules")) == []
