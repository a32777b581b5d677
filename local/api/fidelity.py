"""How true local mode is to SageMaker, field by field: real, reproduced, or refused with the field's name.

Runs in the SageMaker plane, which refuses by this table; docs/local-mode.md is checked against it. Nothing is ignored in
silence: a field is acted on, or is a matter of the account alone (ACCEPTED: kept and described, no effect), or is refused.
"""

from collections.abc import Callable, Mapping
from typing import Any

from local.api.shapes import invalid

REAL = {
    "training code": "your program runs in its own process, started by the sagemaker-training toolkit's own `train` entry point",
    "processing": "a processing job's own entry point runs in its own process; its outputs are uploaded to S3",
    "channels": "every object under S3Uri is downloaded from S3 (S3Prefix), whatever its name; parallel jobs share one download",
    "artefacts": "model.tar.gz, output.tar.gz, checkpoints, debugger tensors and profiler files are uploaded to S3",
    "debugger": "a script's smdebug hook, configured by DebugHookConfig, saves real tensors; the source archive brings smdebug",
    "rules": "DebugRuleConfigurations are judged in a process of their own while the job trains, ProfilerRuleConfigurations at its end",
    "profiler": "CPU, I/O, memory, disk, network and GPU are measured every ProfilingIntervalInMilliseconds, in the service's format",
    "tuning": "each training job of a tuning job is really trained, MaxParallelTrainingJobs at a time",
    "endpoints": "the artefact's own server answers behind InvokeEndpoint, in its own process",
    "logs": "every line of a job or server goes to CloudWatch Logs, live, under AWS's names",
}
REPRODUCED = {
    "container": "the /opt/ml tree lies under the job's own folder (SAGEMAKER_BASE_DIR); /opt/ml in a request is translated to it",
    "image": "one environment holds what the pytorch:2.13 image locks; the image's URI in a request is kept, not pulled",
    "fast file": "a FastFile channel is downloaded before the job starts, as a File channel is; AWS streams it while the job reads",
    "processing outputs": "Continuous: every 3 seconds and at any end; EndOfJob: when the job completed, not when it failed or was stopped",
    "search": "Bayesian is Optuna's TPE, Random and Grid are what they say, Hyperband tries what Random does; AWS's own is unpublished",
    "Hyperband": "asynchronous successive halving in thirds, from MinResource on; jobs that are not among them are Stopped",
    "early stopping": "Auto: the documented median rule, beside all jobs that have completed, as soon as an epoch's objective is printed",
    "stopped training jobs": "they count by their last objective, and may be BestTrainingJob: AWS's documentation leaves none out",
    "completion": "an improvement is over 1 %; converged: 5 jobs without one; running jobs are then Stopped, the tuning job is Completed",
    "tuning time limit": "at MaxRuntimeInSeconds running training jobs are Stopped, and the tuning job ends by what all have found",
    "failed searches": "5 failed training jobs and none that succeeded end a tuning job, in AWS's words",
    "warm start": "parents' results inside the new ranges seed Bayesian; RandomSeed counts on by their jobs; conditions as documented",
    "lacking machines": "only if rehearsed: WHIPPET_REHEARSE names instance types and CapacityError or ResourceLimitExceeded",
    "built-in rules": "our own, made from AWS's documentation, with its names, parameters and defaults; AWS does not publish its code",
    "rule evaluation": "RuleEvaluationJobArn has AWS's form and names no processing job; rule-output also holds each verdict's evidence",
    "rule statuses": "InProgress until judged, also after the job's end; Error after a hook that degraded, or a rule process that died",
    "system metrics": "those of the whole machine, as AWS's are of the job's host; here other jobs and programs run on it too",
    "StopTraining": "a rule stops its own job: a prefix of names that it is given has to begin the job's; Email and SMS are refused",
    "statuses": "statuses, secondary statuses, failure reasons and error names follow AWS's wording",
    "processing time limit": "a job over its MaxRuntimeInSeconds is Stopped; FailureReason says MaxRuntimeExceeded, a wording of our own",
    "stopping": "SIGTERM, then SIGKILL: after 30 seconds, where AWS waits 120",
    "times": "BillableTimeInSeconds is the running time; nothing is billed",
    "spot": "EnableManagedSpotTraining with a CheckpointConfig runs as an ordinary job, which nobody interrupts",
    "checkpoints": "what lies under CheckpointConfig's S3Uri is there again before a job starts; changes are uploaded every 3 seconds",
    "model registry": "versions of model package groups are kept and described; none is validated, scanned or made into a model",
    "model package groups in CloudFormation": "made, tagged and deleted with a stack; a changed name or description is refused",
    "serverless": "one server process that is always warm; over MaxConcurrency answers ThrottlingException, 4 MB a body as on AWS",
    "instances": "InitialInstanceCount instances are one server process; the count is described",
    "deployments": "traffic is shifted between two servers and CloudWatch alarms are heeded; a wait lasts 5 seconds at the longest",
    "rollback": "an alarm in ALARM, a dead new server or a timeout brings the old config back; the words of FailureReason are our own",
    "metrics": "Invocations, Invocation4XXErrors, Invocation5XXErrors, ModelLatency and OverheadLatency, every 5 seconds, to two digits",
    "alarms": "judged when metrics arrive and every minute, all EvaluationPeriods as one; DatapointsToAlarm and metric math are not done",
    "events": "state changes of jobs, endpoints and model packages reach EventBridge; its rules fire at once, schedules within 10 seconds",
    "scaling": "scalable targets and scaling policies of endpoint variants are kept and described; nothing scales, no alarms are made",
    "API authorisation": "a call without a signature is taken as the user's own, so that a browser can open the page; AWS answers 403",
    "web pages": "a browser's request counts only from local mode's own pages and names (127.0.0.1, localhost); others get 403",
    "network isolation": "a job with EnableNetworkIsolation gets no credentials and no endpoint; its network is not cut",
}
# Fields that local mode acts on, whole unless a part of one is in another table.
ACTED_ON = (
    "TrainingJobName", "HyperParameters", "AlgorithmSpecification.MetricDefinitions", "InputDataConfig.ChannelName",
    "InputDataConfig.ContentType", "InputDataConfig.DataSource.S3DataSource.S3Uri",
    "InputDataConfig.DataSource.S3DataSource.S3DataDistributionType", "OutputDataConfig.S3OutputPath",
    "StoppingCondition.MaxRuntimeInSeconds", "CheckpointConfig", "DebugHookConfig", "TensorBoardOutputConfig", "Environment",
    "DebugRuleConfigurations.RuleConfigurationName", "DebugRuleConfigurations.RuleEvaluatorImage",
    "DebugRuleConfigurations.RuleParameters", "ProfilerConfig.S3OutputPath", "ProfilerConfig.ProfilingIntervalInMilliseconds",
    "ProfilerConfig.DisableProfiler", "ProfilerRuleConfigurations.RuleConfigurationName",
    "ProfilerRuleConfigurations.RuleEvaluatorImage", "ProfilerRuleConfigurations.RuleParameters", "EnableManagedSpotTraining",
    "HyperParameterTuningJobName", "HyperParameterTuningJobConfig.HyperParameterTuningJobObjective",
    "HyperParameterTuningJobConfig.ResourceLimits", "HyperParameterTuningJobConfig.ParameterRanges",
    "HyperParameterTuningJobConfig.TuningJobCompletionCriteria", "HyperParameterTuningJobConfig.RandomSeed",
    "HyperParameterTuningJobConfig.Strategy", "HyperParameterTuningJobConfig.StrategyConfig",
    "HyperParameterTuningJobConfig.TrainingJobEarlyStoppingType", "WarmStartConfig",
    "TrainingJobDefinition.DefinitionName", "TrainingJobDefinition.StaticHyperParameters",
    "ModelName", "PrimaryContainer.ModelDataUrl", "PrimaryContainer.Environment", "EnableNetworkIsolation",
    "ProcessingJobName", "ProcessingInputs.InputName", "ProcessingInputs.S3Input.S3Uri", "ProcessingInputs.S3Input.LocalPath",
    "ProcessingOutputConfig.Outputs.OutputName", "ProcessingOutputConfig.Outputs.S3Output",
    "AppSpecification.ContainerEntrypoint", "AppSpecification.ContainerArguments", "NetworkConfig.EnableNetworkIsolation",
    "EndpointConfigName", "ProductionVariants.VariantName", "ProductionVariants.ModelName",
    "ProductionVariants.InitialInstanceCount", "ProductionVariants.ServerlessConfig.MemorySizeInMB",
    "ProductionVariants.ServerlessConfig.MaxConcurrency",
    "ProductionVariants.ContainerStartupHealthCheckTimeoutInSeconds", "EndpointName",
    "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.Type",
    "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.WaitIntervalInSeconds",
    "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.CanarySize",
    "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.LinearStepSize",
    "DeploymentConfig.BlueGreenUpdatePolicy.TerminationWaitInSeconds",
    "DeploymentConfig.BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds",
    "DeploymentConfig.AutoRollbackConfiguration.Alarms",
    "ModelPackageGroupName", "ModelPackageArn", "ModelApprovalStatus", "ApprovalDescription", "CustomerMetadataProperties",
    "CustomerMetadataPropertiesToRemove", "ClientToken",
)  # fmt: skip
# Matters of the account or of machines that one machine does not have: kept, described, without effect.
ACCEPTED = (
    "RoleArn", "ExecutionRoleArn", "ResourceConfig.InstanceType", "ResourceConfig.VolumeSizeInGB", "ResourceConfig.VolumeKmsKeyId",
    "ResourceConfig.KeepAlivePeriodInSeconds", "OutputDataConfig.KmsKeyId", "Tags", "PrimaryContainer.ContainerHostname",
    "EnableInterContainerTrafficEncryption", "StoppingCondition.MaxPendingTimeInSeconds", "StoppingCondition.MaxWaitTimeInSeconds",
    "AlgorithmSpecification.TrainingImage", "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries", "ExperimentConfig",
    "DebugRuleConfigurations.InstanceType", "DebugRuleConfigurations.VolumeSizeInGB",
    "ProfilerRuleConfigurations.InstanceType", "ProfilerRuleConfigurations.VolumeSizeInGB",
    "ProductionVariants.InstanceType", "ProductionVariants.InitialVariantWeight", "ProductionVariants.InferenceAmiVersion",
    "ProductionVariants.VolumeSizeInGB", "ProductionVariants.ModelDataDownloadTimeoutInSeconds",
    "ProductionVariants.VariantInstanceProvisionTimeoutInSeconds", "PrimaryContainer.Image", "KmsKeyId", "MetricsConfig",
    "ProcessingResources.ClusterConfig.InstanceType", "ProcessingResources.ClusterConfig.VolumeSizeInGB",
    "ProcessingResources.ClusterConfig.VolumeKmsKeyId", "ProcessingInputs.S3Input.S3DataDistributionType",
    "ProcessingOutputConfig.KmsKeyId", "AppSpecification.ImageUri", "NetworkConfig.EnableInterContainerTrafficEncryption",
    "ModelPackageGroupDescription", "ModelPackageDescription", "InferenceSpecification", "MetadataProperties", "ModelMetrics", "Domain",
    "Task", "SamplePayloadUrl", "DriftCheckBaselines", "SkipModelValidation", "SourceUri", "SecurityConfig", "ModelCard",
)  # fmt: skip

