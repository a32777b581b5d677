"""The bodies of the requests that start jobs, and the parts of all requests: AWS's field names, with JSONata for values known at run time.

Runs at synth; standard library only. A value `{% … %}` is a JSONata expression: `$plan` is the result of PrepareExecution, the other
variables are assigned by the states. CloudFormation fills in `${Name}` when the stack is deployed.
"""

import json
from dataclasses import dataclass
from typing import Any

from training import contract
from training.contract import metrics
from training.contract.hyperparameters import CHOSEN
from training.contract.limits import LONGEST_JOB_SECONDS, LONGEST_SPOT_WAIT_SECONDS

Request = dict[str, Any]


@dataclass(frozen=True)
class Security:
    """What a deployment adds to every job, model and endpoint config; all have isolation and encryption in transit."""

    kms: bool = False
    """Whether stored data is encrypted with the deployment's own key, `${KmsKeyArn}`."""
    vpc: bool = False
    """Whether jobs and models run in the deployment's subnets, `${SubnetId0}` and so on, with `${SecurityGroupId}`."""
    subnets: int = 0
    """Number of subnets."""

    @property
    def output_key(self) -> Request:
        """The key for output in S3."""
        return {"KmsKeyId": KEY} if self.kms else {}

    @property
    def network(self) -> Request:
        """VpcConfig, if there is a VPC."""
        subnets = [f"${{SubnetId{each}}}" for each in range(self.subnets)]
        return {"VpcConfig": {"Subnets": subnets, "SecurityGroupIds": ["${SecurityGroupId}"]}} if self.vpc else {}


OPEN = Security()
"""The defaults: AWS's own keys and network."""

KEY = "${KmsKeyArn}"

LOCAL_DISKS = r"/^ml\.([a-z]+[0-9]+[a-z]*d[a-z]*|g[5-9][a-z]*|p[4-6][a-z0-9-]*|trn[0-9]+[a-z]*)\./"
"""Instance types with local disks, which the hardware encrypts: SageMaker rejects a key for their volumes. The families are maintained by
hand, because AWS publishes no machine-readable list."""


def attempt(*, retries: bool) -> str:
    """Expression for 8 hex digits that differ each time a state is entered and, with `retries`, for each retry."""
    tried = " & $states.context.State.RetryCount" if retries else ""
    context = f"$states.context.Execution.Id & $states.context.State.EnteredTime{tried} & $states.context.Execution.RedriveCount"
    return f"$substring($hash({context}, 'SHA-256'), 0, 8)"


ATTEMPT = attempt(retries=True)
"""SageMaker never accepts a job's name twice, not even in a retry."""

PROCESSING_JOB_NAME = f"$plan.run & '-prepare-' & {ATTEMPT}"
TUNING_JOB_NAME = f"$plan.tuning_job_prefix & {ATTEMPT}"
TRAINING_JOB_NAME = f"$plan.run & '-train-' & {ATTEMPT}"
MANAGED_TRAINING_JOB_NAME = f"$plan.run & '-train-' & {attempt(retries=False)}"
"""The same in every attempt: after a lost response the next attempt finds the job, and a second one never runs."""
TRAINING_OUTPUT = "$plan.output & '/training'"

LONGEST_SPOT_SECONDS = LONGEST_JOB_SECONDS + LONGEST_SPOT_WAIT_SECONDS
"""Training and waiting for spot capacity together."""
VARIANT = "AllTraffic"
"""The endpoint's one production variant."""

PROCESSING = "/opt/ml/processing"
"""Folder of a processing job's inputs and outputs in the container."""
EXIT_MESSAGE = "/opt/ml/output/message"
"""The file whose first 1,024 characters become a processing job's ExitMessage."""
REDUCTIONS = "min,max,mean,std,abs_mean,l2_norm"
"""The statistics that are saved for each weight and gradient."""
PROFILING_MILLISECONDS = 500
"""Interval between two samples of the machine; the rules' patience is counted in samples."""
UNUSED_FOLDER = "/opt/ml/unused"
"""Nothing is written there, so mirroring it costs nothing. To omit CheckpointConfig, the whole object around it would have to be one
expression, because JSONata computes only whole values, and the checks of the requests do not read into expressions."""


def jsonata(expression: str) -> str:
    """Marks an expression for the Amazon States Language."""
    return f"{{% {expression} %}}"


