"""The names the jobs promise to those who request them: options, channels, hyperparameters, metric lines, folders.

Runs anywhere, with the standard library alone: the stacks import it to write requests, the processing and training jobs to honour them.
"""

PROGRAM = "training/train.py"
"""The script that the SageMaker training toolkit starts, as a path inside the source archive."""

PREPARE_PROGRAM = "training/prepare.py"
"""The script that the processing job starts, as a path inside the source archive."""

PREPARE_OPTIONS = ("--photos", "--weights", "--dataset", "--report", "--message", "--seed", "--files", "--bytes")
"""Its options: four folders, the file that becomes the job's ExitMessage, the seed of the split, and the number of files that the photos
folder must hold and their bytes together. The last two may be left out."""

DATASET_DESCRIPTION = "dataset.json"
"""File of a prepared data set that names every other one with its length: {"files": {name: {"bytes", "sha256"}}, …}."""

CHANNEL_DATASET = "dataset"
"""Channel with the prepared data set: manifest, features, a few photos to check the endpoint with."""

CHANNEL_PHOTOS = "photos"
"""Channel with the class folders, or train/valid/test folders of class folders; in training jobs only where the backbone is trained."""

CHANNEL_WEIGHTS = "weights"
"""Channel with the backbone: one JSON description and the state_dict file that it names."""

CHANNEL_CODE = "code"
"""Channel with the source archive, so that a job needs no network."""

WEIGHTS_DESCRIPTION = "resnet50.json"
"""File in the weights channel: {"file", "sha256", "stride": "v1" | "v1.5", "source"}."""

CODE_FOLDER = "/opt/ml/input/data/code"
"""Where the source archive lies in the container; `sagemaker_submit_directory` is a file in it."""

CHECKPOINTS_FOLDER = "/opt/ml/checkpoints"
"""`CheckpointConfig.LocalPath`: mirrored to S3 file by file while the job runs."""

DEBUG_OUTPUT = "debug-output"
"""Folder under the checkpoints: what the smdebug hook saved."""

PROFILER_OUTPUT = "profiler-output"
"""Folder under the checkpoints: what the profiler measured, in the service's layout."""

DEGRADED = "degraded.txt"
"""File in either folder: why something in it is missing, one line. It is there only where something is; whoever judges what lies beside it
says no more than that an issue was found, or an error; where the line begins with "losses alone", rules that need losses alone saw all."""

RULE_OUTPUT = "rule-output"
"""Folder under the checkpoints: what the rules said while the job ran, and the profiler's report."""

REPORT = "report"
"""Folder under the checkpoints: data.json, history.json, evaluation.json, test_predictions.json, model.json, rule_statuses.json,
profiler_rule_statuses.json, profile.json, insights.json, report.html, check/."""

RESUME = "resume"
"""Folder under the checkpoints: what a job that was interrupted goes on from, in a folder of the job's own name."""

RULES = "rules"
"""Hyperparameter of the final training job: the JSON text of {"evaluate": [rule] or null, "stop_training": [rule], "parameters": {rule:
{parameter: text}}}, percent-encoded but for commas and colons, for the training toolkit hands every value to a shell. May be left out."""

HYPERPARAMETERS = ("lr", "batch_size", "epochs", "seed", "trainable", "class_weights", "debugger", "evaluate_test", RULES)
"""Every hyperparameter that the program accepts; each is sent as a string, and any other is refused."""

TUNED_HYPERPARAMETERS = ("lr", "batch_size")
"""Those that a tuning job chooses; `lr` on a logarithmic scale, `batch_size` from a list."""

LR_RANGE = (0.001, 0.1)
"""Default search range of the learning rate."""

BATCH_SIZES = (16, 32, 64, 128, 256, 512)
"""Default search values of the batch size."""

EPOCHS = 20
"""Default number of epochs."""

TRAINABLE = ("head", "last_stage", "all")
"""`head`: one linear layer on cached features; `last_stage`: also the backbone's layer4; `all`: the whole network."""

CLASS_WEIGHTS = ("balanced", "none")
"""`balanced`: photos of rare classes count more while training; never in a reported loss."""

DEBUGGER_MODES = ("embedded", "managed", "off")
"""Of debugger and profiler. `embedded`: the job hooks itself, measures and judges its rules; `managed`: the service judges what the job
saves, as the request says; `off`: nothing is saved."""

METRIC_PREFIX = "[metric]"
"""What every metric line starts with."""

METRIC_NAMES = (
    "train:loss",
    "train:accuracy",
    "valid:loss",
    "valid:accuracy",
    "objective:valid_loss",
    "best:epoch",
    "best:valid_loss",
    "best:valid_accuracy",
    "test:loss",
    "test:accuracy",
    "test:top5_accuracy",
    "test:macro_f1",
    "test:calibration_error",
)
"""Every metric the job prints; `best:*` once after training, `test:*` only where the test photos are evaluated."""

METRICS = {name: rf"\[metric\] {name}=([-+]?[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?)" for name in METRIC_NAMES}
"""Metric name -> regular expression for `AlgorithmSpecification.MetricDefinitions`; a NaN matches none of them."""

OBJECTIVE_METRIC = "objective:valid_loss"
"""Lowest mean loss a validation photo has seen so far, printed each epoch: the tuning job minimises it."""

OBJECTIVE_TYPE = "Minimize"
