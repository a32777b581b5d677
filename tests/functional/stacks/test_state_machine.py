"""The state machine as a whole, run in memory: what is asked of SageMaker, and what must hold of every state."""

import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from stacks.state_machine.definition import definition
from stacks.state_machine.endpoint import CHECK_SECONDS, LATER_CHECK_SECONDS, MOST_CHECKS, SHORT_CHECKS
from stacks.state_machine.registry import MOST_APPROVAL_LOOKS
from stacks.state_machine.requests import Security
from stacks.state_machine.training import MOST_LOOKS, MOST_RULE_LOOKS, SHORT_LOOKS, TRAINING_SECONDS
from stacks.state_machine.undo import MOST_UNDOS, UNDO_SECONDS
from tests.fixtures.stacks.execution import SECURED, SUBSTITUTED, Execution, filled_in
from tests.fixtures.stacks.fake_sagemaker import (
    ABSENT,
    MACHINE,
    PACKAGE,
    PREPARED,
    SECURED_MACHINE,
    FakeSageMaker,
    asked_for,
    planned,
    run,
    status,
    verdict,
)
from tests.fixtures.stacks.invariants import broken
from tests.fixtures.stacks.request_shapes import faults_in
from tests.fixtures.stacks.ways import ways
from training import contract
from training.contract.hyperparameters import HYPERPARAMETERS, RULES, TUNED_HYPERPARAMETERS


def test_the_first_execution_creates_the_endpoint() -> None:
    done = run(describeEndpoint=[ABSENT, status("Creating")])
    assert done.error == ""
    tasks = [name for name in done.visited if MACHINE["States"][name]["Type"] == "Task"]
    assert tasks == [
        *["PrepareExecution", "PrepareDataset", "TuneHyperparameters", "TrainModel", "AssessModel", "RegisterModel"],
        *["CreateModel", "CreateEndpointConfig", "DescribeEndpoint", "CreateEndpoint", "CheckEndpoint", "CheckEndpoint"],
        *["VerifyEndpoint", "RecordDeployment", "PruneModels", "PublishReport", "NotifyDone"],
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
        "model_package": PACKAGE,
        "report": f"{folder}/report/",
        "debug_output": f"{folder}/debug-output/",
        "profiler_output": f"{folder}/profiler-output/",
        "rule_output": f"{folder}/rule-output/",
        "deployed": True,
        "accuracy": 0.9,
        "metrics": output["metrics"],
        "champion": {},
        "reasons": [],
        "warnings": [],
        "rule_statuses": [verdict("LossNotDecreasing"), verdict("ExplodingTensor"), verdict("UnchangedTensor")],
        "profiler_rule_statuses": [verdict("CPUBottleneck")],
        "bill": {"total_usd": 0.31},
        "execution_report": f"s3://whippet-data/executions/{run_name}/execution.json",
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
        {"instance_type": "ml.g5.xlarge", "deployment": {"instance_type": "ml.g5.xlarge", "instance_count": 2, "max_instance_count": 4}},
        {"tuning": {"lr": [0.00001, 0.5], "batch_size": [32], "max_jobs": 1, "strategy": "Random"}, "debugger": "off"},
        {"tuning": {"lr": [0.01, 0.02], "strategy": "Grid"}, "deployment": {"kind": "serverless"}, "approval": "manual"},
        {"tuning": {"strategy": "Hyperband"}, "deployment": {"update": "linear", "instance_count": 4, "max_instance_count": 8}},
        {"tuning": {"strategy": "Bayesian", "warm_start": ["whippet-261101000000-0a1b2c3d"], "completion": {"target_loss": 0.1}}},
        {"trainable": "last_stage", "spot": True, "instance_count": 2, "input_mode": "FastFile", "class_weights": "none"},
        {"trainable": "all", "debugger": "managed", "rules": {"stop_training": ["ExplodingTensor"]}},
        {"debugger": "managed", "rules": {"evaluate": []}},
    ],
)
@pytest.mark.parametrize("machine", [MACHINE, SECURED_MACHINE], ids=["plain", "secured"])
def test_every_request_is_what_the_api_demands(asked: dict[str, Any], machine: dict[str, Any]) -> None:
    """With all expressions evaluated, so nothing is taken on trust."""
    ways = (run(asked, machine=machine), run(asked, machine=machine, describeEndpoint=[ABSENT]))
    assert [way.error for way in ways] == ["", ""]
    assert [fault for way in ways for fault in faults_of_requests(way)] == []


def faults_of_requests(way: Execution) -> list[str]:
    """Of all that it asked of AWS's services, Lambda functions left out."""
    sent = [each for each in way.requests if each[0] != "invoke"]
    service = {"publish": "sns", "sendTaskFailure": "sfn", "deregisterScalableTarget": "applicationautoscaling"}
    return [fault for action, asked in sent for fault in faults_in(action.removesuffix(".sync"), asked, service.get(action, "sagemaker"))]


KEY, NETWORK = SECURED["KmsKeyArn"], {"Subnets": ["subnet-0a", "subnet-0b"], "SecurityGroupIds": ["sg-0c"]}