_TRAINING_SPECIFICATION = (
    "AlgorithmSpecification.AlgorithmName", "VpcConfig", "ResourceConfig.SelectedInstanceType", "ResourceConfig.SelectedInstanceCount",
    "RetryStrategy", "ResourceConfig.InstanceGroups",
    "ResourceConfig.TrainingPlanArn", "ResourceConfig.InstancePlacementConfig", "ResourceConfig.InstancePreferences",
)  # fmt: skip
REFUSED: dict[str, tuple[str, ...]] = {
    "CreateTrainingJob": (
        *_TRAINING_SPECIFICATION, "AlgorithmSpecification.ContainerEntrypoint", "AlgorithmSpecification.ContainerArguments",
        "AlgorithmSpecification.TrainingImageConfig", "RemoteDebugConfig", "InfraCheckConfig", "SessionChainingConfig",
        "ServerlessJobConfig", "MlflowConfig", "ModelPackageConfig",
    ),
    "DebugRuleConfigurations": ("LocalPath", "S3OutputPath"),
    "ProfilerRuleConfigurations": ("LocalPath", "S3OutputPath"),
    "CreateHyperParameterTuningJob": (
        "TrainingJobDefinitions", "Autotune",
        "HyperParameterTuningJobConfig.ParameterRanges.AutoParameters", "TrainingJobDefinition.HyperParameterRanges",
        "TrainingJobDefinition.TuningObjective", "TrainingJobDefinition.HyperParameterTuningResourceConfig",
        *(f"TrainingJobDefinition.{field}" for field in _TRAINING_SPECIFICATION),
    ),
    "CreateProcessingJob": (
        "NetworkConfig.VpcConfig", "ProcessingResources.ClusterConfig.InstancePreferences",
        "ProcessingResources.ClusterConfig.SelectedInstanceType", "ProcessingResources.ClusterConfig.SelectedInstanceCount",
    ),
    "ProcessingInput": ("DatasetDefinition",),
    "ProcessingOutput": ("FeatureStoreOutput",),
    "CreateModel": (
        "Containers", "InferenceExecutionConfig", "VpcConfig", "PrimaryContainer.ModelPackageName", "PrimaryContainer.MultiModelConfig",
        "PrimaryContainer.ImageConfig", "PrimaryContainer.InferenceSpecificationName", "PrimaryContainer.AdditionalModelDataSources",
        "PrimaryContainer.ModelDataSource", "PrimaryContainer.ContainerMetricsConfig",
    ),
    "CreateEndpointConfig": (
        "DataCaptureConfig", "AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants", "ExecutionRoleArn", "VpcConfig",
    ),
    "ProductionVariant": (
        "ServerlessConfig.ProvisionedConcurrency", "CoreDumpConfig", "ManagedInstanceScaling", "RoutingConfig", "EnableSSMAccess",
        "AcceleratorType", "CapacityReservationConfig", "InstancePools",
    ),
    "CreateEndpoint": ("DeploymentConfig",),
    "UpdateEndpoint": (
        "DeploymentConfig.RollingUpdatePolicy", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig",
    ),
    "CreateModelPackageGroup": ("ManagedConfiguration",),
    "CreateModelPackage": (
        "ModelPackageName", "SourceAlgorithmSpecification", "ValidationSpecification", "AdditionalInferenceSpecifications",
        "ModelLifeCycle", "ModelPackageRegistrationType", "ManagedStorageType",
    ),
    "UpdateModelPackage": (
        "AdditionalInferenceSpecificationsToAdd", "InferenceSpecification", "SourceUri", "ModelCard", "ModelLifeCycle",
        "ModelPackageRegistrationType",
    ),
    "Channel": (
        "DataSource.FileSystemDataSource", "DataSource.DatasetSource", "ShuffleConfig",
        "DataSource.S3DataSource.AttributeNames", "DataSource.S3DataSource.InstanceGroupNames",
        "DataSource.S3DataSource.ModelAccessConfig", "DataSource.S3DataSource.HubAccessConfig",
    ),
}  # fmt: skip
# Fields of which local mode does some values: field -> (is this value one of them?, what it does).
_Values = dict[str, tuple[Callable[[Any], bool], str]]
_TRAINING_VALUES: _Values = {
    "ResourceConfig.InstanceCount": (lambda value: value == 1, "one instance"),
    "AlgorithmSpecification.TrainingInputMode": (lambda value: value in ("File", "FastFile"), "File and FastFile"),
    "OutputDataConfig.CompressionType": (lambda value: value == "GZIP", "GZIP"),
}
LIMITED: dict[str, _Values] = {
    "CreateTrainingJob": {
        **_TRAINING_VALUES,
        "ProfilerConfig.ProfilingParameters": (lambda value: value == {}, "{}: AWS itself dropped framework profiling with PyTorch 2"),
    },
    "CreateHyperParameterTuningJob": {
        **{f"TrainingJobDefinition.{field}": rule for field, rule in _TRAINING_VALUES.items()},
    },
    "CreateProcessingJob": {"ProcessingResources.ClusterConfig.InstanceCount": (lambda value: value == 1, "one instance")},
    "ProcessingInput": {
        "AppManaged": (lambda value: value is False, "false"),
        "S3Input.S3DataType": (lambda value: value == "S3Prefix", "S3Prefix"),
        "S3Input.S3InputMode": (lambda value: value == "File", "File"),
        "S3Input.S3CompressionType": (lambda value: value == "None", "None"),
    },
    "ProcessingOutput": {"AppManaged": (lambda value: value is False, "false")},
    "CreateModel": {"PrimaryContainer.Mode": (lambda value: value == "SingleModel", "SingleModel")},
    "UpdateEndpoint": {"RetainAllVariantProperties": (lambda value: value is False, "false")},
    "CreateModelPackage": {"CertifyForMarketplace": (lambda value: value is False, "false")},
    "Channel": {
        "InputMode": (lambda value: value in ("File", "FastFile"), "File and FastFile"),
        "CompressionType": (lambda value: value == "None", "None"),
        "RecordWrapperType": (lambda value: value == "None", "None"),
        "DataSource.S3DataSource.S3DataType": (lambda value: value == "S3Prefix", "S3Prefix"),
    },
}  # fmt: skip


def refuse_what_is_not_done(what: str, request: Mapping[str, Any], where: str = "") -> None:
    """Raise a ValidationException that names every field of a request (or part of one, found at `where`) that local mode does not do."""
    faults = [
        f"{where}{field} is not done by local mode: leave it out" for field in REFUSED.get(what, ()) if _value(request, field) is not None
    ]
    for field, (is_done, done) in LIMITED.get(what, {}).items():
        value = _value(request, field)
        if value is not None and not is_done(value):
            faults.append(f"{where}{field} {value!r} is not done by local mode, which does {done}")
    if faults:
        raise invalid("; ".join(faults) + ". On AWS it works; docs/local-mode.md lists what local mode does")


def _value(request: Mapping[str, Any], field: str) -> Any:
    """The value at a dotted field, None where any part of it is absent."""
    value: Any = request
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
