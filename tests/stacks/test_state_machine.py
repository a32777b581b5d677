"""Every way through the state machine, run in memory: what is asked of SageMaker, where it ends, and what it says when it fails."""

import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from stacks.endpoint_states import CHECK_SECONDS, MOST_CHECKS, MOST_REMOVALS
from stacks.state_machine import definition
from stacks.training_states import MOST_LOOKS, MOST_RULE_LOOKS, SHORT_LOOKS, TRAINING_SECONDS
from tests.stacks.execution import SUBSTITUTED, Execution, TaskError
from tests.stacks.fake_sagemaker import ABSENT, IN_PROGRESS, MACHINE, PREPARED, FakeSageMaker, asked_for, planned, run, status, verdict
from tests.stacks.request_shapes import faults_in
from training import contract


def test_the_first_execution_creates_the_endpoint() -> None:
    done = run(describeEndpoint=[ABSENT, status("Creating")])
    assert done.error == ""
    assert [name for name in done.visited if name.startswith(("Prepare", "Create", "Update", "Train", "Tune"))] == [
        "PrepareExecution",
        "PrepareDataset",
        "TuneHyperparameters",
        "TrainModel",
        "CreateModel",
        "CreateEndpointConfig",
        "CreateEndpoint",
    ]


def test_the_output_says_what_was_made_and_where() -> None:
    output = run().output
    run_name, job = output["run"], output["training_job"]
    folder = f"s3://whippet-data/executions/{run_name}/training/{job}"
    assert output == {
        "run": run_name,
        "dataset": output["dataset"],
        "tuning_job": output["tuning_job"],
        "training_job": job,
        "best": {"lr": 0.0123, "batch_size": 64, "objective": 0.51},
        "model_artifact": f"{folder}/model.tar.gz",
        "report": f"{folder}/report/",
        "debug_output": f"{folder}/debug-output/",
        "profiler_output": f"{folder}/profiler-output/",
        "rule_output": f"{folder}/rule-output/",
        "deployed": True,
        "reasons": [],
        "warnings": [],
        "rule_statuses": [verdict("LossNotDecreasing"), verdict("ExplodingTensor"), verdict("UnchangedTensor")],
        "profiler_rule_statuses": [verdict("CPUBottleneck")],
        "model": output["model"],
        "endpoint": "whippet",
        "endpoint_config": output["endpoint_config"],
    }
    assert re.fullmatch(r"whippet-261122160000-[0-9a-f]{4}", run_name)
    assert re.fullmatch(rf"s3://whippet-data/{PREPARED}{run_name}-prepare-[0-9a-f]{{8}}/", output["dataset"])


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"instance_type": "ml.g5.xlarge", "endpoint": {"instance_type": "ml.g5.xlarge", "instance_count": 2}},
        {"tuning": {"lr": [0.00001, 0.5], "batch_size": [32], "max_jobs": 1, "strategy": "Random"}, "debugger": "off"},
        {"trainable": "last_stage", "spot": True, "instance_count": 2, "input_mode": "FastFile", "class_weights": "none"},
        {"trainable": "all", "debugger": "managed", "rules": {"stop_training": ["ExplodingTensor"]}},
        {"debugger": "managed", "rules": {"evaluate": []}},
    ],
)
def test_every_request_is_what_the_api_demands(asked: dict[str, Any]) -> None:
    """With all expressions evaluated, so nothing is taken on trust."""
    requests = [each for way in (run(asked), run(asked, describeEndpoint=[ABSENT])) for each in way.requests if each[0] != "invoke"]
    faults = [fault for action, arguments in requests for fault in faults_in(action.removesuffix(".sync"), arguments)]
    assert faults == []


