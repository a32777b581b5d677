"""The bodies of the SageMaker requests that the state machine makes: AWS's field names, JSONata where a value is known only at run time.

Runs at synth; standard library only. A value `{% … %}` is a JSONata expression: `$plan` is what PrepareExecution answered, the other
variables are assigned by the states in state_machine.py. `${Name}` is filled in by CloudFormation when the stack is deployed.
"""

from typing import Any

from training import contract

Request = dict[str, Any]

ATTEMPT = (
    "$substring($hash($states.context.Execution.Id & $states.context.State.EnteredTime & $states.context.State.RetryCount"
    " & $states.context.Execution.RedriveCount, 'SHA-256'), 0, 8)"
)
"""8 hex digits, other ones for each attempt: a name that SageMaker has seen once can never be used again, not even by a retry."""

TUNING_JOB_NAME = f"$plan.tuning_job_prefix & {ATTEMPT}"
TRAINING_JOB_NAME = f"$plan.run & '-train-' & {ATTEMPT}"
TRAINING_OUTPUT = "$plan.output & '/training'"

VOLUME_GB = 50
LONGEST_TRAINING_SECONDS = 24 * 3600
VARIANT = "AllTraffic"


def jsonata(expression: str) -> str:
    """The expression as the Amazon States Language marks it."""
    return f"{{% {expression} %}}"


def create_tuning_job() -> Request:
    """CreateHyperParameterTuningJob: several training jobs that differ in learning rate and batch size, judged on the validation photos."""
    return {
        "HyperParameterTuningJobName": jsonata(TUNING_JOB_NAME),
        "HyperParameterTuningJobConfig": {
            "Strategy": jsonata("$plan.tuning_strategy"),
            "HyperParameterTuningJobObjective": {"Type": contract.OBJECTIVE_TYPE, "MetricName": contract.OBJECTIVE_METRIC},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": jsonata("$plan.tuning_max_jobs"),
                "MaxParallelTrainingJobs": jsonata("$plan.tuning_max_parallel_jobs"),
            },
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {
                        "Name": "lr",
                        "MinValue": jsonata("$plan.lr_min"),
                        "MaxValue": jsonata("$plan.lr_max"),
                        "ScalingType": "Logarithmic",
                    }
                ],
                "CategoricalParameterRanges": [{"Name": "batch_size", "Values": jsonata("$plan.batch_sizes")}],
            },
            "TrainingJobEarlyStoppingType": "Off",
            "RandomSeed": jsonata("$plan.tuning_seed"),
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": hyperparameters(epochs=jsonata("$plan.tuning_epochs"), debugger="off", evaluate_test="false"),
            "OutputDataConfig": {"S3OutputPath": jsonata("$plan.output & '/tuning'")},
            **training(),
        },
        "Tags": tags(),
    }


def create_training_job() -> Request:
    """CreateTrainingJob: the best values once more, now with the debugger, the test photos and the report."""
    return {
        "TrainingJobName": jsonata(TRAINING_JOB_NAME),
        "HyperParameters": hyperparameters(
            lr=jsonata("$best.lr"),
            batch_size=jsonata("$best.batch_size"),
            epochs=jsonata("$plan.epochs"),
            debugger=jsonata("$plan.debugger"),
            evaluate_test="true",
        ),
        "OutputDataConfig": {"S3OutputPath": jsonata(TRAINING_OUTPUT)},
        "CheckpointConfig": {
            "S3Uri": jsonata(f"{TRAINING_OUTPUT} & '/' & {TRAINING_JOB_NAME}"),
            "LocalPath": contract.CHECKPOINTS_FOLDER,
        },
        **training(),
        "Tags": tags(),
    }


def training() -> Request:
    """What every training job has in common, whoever starts it."""
    return {
        "AlgorithmSpecification": {
            "TrainingImage": jsonata("$plan.training_image"),
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": expression} for name, expression in contract.METRICS.items()],
        },
        "RoleArn": "${TrainingRoleArn}",
        "InputDataConfig": [
            channel(contract.CHANNEL_PHOTOS, jsonata("$plan.photos")),
            channel(contract.CHANNEL_WEIGHTS, jsonata("$plan.weights")),
            channel(contract.CHANNEL_CODE, "${SourceArchiveUri}"),
        ],
        "ResourceConfig": {"InstanceType": jsonata("$plan.training_instance_type"), "InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB},
        "StoppingCondition": {"MaxRuntimeInSeconds": LONGEST_TRAINING_SECONDS},
        "Environment": dict(contract.ENVIRONMENT),
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "EnableManagedSpotTraining": False,
    }


def hyperparameters(**values: str) -> dict[str, str]:
    """The program's own hyperparameters, and those that tell the training toolkit which program that is."""
    return {
        **values,
        "seed": jsonata("$plan.seed"),
        "sagemaker_program": contract.PROGRAM,
        "sagemaker_submit_directory": f"{contract.CODE_FOLDER}/${{SourceArchiveName}}",
    }


def channel(name: str, uri: str) -> Request:
    """A channel that is downloaded whole before the job starts."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def create_model() -> Request:
    """CreateModel: the artefact in the serving image."""
    name = f"$plan.run & '-' & {ATTEMPT}"
    return {
        "ModelName": jsonata(name),
        "PrimaryContainer": {
            "Image": jsonata("$plan.serving_image"),
            "ModelDataUrl": jsonata("$training.model_artifact"),
            "Environment": {"MODEL_NAME": jsonata(name)},
        },
        "ExecutionRoleArn": "${HostingRoleArn}",
        "EnableNetworkIsolation": True,
        "Tags": tags(),
    }


def create_endpoint_config() -> Request:
    """CreateEndpointConfig: all traffic to the new model."""
    variant = (
        f"{{'VariantName': '{VARIANT}', 'ModelName': $model, 'InstanceType': $plan.endpoint_instance_type, "
        "'InitialInstanceCount': $plan.endpoint_instance_count, 'InitialVariantWeight': 1}"
    )
    return {
        "EndpointConfigName": jsonata(f"$plan.run & '-' & {ATTEMPT}"),
        "ProductionVariants": [jsonata(f"$merge([{variant}, $plan.production_variant])")],
        "Tags": tags(),
    }


def endpoint() -> Request:
    """DescribeEndpoint and DeleteEndpoint: the project's endpoint."""
    return {"EndpointName": jsonata("$plan.endpoint")}


def create_endpoint() -> Request:
    """CreateEndpoint: the project's first, or its first after the last was removed."""
    return {**update_endpoint(), "Tags": tags()}


def update_endpoint() -> Request:
    """UpdateEndpoint: the old model answers until the new one does."""
    return {**endpoint(), "EndpointConfigName": jsonata("$endpoint_config")}


def tags() -> list[dict[str, str]]:
    """Whose it is and which execution made it."""
    return [{"Key": "project", "Value": "${Project}"}, {"Key": "execution", "Value": jsonata("$plan.run")}]
