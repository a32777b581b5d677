"""What the rooms agree on: the one home of names, enumerations, limits, photo types and the rule table.

Runs anywhere, standard library only; every room may import it, and it travels with the Lambda functions and with the jobs. In this file:
programs, channels, files and folders. Beside it:

    choices            the words that an execution chooses from: what is trained, debugger modes, strategies, kinds of endpoints, …
    hyperparameters    those of a training job, each with default, limits and description
    metrics            metric lines and their regular expressions
    rules              debugger and profiler rules: names, parameters, defaults, statuses
    photos             formats, suffixes, media types, splits
    limits             limits that several rooms share
    fields             how a setting is declared, so that parsing, JSON Schema and tables derive from its declaration
"""

PROGRAM = "training/train.py"
"""The script that the SageMaker training toolkit starts, as a path inside the source archive."""

PREPARE_PROGRAM = "training/prepare.py"
"""The script that the processing job starts, as a path inside the source archive."""

PREPARE_OPTIONS = ("--photos", "--weights", "--dataset", "--report", "--message", "--seed", "--files", "--bytes")
"""Its options: four folders, the file that becomes the job's ExitMessage, the seed of the split, and the number and total size of the
files that the photos folder must hold. The last two may be left out."""

DATASET_DESCRIPTION = "dataset.json"
"""File of a prepared data set that names every other file with its length: {"files": {name: {"bytes", "sha256"}}, …}."""

CHANNEL_DATASET = "dataset"
"""Channel with the prepared data set: manifest, features, a few photos to check the endpoint with."""

CHANNEL_PHOTOS = "photos"
"""Channel with the class folders, or train/valid/test folders of class folders; in training jobs only where the backbone is trained."""

CHANNEL_WEIGHTS = "weights"
"""Channel with the backbone: one JSON description and the state_dict file that it names."""

CHANNEL_CODE = "code"
"""Channel with the source archive, so that a job needs no network."""

WEIGHTS_DESCRIPTION = "resnet50.json"
"""File in the weights channel: {"file", "sha256", "stride", "source"}."""

STRIDES = ("v1", "v1.5")
"""Where a stage of ResNet50 halves the picture: in its 1x1 convolution (Keras, Caffe), or in its 3x3 convolution (torchvision)."""

CODE_FOLDER = "/opt/ml/input/data/code"
"""Where the source archive lies in the container; `sagemaker_submit_directory` is a file in it."""

CHECKPOINTS_FOLDER = "/opt/ml/checkpoints"
"""`CheckpointConfig.LocalPath`: mirrored to S3 file by file while the job runs."""

DEBUG_OUTPUT = "debug-output"
"""Folder under the checkpoints: what the smdebug hook saved."""

PROFILER_OUTPUT = "profiler-output"
"""Folder under the checkpoints: what the profiler measured, in the service's layout."""

DEGRADED = "degraded.txt"
"""File in either folder, only where something in it is missing: why, in one line. Rules that read such a folder report an issue or an
error, never that there is none; where the line begins with "losses alone", rules that need only losses saw everything."""

RULE_OUTPUT = "rule-output"
"""Folder under the checkpoints: the statuses of the rules while the job runs, and the profiler's report."""

REPORT = "report"
"""Folder under the checkpoints: data.json, history.json, evaluation.json, test_predictions.json, model.json, rule_statuses.json,
profiler_rule_statuses.json, profile.json, insights.json, report.html, check/."""

RESUME = "resume"
"""Folder under the checkpoints: what an interrupted job continues from, in a folder of the job's own name."""