def test_the_hyperparameters_sent_are_those_the_program_accepts() -> None:
    execution = run()
    (tuning,) = asked_for(execution, "createHyperParameterTuningJob.sync")
    (training,) = asked_for(execution, "createTrainingJob.sync")
    toolkit = {"sagemaker_program", "sagemaker_submit_directory", "sagemaker_torch_distributed_enabled"}
    ranges = tuning["HyperParameterTuningJobConfig"]["ParameterRanges"]
    tuned = {each["Name"] for kind in ranges.values() for each in kind}
    assert tuned == set(contract.TUNED_HYPERPARAMETERS)
    assert (
        set(tuning["TrainingJobDefinition"]["StaticHyperParameters"]) | tuned == set(contract.HYPERPARAMETERS) - {contract.RULES} | toolkit
    )
    assert set(training["HyperParameters"]) == set(contract.HYPERPARAMETERS) | toolkit
    assert training["HyperParameters"]["lr"] == "0.0123"
    assert training["HyperParameters"]["batch_size"] == "64", "quotes that the SDK's tuner puts around a value are taken off"


def test_every_part_of_the_plan_is_used() -> None:
    """A request, a sentence or the output holds it; what none of them needs is not worked out."""
    used = set(re.findall(r"\$plan\.(\w+)", json.dumps(definition())))
    assert used == set(planned({}))


def test_one_batch_size_stays_a_list() -> None:
    (tuning,) = asked_for(run({"tuning": {"batch_size": [32]}}), "createHyperParameterTuningJob.sync")
    (batch_size,) = tuning["HyperParameterTuningJobConfig"]["ParameterRanges"]["CategoricalParameterRanges"]
    assert batch_size["Values"] == ["32"]


def test_the_checkpoints_lie_in_the_jobs_own_folder() -> None:
    (training,) = asked_for(run(), "createTrainingJob.sync")
    assert training["CheckpointConfig"]["S3Uri"] == f"{training['OutputDataConfig']['S3OutputPath']}/{training['TrainingJobName']}"


def test_jobs_and_models_are_isolated() -> None:
    requests = dict(run().requests)
    assert requests["createTrainingJob.sync"]["EnableNetworkIsolation"] is True
    assert requests["createHyperParameterTuningJob.sync"]["TrainingJobDefinition"]["EnableNetworkIsolation"] is True
    assert requests["createModel"]["EnableNetworkIsolation"] is True
    assert requests["createProcessingJob.sync"]["NetworkConfig"]["EnableNetworkIsolation"] is True


def test_a_data_set_that_is_prepared_is_not_prepared_again() -> None:
    done = run(prepareExecution=[{"Payload": planned({}, present=f"{PREPARED}an-earlier-job/")}])
    assert done.error == ""
    assert asked_for(done, "createProcessingJob.sync") == []
    assert done.output["dataset"] == f"s3://whippet-data/{PREPARED}an-earlier-job/"
    for request in training_requests(done):
        assert channels(request)["dataset"] == (done.output["dataset"], "File")


def test_the_processing_job_starts_the_program_with_its_options() -> None:
    """Each folder named by an option is an input's or an output's, and the script is as short as SageMaker wants it."""
    (request,) = asked_for(run({"seed": 7}), "createProcessingJob.sync")
    entrypoint, arguments = request["AppSpecification"]["ContainerEntrypoint"], request["AppSpecification"]["ContainerArguments"]
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert tuple(options) == contract.PREPARE_OPTIONS
    inputs = {each["InputName"]: each["S3Input"] for each in request["ProcessingInputs"]}
    outputs = {each["OutputName"]: each["S3Output"] for each in request["ProcessingOutputConfig"]["Outputs"]}
    named = {**{name: inputs[name] for name in ("photos", "weights")}, **outputs}
    assert {name: options[f"--{name}"] for name in named} == {name: each["LocalPath"] for name, each in named.items()}
    assert (options["--message"], options["--seed"]) == ("/opt/ml/output/message", "7")
    assert (options["--files"], options["--bytes"]) == ("20", "1000000000000")
    archive = SUBSTITUTED["SourceArchiveName"]
    assert f"{inputs['code']['LocalPath']}/{archive} " in entrypoint[2]
    assert entrypoint[2].endswith(f'{contract.PREPARE_PROGRAM} "$@"')
    assert len(entrypoint[2]) <= 256


