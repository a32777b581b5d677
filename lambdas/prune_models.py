"""PruneModels, a state after a deployment: deletes old models and endpoint configs, so that the newest few are left to go back to.

Runs in AWS Lambda. Called by the state machine with {"keep": n, "project"} and answers {"deleted": [name], "left": [sentence]}. A model
here is SageMaker's entry of that name; the artefact in S3 and the version in the registry stay. Never deleted, however old: what the
endpoint serves or is about to, what belongs to the newest deployed version, what an endpoint config that stays names, what an execution
made that still runs, and whatever no execution of this very project made.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from lambdas.aws.clients import FAULTS, client, is_absent, message_of
from lambdas.aws.endpoint import InUse, in_use, models_of
from lambdas.aws.executions import running
from lambdas.aws.jobs import ENDPOINT_CONFIG, MODEL, Kind, end, is_ours, listed, run_of
from lambdas.aws.log import log

Answer = dict[str, list[str]]


def handler(event: Mapping[str, Any], _context: object) -> Answer:
    """Entry point of the Lambda function."""
    project = event["project"]
    runs = {each.run(project) for each in running(client("stepfunctions"), os.environ["STATE_MACHINE_ARN"])}
    answer = prune(project, int(event["keep"]), runs, client("sagemaker"))
    log("Pruned", execution=str(event.get("run") or ""), keep=int(event["keep"]), **answer)
    return answer


def prune(project: str, keep: int, running_runs: Iterable[str], sagemaker: Any) -> Answer:
    """The answer described above; `running_runs`: the runs of executions that go on."""
    if keep < 1:
        raise ValueError(f"keep must be at least 1, the version that answers; got {keep}")
    runs, use = set(running_runs), in_use(sagemaker, project)
    configs, models = (newest_first(sagemaker, kind, project) for kind in (ENDPOINT_CONFIG, MODEL))
    kept_configs = set(configs[:keep]) | spared(configs, runs, use)
    named = {model for config in kept_configs for model in models_of(sagemaker, config) or ()}
    kept_models = set(models[:keep]) | spared(models, runs, use) | named
    answer: Answer = {"deleted": [], "left": []}
    delete(sagemaker, ENDPOINT_CONFIG, [each for each in configs if each not in kept_configs], answer)
    delete(sagemaker, MODEL, [each for each in models if each not in kept_models], answer)
    return answer


def newest_first(sagemaker: Any, kind: Kind, project: str) -> list[str]:
    """The project's own, by their age."""
    entries = [entry for entry in listed(sagemaker, kind, f"{project}-") if is_ours(entry[kind.name], project)]
    return [entry[kind.name] for entry in sorted(entries, key=lambda each: (each["CreationTime"], each[kind.name]), reverse=True)]


def spared(names: Iterable[str], running_runs: set[str], use: InUse) -> set[str]:
    """Those of them that are needed."""
    return {name for name in names if use.spares(name) or run_of(name) in running_runs}


def delete(sagemaker: Any, kind: Kind, names: Iterable[str], answer: Answer) -> None:
    """What cannot be deleted is said, and the next execution tries it again."""
    for name in names:
        try:
            end(sagemaker, kind, name)
            answer["deleted"].append(name)
        except FAULTS as error:
            if not is_absent(error):
                answer["left"].append(f"{kind.noun} {name} could not be deleted: {message_of(error)}")