OWN_DISKS = ["ml.g5.xlarge", "ml.g4dn.xlarge", "ml.p5.48xlarge", "ml.p6-b200.48xlarge", "ml.c6id.xlarge"]


@pytest.mark.parametrize("instance_type", ["ml.m5.2xlarge", "ml.p3.2xlarge", "ml.c6i.xlarge", *OWN_DISKS])
def test_a_deployment_with_a_key_and_a_network_uses_them_everywhere(instance_type: str) -> None:
    """But for the volumes of machines whose own disks hardware encrypts, which take no key."""
    done = run({"instance_type": "ml.m5.xlarge", "deployment": {"instance_type": instance_type}}, machine=SECURED_MACHINE)
    sent = dict(done.requests)
    tuned, final = sent["createHyperParameterTuningJob.sync"]["TrainingJobDefinition"], sent["createTrainingJob.sync"]
    prepared, config = sent["createProcessingJob.sync"], sent["createEndpointConfig"]
    for job in (tuned, final):
        assert (job["OutputDataConfig"]["KmsKeyId"], job["ResourceConfig"]["VolumeKmsKeyId"], job["VpcConfig"]) == (KEY, KEY, NETWORK)
    assert prepared["ProcessingOutputConfig"]["KmsKeyId"] == KEY
    assert prepared["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == KEY
    assert prepared["NetworkConfig"]["VpcConfig"] == sent["createModel"]["VpcConfig"] == NETWORK
    assert config.get("KmsKeyId") == (None if instance_type in OWN_DISKS else KEY)


def test_a_training_machine_with_its_own_disks_gets_no_key() -> None:
    sent = dict(run({"instance_type": "ml.g5.xlarge"}, machine=SECURED_MACHINE).requests)
    assert "VolumeKmsKeyId" not in sent["createTrainingJob.sync"]["ResourceConfig"]
    assert sent["createTrainingJob.sync"]["OutputDataConfig"]["KmsKeyId"] == KEY


def test_a_serverless_model_is_in_no_network_of_ours() -> None:
    sent = dict(run({"deployment": {"kind": "serverless"}}, machine=SECURED_MACHINE, describeEndpoint=[ABSENT]).requests)
    assert "VpcConfig" not in sent["createModel"]
    assert sent["createModel"]["EnableNetworkIsolation"] is False
    assert "KmsKeyId" not in sent["createEndpointConfig"]


def test_a_deployment_without_them_asks_for_none() -> None:
    text = json.dumps(run().requests)
    assert "Kms" not in text
    assert "VpcConfig" not in text


def test_the_hyperparameters_sent_are_those_the_program_accepts() -> None:
    execution = run()
    (tuning,) = asked_for(execution, "createHyperParameterTuningJob.sync")
    (training,) = asked_for(execution, "createTrainingJob.sync")
    toolkit = {"sagemaker_program", "sagemaker_submit_directory", "sagemaker_torch_distributed_enabled"}
    ranges = tuning["HyperParameterTuningJobConfig"]["ParameterRanges"]
    tuned = {each["Name"] for kind in ranges.values() for each in kind}
    assert tuned == set(TUNED_HYPERPARAMETERS)
    assert set(tuning["TrainingJobDefinition"]["StaticHyperParameters"]) | tuned == set(HYPERPARAMETERS) - {RULES} | toolkit
    assert set(training["HyperParameters"]) == set(HYPERPARAMETERS) | toolkit
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


def test_waiting_outlasts_sagemaker_and_fits_into_the_history_of_an_execution() -> None:
    """SageMaker gives up after an hour for the container, and an hour for a guarded update; a history ends at 25,000 events."""
    assert SHORT_CHECKS * CHECK_SECONDS + (MOST_CHECKS - SHORT_CHECKS) * LATER_CHECK_SECONDS > 2 * 3600 + 15 * 60
    assert UNDO_SECONDS * MOST_UNDOS > 75 * 60
    events_of_a_look = 9
    looks = 2 * MOST_CHECKS + MOST_UNDOS + MOST_LOOKS + MOST_RULE_LOOKS + MOST_APPROVAL_LOOKS
    assert looks * events_of_a_look < 24_000


def test_the_bounds_of_waiting_are_in_the_machine() -> None:
    """The tests above shorten them, which must not hide that there are any."""
    written = json.dumps(definition())
    assert written.count(f"$checks < {MOST_CHECKS}") == 5
    assert [written.count(f"$looks < {bound}") for bound in (SHORT_LOOKS, MOST_LOOKS)] == [1, 1]
    assert written.count(f"$rule_looks < {MOST_RULE_LOOKS}") == 1
    assert written.count(f"$approval_looks < {MOST_APPROVAL_LOOKS}") == 1
    assert [written.count(f"$undos {bound} {MOST_UNDOS}") for bound in ("<", ">=")] == [3, 1]


@pytest.mark.parametrize("security", [Security(), Security(kms=True), Security(kms=True, vpc=True, subnets=2)])
def test_every_rule_of_ours_holds(security: Security) -> None:
    assert broken(filled_in(definition(security))) == []


def test_every_state_is_run_by_some_test() -> None:
    assert {name for way in ways() for name in way.visited} == set(MACHINE["States"])