def test_the_start_script_of_the_processing_job_runs(tmp_path: Path) -> None:
    """In a shell, with an archive that holds a program which says what it was given; a file name of a photo folder may hold spaces."""
    script = run().requests[1][1]["AppSpecification"]["ContainerEntrypoint"]
    code = tmp_path / "processing" / "input" / "code"
    code.mkdir(parents=True)
    program = tmp_path / contract.PREPARE_PROGRAM
    program.parent.mkdir()
    program.write_text("import sys; print(sys.argv[1:]); raise SystemExit(3)")
    with tarfile.open(code / SUBSTITUTED["SourceArchiveName"], "w:gz") as archive:
        archive.add(program, contract.PREPARE_PROGRAM)
    command = [part.replace("/opt/ml", str(tmp_path)) for part in script]
    done = subprocess.run([*command, "--photos", "two words"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("['--photos', 'two words']\n", 3), done.stderr


def test_what_is_prepared_is_what_training_jobs_read() -> None:
    done = run()
    (preparation,) = asked_for(done, "createProcessingJob.sync")
    (dataset, report) = (each["S3Output"] for each in preparation["ProcessingOutputConfig"]["Outputs"])
    assert (dataset["S3Uri"], dataset["S3UploadMode"]) == (f"s3://whippet-data/{PREPARED}{preparation['ProcessingJobName']}", "EndOfJob")
    assert (report["S3Uri"], report["S3UploadMode"]) == (f"s3://whippet-data/executions/{done.output['run']}/prepare", "Continuous")
    for request in training_requests(done):
        assert channels(request)["dataset"] == (f"{dataset['S3Uri']}/", "File")


def test_only_jobs_that_download_the_photos_have_room_for_them() -> None:
    asked: list[dict[str, Any]] = [{"trainable": "all"}, {"trainable": "all", "input_mode": "FastFile"}, {}]
    sizes = []
    for each in asked:
        done = run(each)
        (preparation,) = asked_for(done, "createProcessingJob.sync")
        assert preparation["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] == 1121
        sizes.append([request["ResourceConfig"]["VolumeSizeInGB"] for request in training_requests(done)])
    assert sizes == [[1121, 1121], [50, 50], [50, 50]]


def test_the_processing_job_has_a_role_of_its_own() -> None:
    done = run()
    (preparation,) = asked_for(done, "createProcessingJob.sync")
    assert preparation["RoleArn"] == SUBSTITUTED["PreparationRoleArn"]
    assert {request["RoleArn"] for request in training_requests(done)} == {SUBSTITUTED["TrainingRoleArn"]}


def training_requests(execution: Execution) -> list[dict[str, Any]]:
    """Of the tuning job's training jobs and of the final one."""
    tuning, final = (asked_for(execution, f"create{kind}Job.sync")[0] for kind in ("HyperParameterTuning", "Training"))
    return [tuning["TrainingJobDefinition"], final]


def channels(request: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["ChannelName"]: (each["DataSource"]["S3DataSource"]["S3Uri"], each["InputMode"]) for each in request["InputDataConfig"]}


@pytest.mark.parametrize(("trainable", "mode"), [("head", "File"), ("last_stage", "FastFile"), ("all", "File")])
def test_training_jobs_get_the_photos_only_where_they_train_the_backbone(trainable: str, mode: str) -> None:
    for request in training_requests(run({"trainable": trainable, "input_mode": mode})):
        photos = {"photos": ("s3://whippet-data/data/", mode)} if trainable != "head" else {}
        assert set(channels(request)) == {"dataset", "weights", "code", *photos}
        assert photos.items() <= channels(request).items()
        sent = request.get("HyperParameters") or request["StaticHyperParameters"]
        assert (sent["trainable"], sent["class_weights"]) == (trainable, "balanced")


@pytest.mark.parametrize(
    ("asked", "distributed"),
    [
        ({}, "false"),
        ({"instance_type": "ml.g5.12xlarge"}, "false"),
        ({"trainable": "all"}, "false"),
        ({"trainable": "all", "instance_count": 2}, "true"),
        ({"trainable": "last_stage", "instance_type": "ml.g5.12xlarge"}, "true"),
    ],
)
def test_several_processes_share_a_job_only_where_they_help(asked: dict[str, Any], distributed: str) -> None:
    for request in training_requests(run(asked)):
        sent = request.get("HyperParameters") or request["StaticHyperParameters"]
        assert sent["sagemaker_torch_distributed_enabled"] == distributed
        assert request["ResourceConfig"]["InstanceCount"] == asked.get("instance_count", 1)


@pytest.mark.parametrize("spot", [False, True])
def test_a_job_on_spare_machines_waits_so_long_and_keeps_its_checkpoints(spot: bool) -> None:
    tuning, final = training_requests(run({"spot": spot}))
    for request in (tuning, final):
        assert request["EnableManagedSpotTraining"] is spot
        wait = request["StoppingCondition"].get("MaxWaitTimeInSeconds")
        assert (wait is not None) is spot
        assert not spot or request["StoppingCondition"]["MaxRuntimeInSeconds"] < wait < TRAINING_SECONDS
    assert (tuning["CheckpointConfig"]["LocalPath"] == contract.CHECKPOINTS_FOLDER) is spot
    assert final["CheckpointConfig"]["LocalPath"] == contract.CHECKPOINTS_FOLDER


def test_a_processing_job_that_refuses_its_photos_is_quoted() -> None:
    described = {
        "ProcessingJobStatus": "Failed",
        "FailureReason": "AlgorithmError: See job logs for more information",
        "ExitMessage": "12 of 20 files are no photos.",
    }
    failed = run(createProcessingJob=[TaskError("States.TaskFailed", json.dumps(described))])
    (request,) = asked_for(failed, "createProcessingJob.sync")
    name = request["ProcessingJobName"]
    assert failed.cause == (
        f"PrepareDataset failed (processing job {name}): 12 of 20 files are no photos. "
        f"Log: CloudWatch log group /aws/sagemaker/ProcessingJobs, log streams {name}*."
    )
    assert asked_for(failed, "createHyperParameterTuningJob.sync") == []


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"FailureReason": "AlgorithmError: out of memory"}, "AlgorithmError: out of memory. Log:"),
        ({}, "it ended as Stopped, by its time limit or by somebody. Log:"),
    ],
)
def test_a_processing_job_without_a_message_still_gives_a_reason(described: dict[str, str], reason: str) -> None:
    cause = json.dumps({"ProcessingJobStatus": "Stopped", **described})
    assert reason in run(createProcessingJob=[TaskError("States.TaskFailed", cause)]).cause


