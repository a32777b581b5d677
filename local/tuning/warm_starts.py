"""Warm starts: validates the parents of a tuning job, and collects the results that it starts from.

Runs in the SageMaker plane. The conditions come from AWS's page on warm start tuning jobs and from two messages of the service that
users have published; where AWS's wording is not public, the messages are our own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from local.api.errors import validation_error
from local.storage.store import Document
from local.tuning.search import Known
from local.tuning.tuning_summaries import ENDED, FINAL, find_best, read_sign
from training.contract.choices import WARM_STRATEGIES

IDENTICAL = "IdenticalDataAndAlgorithm"
MOST_CHANGES = 10
# The fields of a child's TrainingJobDefinition that may differ from the parent's; all others must be equal.
_CHANGEABLE = (
    "DefinitionName", "AlgorithmSpecification", "InputDataConfig", "OutputDataConfig", "StaticHyperParameters", "RoleArn", "ResourceConfig",
    "StoppingCondition", "VpcConfig", "EnableManagedSpotTraining", "CheckpointConfig",
)  # fmt: skip
_SUBMITTED = "sagemaker_submit_directory"
_KINDS = {"ContinuousParameterRanges": "continuous", "IntegerParameterRanges": "integer", "CategoricalParameterRanges": "categorical"}


def list_parents(request: Mapping[str, Any]) -> list[str]:
    """List the names of a request's parents."""
    parents = request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
    return [str(parent.get("HyperParameterTuningJobName", "")) for parent in parents]


def check_warm_start(request: Mapping[str, Any], parents: Mapping[str, Document | None]) -> None:
    """Raise a ValidationException if `request` may not start from `parents`, by name, None for a parent that does not exist."""
    names = list_parents(request)
    strategy = request["HyperParameterTuningJobConfig"]["Strategy"]
    if strategy not in WARM_STRATEGIES:
        raise validation_error(f"WarmStartConfig is only for the strategies {' and '.join(WARM_STRATEGIES)}, got {strategy!r}: remove it")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise validation_error(f"WarmStartConfig names the parent tuning job {twice[0]!r} twice; name each once")
    for name in names:
        parent = parents.get(name)
        if parent is None:
            raise validation_error(f"WarmStartConfig: the parent tuning job {name!r} does not exist")
        if parent["HyperParameterTuningJobStatus"] not in ENDED:
            raise validation_error(
                f"WarmStartConfig: the parent tuning job {name} is {parent['HyperParameterTuningJobStatus']}; "
                f"a parent has to be {', '.join(ENDED[:-1])} or {ENDED[-1]}"
            )
        _check_same_search(request, parent)
        _check_same_definition(request, parent)
        if request["WarmStartConfig"]["WarmStartType"] == IDENTICAL:
            _check_identical(request, parent)


def collect_results(jobs: Sequence[Document], summaries: Sequence[Mapping[str, Any]]) -> Known:
    """Collect a parent's results with all hyperparameters: a tuned one may be static now and vice versa."""
    hyperparameters = {job["TrainingJobName"]: job["HyperParameters"] for job in jobs}
    return [(hyperparameters[each["TrainingJobName"]], float(each[FINAL]["Value"])) for each in summaries if FINAL in each]


def find_overall_best(tuning: Mapping[str, Any], best: Mapping[str, Any] | None, parents: Sequence[Document]) -> dict[str, Any] | None:
    """Return OverallBestTrainingJob, the best job of the tuning job and its parents; None unless data and algorithm are identical."""
    if tuning.get("WarmStartConfig", {}).get("WarmStartType") != IDENTICAL:
        return None
    mine = {"HyperParameterTuningJobName": tuning["HyperParameterTuningJobName"], "BestTrainingJob": best}
    named = [
        {**each["BestTrainingJob"], "TuningJobName": each["HyperParameterTuningJobName"]}
        for each in (mine, *parents)
        if each.get("BestTrainingJob")
    ]
    return find_best(named, read_sign(tuning))