def create_processing_job(security: Security = OPEN) -> Request:
    """CreateProcessingJob: reads every photo once, checks it, splits the photos, computes the backbone's features."""
    return {
        "ProcessingJobName": jsonata(PROCESSING_JOB_NAME),
        "AppSpecification": {
            "ImageUri": jsonata("$plan.prepare_image"),
            "ContainerEntrypoint": ["/bin/bash", "-c", start_script(), "prepare"],
            "ContainerArguments": prepare_arguments(),
        },
        "ProcessingInputs": [
            processing_input("photos", jsonata("$plan.photos")),
            processing_input("weights", jsonata("$plan.weights")),
            processing_input("code", "${SourceArchiveUri}"),
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                processing_output("dataset", jsonata(f"$plan.datasets & '/' & {PROCESSING_JOB_NAME}"), "EndOfJob"),
                processing_output("report", jsonata("$plan.output & '/prepare'"), "Continuous"),
            ],
            **security.output_key,
        },
        "ProcessingResources": {"ClusterConfig": machines("prepare", 1, security)},
        "StoppingCondition": {"MaxRuntimeInSeconds": jsonata("$plan.prepare_seconds")},
        "NetworkConfig": {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True, **security.network},
        "RoleArn": "${PreparationRoleArn}",
        "Tags": tags(),
    }


def start_script() -> str:
    """Unpacks the source archive and starts its program; SageMaker allows 256 characters."""
    code = f"{PROCESSING}/code"
    archive = f"{PROCESSING}/input/code/${{SourceArchiveName}}"
    return f'mkdir -p {code} && tar -xzf {archive} -C {code} && exec python3 {code}/{contract.PREPARE_PROGRAM} "$@"'


def prepare_arguments() -> list[str]:
    """The program's options, each followed by its value."""
    inputs, outputs = f"{PROCESSING}/input", f"{PROCESSING}/output"
    folders = (f"{inputs}/photos", f"{inputs}/weights", f"{outputs}/dataset", f"{outputs}/report")
    values = (*folders, EXIT_MESSAGE, *(jsonata(f"$plan.{name}") for name in ("seed", "photo_files", "photo_bytes")))
    return [each for pair in zip(contract.PREPARE_OPTIONS, values, strict=True) for each in pair]