def test_a_gpu_endpoint_names_its_host_image() -> None:
    (config,) = asked_for(run({"endpoint": {"instance_type": "ml.g5.xlarge"}}), "createEndpointConfig")
    assert config["ProductionVariants"][0]["InferenceAmiVersion"] == "al2-ami-sagemaker-inference-gpu-3-1"
    (config,) = asked_for(run(), "createEndpointConfig")
    assert "InferenceAmiVersion" not in config["ProductionVariants"][0]


def test_a_retried_request_has_a_new_name() -> None:
    throttled = [TaskError("SageMaker.AmazonSageMakerException", "Rate exceeded") for _ in range(2)]
    names = [each["TrainingJobName"] for each in asked_for(run(createTrainingJob=throttled), "createTrainingJob.sync")]
    assert len(set(names)) == 3


def test_a_redriven_execution_uses_no_name_twice() -> None:
    """Redriven, the same execution goes through the same states again, and a state may keep the time of its first entry."""
    ways = [Execution(MACHINE, FakeSageMaker(), {}, redrives=redrives).run() for redrives in range(2)]
    first, second = ({name for _, asked in way.requests for name in new_names(asked)} for way in ways)
    assert len(first) == len(second) == 5
    assert first & second == set()


@pytest.mark.parametrize("redrives", [0, 1])
def test_no_two_jobs_write_the_same_data_set(redrives: int) -> None:
    """Neither a second try, nor a redriven execution, whose first job may still be uploading."""
    throttled = [TaskError("SageMaker.AmazonSageMakerException", "Rate exceeded")]
    tries = [Execution(MACHINE, FakeSageMaker(createProcessingJob=[*throttled]), {}, redrives=each).run() for each in {0, redrives}]
    jobs = [job for each in tries for job in asked_for(each, "createProcessingJob.sync")]
    assert len({job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] for job in jobs}) == len(jobs) == 2 * len(tries)


