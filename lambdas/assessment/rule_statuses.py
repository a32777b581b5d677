"""What the rules said of a training job, and which of it keeps the model from being deployed.

Runs inside AssessModel. The statuses are DescribeTrainingJob's, of a managed job; those of an embedded one lie in its report. A rule that
gives no verdict keeps no model back: it says nothing against it. The warnings tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lambdas.assessment.report_files import DocumentError, read_document, uri
from training.contract.rules import UNFINISHED_STATUSES

SHOWN = ("RuleConfigurationName", "RuleEvaluationStatus", "StatusDetails")
"""What goes into the execution's output; an execution holds no more than 256 KB, and the report holds the rest."""

MOST_DETAILS = 500
"""Characters of StatusDetails that do."""

KINDS = ("rule_statuses", "profiler_rule_statuses")
"""Keys of AssessModel's event and of its answer, and the names of the report's files."""

Status = dict[str, str]


@dataclass(frozen=True)
class Verdicts:
    """What the rules said, and what follows from it."""

    statuses: Mapping[str, Sequence[Status]]
    """One of KINDS -> its rules."""
    reasons: Sequence[str]
    """Why the model is kept back, each a sentence."""
    warnings: Sequence[str]


def verdicts(event: Mapping[str, Any], s3: Any) -> Verdicts:
    """What AssessModel's event, or the report that it names, says of the rules."""
    embedded = event["debugger"] == "embedded"
    problems: list[str] = []
    statuses = {kind: shortened(reported(s3, event["folder"], kind, problems) if embedded else event[kind]) for kind in KINDS}
    said = {status["RuleConfigurationName"]: status for kind in KINDS for status in statuses[kind]}
    blocking = event["block_deployment"]
    reasons = [reason for rule in blocking for reason in against(rule, said)]
    return Verdicts(statuses, reasons, [*problems, *unjudged(blocking, said), *unfinished(said.values())])


def reported(s3: Any, folder: str, name: str, problems: list[str]) -> Sequence[Mapping[str, Any]]:
    """The statuses in a file of the report, and in `problems` a sentence where it, or one of them, is not what a training job writes."""
    nothing = "so nothing is known of its rules"
    try:
        statuses = read_document(s3, folder, name)
    except DocumentError as error:
        problems.append(f"{error}, {nothing}")
        return []
    if not isinstance(statuses, list):
        problems.append(f"{uri(folder, name)} is damaged (it holds no list), {nothing}")
        return []
    whole = [status for status in statuses if is_status(status)]
    if lost := len(statuses) - len(whole):
        problems.append(f"{uri(folder, name)} is damaged: {lost} of its {len(statuses)} entries are no verdict of a rule, and are not used")
    return whole


def is_status(entry: object) -> bool:
    """Whether this is a rule's verdict: its name and its status, texts both."""
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) and entry[key] for key in SHOWN[:2])


def shortened(statuses: Iterable[Mapping[str, Any]]) -> list[Status]:
    """Each status as it may stand in the execution's output."""
    return [{key: str(status.get(key) or "")[:MOST_DETAILS] for key in SHOWN} for status in statuses]


def against(rule: str, said: Mapping[str, Status]) -> list[str]:
    """Why this rule keeps the model back, a sentence; none where it does not."""
    status = said.get(rule)
    if status is None or status["RuleEvaluationStatus"] != "IssuesFound":
        return []
    return [f"rule {rule} found an issue, and rules.block_deployment names it: {details(status)}"]


def unjudged(rules: Iterable[str], said: Mapping[str, Status]) -> list[str]:
    """A sentence for each rule that could have kept the model back, had it said anything."""
    kept = "so it does not keep the model from being deployed, as rules.block_deployment has it"
    sentences = []
    for rule in rules:
        status = said.get(rule)
        if status is None:
            sentences.append(f"rule {rule} gave no verdict, {kept}")
        elif status["RuleEvaluationStatus"] not in ("NoIssuesFound", "IssuesFound", *UNFINISHED_STATUSES):
            sentences.append(f"rule {rule} could not judge ({status['RuleEvaluationStatus']}: {details(status)}), {kept}")
    return sentences


def unfinished(statuses: Iterable[Status]) -> list[str]:
    """A sentence for each rule that was not waited for any longer."""
    return [
        f"rule {status['RuleConfigurationName']} was still {status['RuleEvaluationStatus']} when the execution went on without its verdict"
        for status in statuses
        if status["RuleEvaluationStatus"] in UNFINISHED_STATUSES
    ]


def details(status: Status) -> str:
    """What the rule said, without the full stop."""
    return status["StatusDetails"].rstrip(". ") or "it gave no details"