def processing_input(name: str, uri: str) -> Request:
    """An input that is fully downloaded before the program starts."""
    source = {"S3Uri": uri, "LocalPath": f"{PROCESSING}/input/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source}


def processing_output(name: str, uri: str, upload: str) -> Request:
    """A folder that is uploaded when the program succeeds (EndOfJob), or all the time (Continuous)."""
    return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": f"{PROCESSING}/output/{name}", "S3UploadMode": upload}}


def create_tuning_job(security: Security = OPEN) -> Request:
    """CreateHyperParameterTuningJob: training jobs with different learning rates and batch sizes, compared on the validation photos."""
    objective = {"Type": metrics.OBJECTIVE_TYPE, "MetricName": metrics.OBJECTIVE_METRIC}
    judged = render_jsonata({"HyperParameterTuningJobObjective": objective})
    return {
        "HyperParameterTuningJobName": jsonata(TUNING_JOB_NAME),
        "HyperParameterTuningJobConfig": jsonata(f"$merge([$plan.tuning_config, {judged}])"),
        "TrainingJobDefinition": {
            "StaticHyperParameters": hyperparameters(epochs=jsonata("$plan.tuning_epochs"), debugger="off", evaluate_test="false"),
            "OutputDataConfig": {"S3OutputPath": jsonata("$plan.output & '/tuning'"), **security.output_key},
            "CheckpointConfig": tuning_checkpoints(),
            **training("$plan.tuning_job_seconds", security),
        },
        "Tags": tags(),
    }


def create_training_job(security: Security = OPEN, name: str = TRAINING_JOB_NAME) -> Request:
    """CreateTrainingJob: the best values again, with the debugger, the test photos and the report; `name` is an expression."""
    return {
        "TrainingJobName": jsonata(name),
        "HyperParameters": hyperparameters(
            lr=jsonata("$best.lr"),
            batch_size=jsonata("$best.batch_size"),
            rules=jsonata("$plan.rules"),
            evaluate_test="true",
        ),
        "OutputDataConfig": {"S3OutputPath": jsonata(TRAINING_OUTPUT), **security.output_key},
        "CheckpointConfig": {
            "S3Uri": jsonata(f"{TRAINING_OUTPUT} & '/' & {name}"),
            "LocalPath": contract.CHECKPOINTS_FOLDER,
        },
        **training("$plan.training_seconds", security),
        "Tags": tags(),
    }


def create_managed_training_job(security: Security = OPEN) -> Request:
    """CreateTrainingJob: the same with AWS's Debugger, which evaluates the saved tensors and samples the machine."""
    return {
        **create_training_job(security, MANAGED_TRAINING_JOB_NAME),
        "RoleArn": "${ManagedTrainingRoleArn}",
        "DebugHookConfig": {"S3OutputPath": jsonata(TRAINING_OUTPUT), "CollectionConfigurations": collections()},
        "DebugRuleConfigurations": jsonata("$plan.debug_rule_configurations"),
        "ProfilerConfig": {"S3OutputPath": jsonata(TRAINING_OUTPUT), "ProfilingIntervalInMilliseconds": PROFILING_MILLISECONDS},
        "ProfilerRuleConfigurations": jsonata("$plan.profiler_rule_configurations"),
    }


def collections() -> list[Request]:
    """The tensors that the rules read. The job derives the save intervals from its number of steps, which depends on the batch size."""
    reduced = {name: {"reductions": REDUCTIONS} for name in ("weights", "gradients")}
    matched = {name: {"include_regex": f".*{name}"} for name in ("relu_input", "relu_output", "labels", "predictions", "images")}
    saved = [{"CollectionName": name, "CollectionParameters": parameters} for name, parameters in {**reduced, **matched}.items()]
    return [{"CollectionName": "losses"}, *saved]


def tuning_checkpoints() -> Request:
    """One folder for all jobs, with a subfolder for each; only spot jobs can be interrupted and need it."""
    return {
        "S3Uri": jsonata("$plan.output & '/tuning-checkpoints'"),
        "LocalPath": jsonata(f"$plan.spot ? '{contract.CHECKPOINTS_FOLDER}' : '{UNUSED_FOLDER}'"),
    }


def training(longest: str, security: Security) -> Request:
    """The members that all training jobs share; `longest` is an expression for the maximum run time in seconds."""
    return {
        "AlgorithmSpecification": {
            "TrainingImage": jsonata("$plan.training_image"),
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": expression} for name, expression in metrics.METRICS.items()],
        },
        "RoleArn": "${TrainingRoleArn}",
        "InputDataConfig": jsonata(channels()),
        "ResourceConfig": machines("training", jsonata("$plan.training_instance_count"), security),
        "StoppingCondition": jsonata(stopping_condition(longest)),
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "EnableManagedSpotTraining": jsonata("$plan.spot"),
        **security.network,
    }


def machines(kind: str, count: str | int, security: Security) -> Request | str:
    """The current instance type and its volume, with a key if the deployment has one and the type supports it."""
    instance_type = f"$plan.{kind}_instance_types[${kind}_choice]"
    plain: Request = {
        "InstanceType": jsonata(instance_type),
        "InstanceCount": count,
        "VolumeSizeInGB": jsonata(f"$plan.{kind}_volume_gb"),
    }
    keyed = f"$contains({instance_type}, {LOCAL_DISKS}) ? {{}} : {{'VolumeKmsKeyId': '{KEY}'}}"
    return jsonata(f"$merge([{render_jsonata(plain)}, {keyed}])") if security.kms else plain


def hyperparameters(**values: str) -> dict[str, str]:
    """Those that the user chose, those that a job sets itself, and those by which the training toolkit finds the program."""
    return {
        **values,
        **{name: jsonata(f"$plan.{name}") for name in CHOSEN if name not in values},
        "sagemaker_torch_distributed_enabled": jsonata("$plan.torch_distributed"),
        "sagemaker_program": contract.PROGRAM,
        "sagemaker_submit_directory": f"{contract.CODE_FOLDER}/${{SourceArchiveName}}",
    }


def channels() -> str:
    """Expression for the channels; the photos are needed only if the backbone is trained."""
    always = [
        channel(contract.CHANNEL_DATASET, jsonata("$dataset & '/'")),
        channel(contract.CHANNEL_WEIGHTS, jsonata("$plan.weights")),
        channel(contract.CHANNEL_CODE, "${SourceArchiveUri}"),
    ]
    photos = channel(contract.CHANNEL_PHOTOS, jsonata("$plan.photos"), mode=jsonata("$plan.input_mode"))
    return f"$append({render_jsonata(always)}, $plan.trainable = 'head' ? [] : {render_jsonata([photos])})"


def channel(name: str, uri: str, mode: str = "File") -> Request:
    """A channel that is downloaded before the job starts (`File`), or streamed while it runs (`FastFile`)."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": mode}


def stopping_condition(longest: str) -> str:
    """Expression for the time limits; only spot jobs may have a maximum wait."""
    waiting = "$plan.spot ? {'MaxWaitTimeInSeconds': $plan.max_wait_seconds} : {}"
    return f"$merge([{{'MaxRuntimeInSeconds': {longest}}}, {waiting}])"


def render_jsonata(value: Any) -> str:
    """Renders a part of a request as the inside of an expression; its own expressions lose their marks."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{key}': {render_jsonata(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(render_jsonata, value)) + "]"
    if isinstance(value, bool | int):
        return json.dumps(value)
    text = str(value)
    return text[2:-2].strip() if text.startswith("{%") else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def merge_request(request: Request, extra: str) -> str:
    """Merges members into the request that only some executions have; `extra` is an expression for an object."""
    return jsonata(f"$merge([{render_jsonata(request)}, {extra}])")


def tags() -> list[dict[str, str]]:
    """The project and the execution that created the resource."""
    return [{"Key": "project", "Value": "${Project}"}, {"Key": "execution", "Value": jsonata("$plan.run")}]