def new_names(asked: dict[str, Any]) -> list[str]:
    made = ("ProcessingJobName", "HyperParameterTuningJobName", "TrainingJobName", "ModelName")
    return [asked[each] for each in made if each in asked] + ([asked["EndpointConfigName"]] if "ProductionVariants" in asked else [])


def test_the_names_fit() -> None:
    fake = FakeSageMaker(
        prepareExecution=[
            {"Payload": {**planned({}), "run": "abcdefghij-261122160000-ffff", "tuning_job_prefix": "abcdefghij-261122160000-"}}
        ]
    )
    requests = dict(Execution(MACHINE, fake, {}).run().requests)
    assert len(requests["createHyperParameterTuningJob.sync"]["HyperParameterTuningJobName"]) == 32
    assert len(requests["createProcessingJob.sync"]["ProcessingJobName"]) <= 63
    assert len(requests["createTrainingJob.sync"]["TrainingJobName"]) <= 63


def test_a_refusal_of_the_first_state_is_the_cause() -> None:
    told = json.dumps({"errorType": "NoUsableData", "errorMessage": "there are no photos under s3://b/data/", "stackTrace": ["x"]})
    failed = run(prepareExecution=[TaskError("NoUsableData", told)])
    assert failed.error == "NoUsableData"
    assert failed.cause == (
        "PrepareExecution failed: there are no photos under s3://b/data/. Log: CloudWatch log group /aws/lambda/whippet-prepare-execution."
    )
    assert len(failed.requests) == 1, "a refusal is not tried again"


def test_a_broken_download_is_tried_again() -> None:
    assert run(prepareExecution=[TaskError("WeightsDownloadInterrupted", "{}")]).error == ""


def test_a_failed_training_job_gives_its_reason_and_log() -> None:
    described = json.dumps({"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: out of memory."})
    failed = run(createTrainingJob=[TaskError("States.TaskFailed", described)])
    (request,) = asked_for(failed, "createTrainingJob.sync")
    name = request["TrainingJobName"]
    assert failed.error == "TrainModel.TaskFailed"
    assert failed.cause == (
        f"TrainModel failed (training job {name}): AlgorithmError: out of memory. "
        f"Log: CloudWatch log group /aws/sagemaker/TrainingJobs, log streams {name}*."
    )


def test_a_stopped_training_job_says_so() -> None:
    described = json.dumps({"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"})
    assert "it ended as Stopped (MaxRuntimeExceeded)." in run(createTrainingJob=[TaskError("States.TaskFailed", described)]).cause


def test_a_refused_request_has_no_log_to_look_at() -> None:
    refused = [TaskError("SageMaker.ResourceLimitExceededException", "The account-level service limit 'ml.m5.2xlarge' is 0 Instances.")]
    assert run(createTrainingJob=refused).cause.endswith("is 0 Instances.")


def test_a_failed_tuning_job_gives_the_reason_of_one_training_job() -> None:
    described = json.dumps({"HyperParameterTuningJobStatus": "Failed", "FailureReason": "All training jobs failed."})
    summaries = {"TrainingJobSummaries": [{"TrainingJobName": "whippet-1-001", "FailureReason": "the photos are unreadable"}]}
    failed = run(
        createHyperParameterTuningJob=[TaskError("States.TaskFailed", described)], listTrainingJobsForHyperParameterTuningJob=[summaries]
    )
    (request,) = asked_for(failed, "createHyperParameterTuningJob.sync")
    assert (
        asked_for(failed, "listTrainingJobsForHyperParameterTuningJob")[0]["HyperParameterTuningJobName"]
        == request["HyperParameterTuningJobName"]
    )
    assert "All training jobs failed; training job whippet-1-001: the photos are unreadable. Log:" in failed.cause