def _check_same_search(request: Mapping[str, Any], parent: Document) -> None:
    """Require the parent's objective, hyperparameter names, and kinds of tuned hyperparameters."""
    name = parent["HyperParameterTuningJobName"]
    here, there = request["HyperParameterTuningJobConfig"], parent["HyperParameterTuningJobConfig"]
    if (mine := here["HyperParameterTuningJobObjective"]) != (its := there["HyperParameterTuningJobObjective"]):
        raise validation_error(
            f"WarmStartConfig: the objective must be the same as in the parent tuning job {name}: {mine['Type']} {mine['MetricName']} "
            f"is not {its['Type']} {its['MetricName']}"
        )
    tuned, tuned_there = _list_kinds(here), _list_kinds(there)
    static, static_there = _read_static(request), _read_static(parent)
    if differing := sorted({*tuned, *static} ^ {*tuned_there, *static_there}):
        raise validation_error(
            "The set of tunable plus static HyperParameter names is not the same across current and parent tuning jobs. Please ensure this "
            "set is constant when warm starting. Note that previously static HyperParameters can be tuned in warm start jobs and vice "
            f"versa. (Differing from {name}: {', '.join(differing)})"
        )
    for each in sorted(tuned.keys() & tuned_there.keys()):
        if tuned[each] != tuned_there[each]:
            raise validation_error(
                f"WarmStartConfig: {each!r} is {tuned[each]}, but {tuned_there[each]} in the parent tuning job {name}; keep its kind"
            )
    if (changes := _count_changes(there, static, static_there)) > MOST_CHANGES:
        raise validation_error(
            f"WarmStartConfig: {changes} changes against the static hyperparameters of the parent tuning job {name}, but {MOST_CHANGES} "
            "are allowed: a changed value counts twice, a tuned hyperparameter that is static now once for each of its categorical values"
        )


def _count_changes(there: Mapping[str, Any], static: Mapping[str, str], static_there: Mapping[str, str]) -> int:
    categories = {each["Name"]: len(each["Values"]) for each in there["ParameterRanges"].get("CategoricalParameterRanges", ())}
    changed = [name for name, value in static.items() if name in static_there and value != static_there[name]]
    fixed = [name for name in static if name not in static_there]
    return 2 * len(changed) + sum(categories.get(name, 1) for name in fixed)


def _check_same_definition(request: Mapping[str, Any], parent: Document) -> None:
    here, there = request["TrainingJobDefinition"], parent["TrainingJobDefinition"]
    fixed = {*here, *there} - set(_CHANGEABLE)
    if changed := sorted(field for field in fixed if here.get(field) != there.get(field)):
        allowed = ", ".join(field[:1].lower() + field[1:] for field in _CHANGEABLE[1:])
        raise validation_error(
            f"Only the following fields in TrainingJobDefinition are allowed to change: [{allowed}]. "
            f"(Changed against the parent {parent['HyperParameterTuningJobName']}: {', '.join(changed)})"
        )


def _check_identical(request: Mapping[str, Any], parent: Document) -> None:
    """Require the parent's image and data, for IdenticalDataAndAlgorithm; the program may differ, since AWS allows small changes."""
    name = parent["HyperParameterTuningJobName"]
    images = [each["TrainingJobDefinition"]["AlgorithmSpecification"]["TrainingImage"] for each in (request, parent)]
    if images[0] != images[1]:
        raise validation_error(
            f"WarmStartType {IDENTICAL}: the training image {images[0]} is not that of the parent tuning job {name}, {images[1]}; "
            "use TransferLearning where the algorithm has changed"
        )
    data, data_there = _list_data(request), _list_data(parent)
    if differing := sorted(channel for channel in {*data, *data_there} if data.get(channel) != data_there.get(channel)):
        raise validation_error(
            f"WarmStartType {IDENTICAL}: the channel {differing[0]!r} is {data.get(differing[0])}, but {data_there.get(differing[0])} in "
            f"the parent tuning job {name}; use TransferLearning where the data has changed"
        )


def _list_data(tuning: Mapping[str, Any]) -> dict[str, str]:
    """Return the URI of each channel, without the channel that contains the program."""
    program = _read_static(tuning).get(_SUBMITTED, "")
    channels = tuning["TrainingJobDefinition"].get("InputDataConfig", ())
    places = {channel["ChannelName"]: str(channel["DataSource"]["S3DataSource"]["S3Uri"]) for channel in channels}
    return {name: uri for name, uri in places.items() if f"/input/data/{name}/" not in program}


def _read_static(tuning: Mapping[str, Any]) -> dict[str, str]:
    return dict(tuning["TrainingJobDefinition"].get("StaticHyperParameters", {}))


def _list_kinds(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the kind of each tuned hyperparameter."""
    return {each["Name"]: kind for field, kind in _KINDS.items() for each in config["ParameterRanges"].get(field, ())}
