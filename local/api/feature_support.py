"""Which features of SageMaker local mode supports, field by field: real, reproduced, or refused with the field's name.

Runs in the SageMaker plane, which rejects requests by these tables; a test compares docs/local-mode.md with them. No field is ignored
silently: local mode acts on it, or stores and describes it without effect (ACCEPTED), or refuses it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from local.api.errors import validation_error

REAL = {
    "training code": "your program runs in its own process, started by the sagemaker-training toolkit's own `train` entry point",
    "processing": "a processing job's own entry point runs in its own process; its outputs are uploaded to S3",
    "channels": "every object under S3Uri is downloaded from S3 (S3Prefix), whatever its name; parallel jobs share one download",
    "artefacts": "model.tar.gz, output.tar.gz, checkpoints, debugger tensors and profiler files are uploaded to S3",
    "debugger": "a script's smdebug hook, configured by DebugHookConfig, saves real tensors; the source archive brings smdebug",
    "rules": "a separate process evaluates DebugRuleConfigurations while the job trains, and ProfilerRuleConfigurations after it",
    "profiler": "CPU, I/O, memory, disk, network and GPU are measured every ProfilingIntervalInMilliseconds, in the service's format",
    "tuning": "each training job of a tuning job trains for real, MaxParallelTrainingJobs at a time",
    "endpoints": "the artefact's own server answers behind InvokeEndpoint, in its own process",
    "logs": "every line of a job or server goes to CloudWatch Logs, live, under AWS's names",
}
REPRODUCED = {
    "container": "the /opt/ml tree lies under the job's own folder (SAGEMAKER_BASE_DIR); /opt/ml in a request is translated to it",
    "image": "one environment holds the locked versions of the pytorch:2.13 image; the image's URI in a request is stored, not pulled",
    "fast file": "a FastFile channel is downloaded before the job starts, like a File channel; AWS streams it while the job reads",
    "processing outputs": "Continuous: every 3 seconds and at the job's end; EndOfJob: only when the job completed",
    "search": "Bayesian is Optuna's TPE; Hyperband samples like Random; AWS's own implementation is not public",
    "Hyperband": "asynchronous successive halving by three, from MinResource on; jobs outside the best third are Stopped",
    "early stopping": "Auto: the documented median rule over the completed jobs, applied as soon as an epoch's objective is printed",
    "stopped training jobs": "their last objective counts, and they may be BestTrainingJob: AWS's documentation does not exclude them",
    "completion": "an improvement is over 1 %; converged: 5 jobs without one; running jobs are then Stopped, the tuning job is Completed",
    "tuning time limit": "at MaxRuntimeInSeconds running training jobs are Stopped; the results so far decide the tuning job's status",
    "failed searches": "a tuning job fails, with AWS's message, when 5 training jobs failed and none succeeded",
    "warm start": "parents' results inside the new ranges seed Bayesian; RandomSeed is increased by their jobs; conditions as documented",
    "missing capacity": "only if injected: WHIPPET_REHEARSE names instance types and CapacityError or ResourceLimitExceeded",
    "built-in rules": "our own, written from AWS's documentation, with its names, parameters and defaults; AWS's code is not public",
    "rule evaluation": "RuleEvaluationJobArn has AWS's form without a processing job; rule-output also holds each rule's evidence",
    "rule statuses": "InProgress until evaluated, also after the job's end; Error after a degraded hook or a failed rule process",
    "system metrics": "those of the whole machine, as AWS's are of the job's host; here other jobs and programs run on it too",
    "StopTraining": "a rule can stop only its own job: a given name prefix must match the job's name; Email and SMS are refused",
    "statuses": "statuses, secondary statuses, failure reasons and error names follow AWS's wording",
    "processing time limit": "a job over its MaxRuntimeInSeconds is Stopped; FailureReason says MaxRuntimeExceeded, in our own words",
    "stopping": "SIGTERM, then SIGKILL: after 30 seconds, where AWS waits 120",
    "times": "BillableTimeInSeconds is the running time; nothing is billed",
    "spot": "EnableManagedSpotTraining with a CheckpointConfig runs as an ordinary job without interruptions",
    "checkpoints": "objects under CheckpointConfig's S3Uri are restored before a job starts; changes are uploaded every 3 seconds",
    "model registry": "versions of model package groups are stored and described; they are not validated, scanned or deployed",
    "model package groups in CloudFormation": "created, tagged and deleted with a stack; a changed name or description is refused",
    "serverless": "one server process that is always warm; ThrottlingException over MaxConcurrency, bodies up to 4 MB, as on AWS",
    "instances": "InitialInstanceCount instances are one server process; the count is described",
    "deployments": "traffic shifts between two servers while CloudWatch alarms are checked; each wait is at most 5 seconds",
    "rollback": "an alarm in ALARM, a failed new server or a timeout restores the old config; the wording of FailureReason is our own",
    "metrics": "Invocations, Invocation4XXErrors, Invocation5XXErrors, ModelLatency and OverheadLatency, every 5 seconds, to two digits",
    "alarms": "evaluated on new metrics and every minute, all EvaluationPeriods as one; no DatapointsToAlarm, no metric math",
    "events": "state changes of jobs, endpoints and model packages reach EventBridge; its rules fire at once, schedules within 10 seconds",
    "scaling": "scalable targets and scaling policies of endpoint variants are stored and described; they do not scale or create alarms",
    "API authorisation": "an unsigned call counts as the user's, so that a browser can open the page; AWS answers 403",
    "web pages": "browser requests are accepted only from local mode's own pages and names (127.0.0.1, localhost); others get 403",
    "network isolation": "a job with EnableNetworkIsolation gets no credentials and no endpoint; its network is not blocked",
}
# Fields that local mode acts on, with all their members unless a member is in another table.
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
# Fields about the account or about hardware that one machine does not have: stored and described, without effect.
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
# Fields with some supported values: field -> (whether a value is supported, the supported values).
_Values = dict[str, tuple[Callable[[Any], bool], str]]
_TRAINING_VALUES: _Values = {
    "ResourceConfig.InstanceCount": (lambda value: value == 1, "1"),
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
    "CreateProcessingJob": {"ProcessingResources.ClusterConfig.InstanceCount": (lambda value: value == 1, "1")},
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


def reject_unsupported(what: str, request: Mapping[str, Any], where: str = "") -> None:
    """Raise a ValidationException that names every unsupported field of a request, or of a part of one at `where`."""
    given = [field for field in REFUSED.get(what, ()) if _read_field(request, field) is not None]
    faults = [f"{where}{field} is not supported in local mode: remove it" for field in given]
    for field, (is_supported, supported) in LIMITED.get(what, {}).items():
        value = _read_field(request, field)
        if value is not None and not is_supported(value):
            faults.append(f"{where}{field} {value!r} is not supported in local mode: supported: {supported}")
    if faults:
        raise validation_error("; ".join(faults) + ". AWS supports it; docs/local-mode.md lists what local mode supports")


def _read_field(request: Mapping[str, Any], field: str) -> Any:
    """Return the value at a dotted field, None where a part of the path is absent."""
    value: Any = request
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