@pytest.mark.parametrize("listing", [{"TrainingJobSummaries": []}, TaskError("SageMaker.SageMakerException", "no such job")])
def test_a_tuning_job_without_a_failed_training_job_keeps_its_own_reason(listing: Any) -> None:
    described = json.dumps({"HyperParameterTuningJobStatus": "Failed", "FailureReason": "no capacity"})
    failed = run(
        createHyperParameterTuningJob=[TaskError("States.TaskFailed", described)], listTrainingJobsForHyperParameterTuningJob=[listing]
    )
    assert failed.cause.startswith("TuneHyperparameters failed (tuning job whippet-261122160000-")
    assert ": no capacity. Log:" in failed.cause


@pytest.mark.parametrize("best", [{}, {"BestTrainingJob": {}}])
def test_a_tuning_job_without_a_best_training_job_is_a_failure(best: dict[str, Any]) -> None:
    failed = run(createHyperParameterTuningJob=[{"HyperParameterTuningJobName": "whippet-1", **best}])
    assert failed.error == "TuneHyperparameters.NoBestTrainingJob"
    assert "TrainModel" not in failed.visited
    assert "none of its training jobs printed the objective" in failed.cause


@pytest.mark.parametrize(("state", "action", "stop"), [
    ("PrepareDataset", "createProcessingJob", "stopProcessingJob"),
    ("TuneHyperparameters", "createHyperParameterTuningJob", "stopHyperParameterTuningJob"),
    ("TrainModel", "createTrainingJob", "stopTrainingJob"),
])  # fmt: skip
@pytest.mark.parametrize("stopped", [{}, TaskError("SageMaker.SageMakerException", "already stopped")])
def test_a_job_that_takes_too_long_is_stopped(state: str, action: str, stop: str, stopped: Any) -> None:
    failed = run(**{action: [TaskError("States.Timeout")], stop: [stopped]})
    ((_, created),) = [each for each in failed.requests if each[0] == f"{action}.sync"]
    (name,) = asked_for(failed, stop)[0].values()
    assert name in created.values()
    assert failed.error == f"{state}.Timeout"


def test_an_endpoint_in_service_is_updated() -> None:
    done = run(describeEndpoint=[status("InService"), status("Updating")])
    assert done.error == ""
    assert "UpdateEndpoint" in done.visited
    assert "CreateEndpoint" not in done.visited


def test_an_endpoint_in_transition_is_waited_for() -> None:
    done = run(describeEndpoint=[status("Creating"), status("Updating"), status("InService")])
    assert done.error == ""
    assert done.visited.count("WaitForTurn") == 2


def test_a_failed_endpoint_is_removed_first() -> None:
    done = run(describeEndpoint=[status("Failed"), status("Deleting"), ABSENT])
    assert done.error == ""
    assert [each for each, _ in done.requests if each in ("deleteEndpoint", "createEndpoint")] == ["deleteEndpoint", "createEndpoint"]


def test_a_failed_endpoint_that_another_execution_removed_is_created() -> None:
    assert "CreateEndpoint" in run(describeEndpoint=[status("Failed")], deleteEndpoint=[ABSENT]).visited


def test_an_endpoint_that_stays_busy_is_given_up() -> None:
    failed = run(describeEndpoint=[status("Updating")] * 9)
    assert failed.error == "DescribeEndpoint.EndpointBusy"
    assert "it has been Updating at each of 4 looks" in failed.cause


@pytest.mark.parametrize("said", ["Cannot create already existing endpoint", "Cannot update in-progress endpoint"])
def test_another_execution_may_be_quicker(said: str) -> None:
    refused = [TaskError("SageMaker.SageMakerException", said)] * 4
    done = run(describeEndpoint=[ABSENT, status("Creating"), status("InService")], createEndpoint=refused)
    assert done.error == ""
    assert "UpdateEndpoint" in done.visited


