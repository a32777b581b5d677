"""AssessModel: whether the model of the final training job may be deployed, what of it the model registry keeps, and why.

Runs in AWS Lambda. Called by the state machine with

    {"folder": "s3://…/training/<job>", "debugger": "embedded" | "managed" | "off", "block_deployment": [rule, …],
     "rule_statuses": […], "profiler_rule_statuses": […], "warnings": [sentence, …],
     "gate": {"least_accuracy", "champion", "tolerance", "class_tolerance"}, "group": model package group,
     "run", "project", "tuning_job", "dataset", "photos_sha256"}

where the last five are kept for the registry, and the rule statuses are DescribeTrainingJob's, of a managed job. Answers

    {"deploy": true | false, "reasons": [sentence, …], "warnings": [sentence, …], "rule_statuses": […], "profiler_rule_statuses": […],
     "accuracy": test accuracy or null, "metrics": {name: number}, "metrics_uri": "s3://…/evaluation.json",
     "metadata": {name: text}, "description": sentence,
     "champion": {} or {"package": ARN, "version", "accuracy", "new_accuracy", "difference", "interval": [from, to], "photos", "sentence"}}

Three things can keep a model back, each in a file of its own: what the rules found (verdicts.py), that it is not good enough on its own or
worse than the champion (gate.py), and that its report says nothing of its accuracy. Whatever else is missing is told as a warning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambdas.assessment.champion import Champion, compare_with, find_champion
from lambdas.assessment.comparison import Comparison
from lambdas.assessment.evaluation import EVALUATION, Evaluation, read_evaluation, read_hashes
from lambdas.assessment.gate import Gate, against_champion, floor, sentence
from lambdas.assessment.registry_metadata import description, metadata
from lambdas.assessment.report_files import DocumentError, uri
from lambdas.assessment.rule_statuses import verdicts
from lambdas.aws.clients import client
from lambdas.aws.log import log


@dataclass(frozen=True)
class Beside:
    """The champion, and how the new model does beside it."""

    champion: Champion
    comparison: Comparison


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    answer = assess(event, client("s3"), client("sagemaker"))
    log("ModelAssessed", execution=event.get("run", ""), deploy=answer["deploy"], accuracy=answer["accuracy"], reasons=answer["reasons"])
    return answer


def assess(event: Mapping[str, Any], s3: Any, sagemaker: Any) -> dict[str, Any]:
    """The answer described above."""
    gate = Gate.parse(event.get("gate") or {})
    said = verdicts(event, s3)
    reasons, warnings = list(said.reasons), [*event["warnings"], *said.warnings]
    evaluation = evaluated(event["folder"], s3, reasons)
    if evaluation:
        reasons += floor(gate, evaluation)
    beside = looked_at(gate, event, s3, sagemaker, warnings)
    if beside:
        reasons += against_champion(gate, beside.comparison, warnings)
    answer = {
        "deploy": not reasons,
        "reasons": reasons,
        "warnings": warnings,
        **said.statuses,
        "accuracy": evaluation.accuracy if evaluation else None,
        "metrics": dict(evaluation.metrics) if evaluation else {},
        "metrics_uri": uri(event["folder"], EVALUATION),
        **registered(event, s3, evaluation, beside, warnings),
        "champion": told(beside),
    }
    return {key: printable(each) for key, each in answer.items()}


def evaluated(folder: str, s3: Any, reasons: list[str]) -> Evaluation | None:
    """What the report says of the test photos; a model of which nobody knows how good it is is kept back."""
    try:
        return read_evaluation(s3, folder)
    except DocumentError as error:
        reasons.append(f"{error}, so nobody knows how accurate the model is")
        return None


def looked_at(gate: Gate, event: Mapping[str, Any], s3: Any, sagemaker: Any, warnings: list[str]) -> Beside | None:
    """The champion and the comparison; None where there is no champion, or nobody asks for it, or it cannot be compared with."""
    group = event.get("group")
    champion = find_champion(sagemaker, group, warnings) if gate.champion and group else None
    comparison = compare_with(champion, event["folder"], s3, warnings) if champion else None
    return Beside(champion, comparison) if champion and comparison else None


def registered(
    event: Mapping[str, Any], s3: Any, evaluation: Evaluation | None, beside: Beside | None, warnings: list[str]
) -> dict[str, Any]:
    """What the registry keeps."""
    hashes: dict[str, str] = {}
    try:
        hashes = read_hashes(s3, event["folder"])
    except DocumentError as error:
        warnings.append(f"{error}, so the registry does not know which data, weights and code the model was made from")
    return {
        "metadata": metadata(event, evaluation, hashes, beside.champion.version if beside else ""),
        "description": description(event, evaluation, sentence(beside.comparison.pairs) if beside else ""),
    }


def told(beside: Beside | None) -> dict[str, Any]:
    """The comparison as the execution's output holds it."""
    if beside is None:
        return {}
    pairs = beside.comparison.pairs
    return {
        "package": beside.champion.package,
        "version": beside.champion.version,
        "accuracy": pairs.champion_accuracy,
        "new_accuracy": pairs.accuracy,
        "difference": pairs.difference,
        "interval": list(pairs.interval()),
        "photos": pairs.photos,
        "sentence": sentence(pairs),
    }


def printable(value: Any) -> Any:
    """The same with every text as UTF-8 can hold it: a file's name may be any bytes, and a class is called after its folder."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: printable(each) for key, each in value.items()}
    return [printable(each) for each in value] if isinstance(value, list) else value