def test_another_error_of_describe_is_not_taken_for_absence() -> None:
    failed = run(
        describeEndpoint=[TaskError("SageMaker.SageMakerException", "User is not authorized to perform: sagemaker:DescribeEndpoint")]
    )
    assert "CreateEndpoint" not in failed.visited
    assert "not authorized" in failed.cause


def test_a_new_endpoint_that_fails_is_removed_again() -> None:
    failed = run(describeEndpoint=[ABSENT, status("Creating"), status("Failed", FailureReason="The container did not answer /ping.")])
    assert failed.requests[-1] == ("deleteEndpoint", {"EndpointName": "whippet"})
    assert failed.error == "WaitForEndpoint.EndpointNotInService"
    assert failed.cause == (
        "WaitForEndpoint failed (endpoint whippet): The container did not answer /ping. "
        "Log: CloudWatch log group /aws/sagemaker/Endpoints/whippet."
    )


def test_an_endpoint_that_was_there_before_is_left() -> None:
    failed = run(describeEndpoint=[status("InService"), status("Failed", FailureReason="no memory")])
    assert "RemoveEndpoint" not in failed.visited
    assert "no memory" in failed.cause


def test_a_rollback_is_detected() -> None:
    failed = run(describeEndpoint=[status("InService"), status("Updating"), status("RollingBack"), status("InService")])
    assert "the update to whippet-261122160000-" in failed.cause
    assert "was rolled back to an-older-one: no reason was given. Log:" in failed.cause


def test_being_overtaken_by_another_execution_is_told_from_a_rollback() -> None:
    overtaken = {"EndpointStatus": "InService", "EndpointConfigName": "a-newer-one"}
    failed = run(describeEndpoint=[status("InService"), status("Updating"), overtaken])
    assert "another execution replaced whippet-261122160000-" in failed.cause
    assert "by a-newer-one while this one waited. Log:" in failed.cause


def test_a_failed_endpoint_that_another_execution_replaced_is_waited_for() -> None:
    done = run(describeEndpoint=[status("Failed"), status("Creating"), status("InService")], deleteEndpoint=[IN_PROGRESS])
    assert done.error == ""
    assert "UpdateEndpoint" in done.visited


def test_waiting_for_the_endpoint_ends() -> None:
    failed = run(describeEndpoint=[ABSENT] + [status("Creating")] * 9, deleteEndpoint=[IN_PROGRESS, IN_PROGRESS, {}])
    assert "it is still Creating after 4 looks. Log:" in failed.cause
    assert [name for name in failed.visited if "Remov" in name] == ["RemoveEndpoint", "WaitForRemoval"] * 2 + ["RemoveEndpoint"]


def test_an_endpoint_that_cannot_be_removed_is_told() -> None:
    failed = run(describeEndpoint=[ABSENT] + [status("Creating")] * 9)
    assert len(asked_for(failed, "deleteEndpoint")) == MOST_REMOVALS
    assert "after 4 looks; the endpoint is still there and costs money, remove it: Cannot update in-progress endpoint" in failed.cause


def test_an_endpoint_that_somebody_else_removed_is_not_looked_for() -> None:
    failed = run(describeEndpoint=[ABSENT, status("Failed", FailureReason="no memory")], deleteEndpoint=[ABSENT])
    assert len(asked_for(failed, "deleteEndpoint")) == 1
    assert "no memory. Log:" in failed.cause


def test_a_new_endpoint_that_cannot_be_looked_at_is_removed_too() -> None:
    blind = [TaskError("SageMaker.SageMakerException", "Rate exceeded")] * 4
    failed = run(describeEndpoint=[ABSENT, *blind], deleteEndpoint=[IN_PROGRESS, {}])
    assert failed.visited[-5:] == ["RemoveEndpoint", "IsEndpointStillMoving", "WaitForRemoval", "RemoveEndpoint", "ExecutionFailed"]
    assert failed.cause.startswith("CheckEndpoint failed (endpoint whippet): Rate exceeded.")


def test_waiting_outlasts_sagemaker_and_fits_into_the_history_of_an_execution() -> None:
    """SageMaker gives up after an hour for the container, and some minutes for the model; a history ends at 25,000 events."""
    assert CHECK_SECONDS * MOST_CHECKS > 75 * 60
    events_of_a_look = 9
    assert (2 * MOST_CHECKS + MOST_REMOVALS + MOST_LOOKS + MOST_RULE_LOOKS) * events_of_a_look < 24_000


def test_a_stutter_while_waiting_is_forgiven() -> None:
    stutter = TaskError("SageMaker.SageMakerException", "Rate exceeded")
    assert run(describeEndpoint=[ABSENT, stutter, stutter]).error == ""


def test_throttled_looks_at_the_endpoint_are_repeated() -> None:
    assert run(describeEndpoint=[TaskError("SageMaker.SageMakerException", "Rate exceeded (Status Code: 400)"), ABSENT]).error == ""


@pytest.mark.parametrize("state", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint"])
def test_every_refused_request_is_told(state: str) -> None:
    action = state[0].lower() + state[1:]
    first = [ABSENT] if state == "CreateEndpoint" else []
    failed = run(**{action: [TaskError("SageMaker.SageMakerException", "no such role")] * 4}, describeEndpoint=first)
    assert failed.error == "SageMaker.SageMakerException"
    assert failed.cause.startswith(f"{state} failed")
    assert failed.cause.endswith("no such role.")


def test_the_bounds_of_waiting_are_in_the_machine() -> None:
    """The tests above shorten them, which must not hide that there are any."""
    assert json.dumps(definition()).count(f"$checks < {MOST_CHECKS}") == 4
    assert [json.dumps(definition()).count(f"$looks < {bound}") for bound in (SHORT_LOOKS, MOST_LOOKS)] == [1, 1]
    assert json.dumps(definition()).count(f"$rule_looks < {MOST_RULE_LOOKS}") == 1


def test_every_task_is_guarded() -> None:
    tasks = {name: state for name, state in MACHINE["States"].items() if state["Type"] == "Task"}
    assert [name for name, state in tasks.items() if not state["Retry"] or not state["TimeoutSeconds"]] == []
    assert [name for name, state in tasks.items() if state["Catch"][-1]["ErrorEquals"] != ["States.ALL"]] == []


def ways() -> list[Execution]:
    """Executions that together go through every state."""
    described = TaskError("States.TaskFailed", "{}")
    return [
        run(describeEndpoint=[ABSENT, status("Creating")]),
        run(describeEndpoint=[ABSENT] + [status("Creating")] * 9),
        run(describeEndpoint=[status("Failed"), ABSENT, status("Failed")]),
        run(describeEndpoint=[status("Updating")] * 9),
        run(createEndpoint=[TaskError("x")], describeEndpoint=[ABSENT]),
        run(createHyperParameterTuningJob=[{"HyperParameterTuningJobName": "whippet-1"}]),
        run(createHyperParameterTuningJob=[TaskError("States.Timeout")]),
        run(createProcessingJob=[TaskError("States.Timeout")]),
        run(createTrainingJob=[TaskError("States.Timeout")]),
        run(createTrainingJob=[described]),
        run({"debugger": "managed"}, verdicts=[verdict("ExplodingTensor", "InProgress")]),
        run({"debugger": "managed"}, describeTrainingJob=[{"TrainingJobStatus": "InProgress"}] * 9),
        run({"debugger": "managed"}, describeTrainingJob=[{"TrainingJobStatus": "Stopped"}]),
        run({"debugger": "managed"}, describeTrainingJob=[{}, *[TaskError("States.Timeout")] * 11], verdicts=[verdict("A", "InProgress")]),
        run({"debugger": "managed"}, createTrainingJob=[TaskError("SageMaker.ResourceInUseException", "it is there")]),
        run(verdicts=[verdict("ExplodingTensor", "IssuesFound")]),
        run(),
    ]


def test_every_state_is_run_by_some_test() -> None:
    assert {name for way in ways() for name in way.visited} == set(MACHINE["States"])
