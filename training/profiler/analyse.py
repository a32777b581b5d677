"""Judges a profile: evaluates the configured profiler rules, and writes the profiler report if it is configured.

Runs in training jobs after the training, and as a process of its own beside a job that does not:

    python -m training.profiler.analyse --folder profiler-output --output rule-output --configurations FILE --statuses FILE

The configurations are ProfilerRuleConfigurations as in the API. The output has the service's layout. With a ProfilerReport:
ProfilerReport-<start in seconds since the epoch>/profiler-output/ (or the name of its configuration, if that is different) with
profiler-report.html and profiler-reports/<Rule>.json. Without one, for each rule:
<name of its configuration>/profiler-output/profiler-reports/<Rule>.json.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from training.contract.rules import LONGEST_DETAILS
from training.profiler.advice import advise
from training.profiler.metrics import Metrics, read_metrics
from training.profiler.profile import missing, profile
from training.profiler.report_page import render
from training.profiler.rules.profiler_report import RULES, ProfilerReport, summary
from training.profiler.rules.profiler_rule import Finding, ParameterError, ProfilerRule
from training.rule_evaluation.status import MOST_EVIDENCE, RuleStatus, report_errors, utc_now

REPORT = "ProfilerReport"
Configuration = Mapping[str, Any]


def analyse(
    folder: Path,
    output: Path,
    configurations: Sequence[Configuration],
    now: Callable[[], datetime] = utc_now,
) -> tuple[list[RuleStatus], dict[str, Any]]:
    """Return a verdict for each configuration, and the profile (see training.profiler.profile); write the reports.

    Any failure becomes the verdict Error; nothing is raised.

    Args:
        folder: the profiler's; if it is missing or empty, the rules report it.
        output: where the rules write.
        configurations: ProfilerRuleConfigurations, without or with the image.
        now: the time of the verdicts.
    """
    _forget_reports(output)
    try:
        metrics = read_metrics(folder)
        document = profile(metrics)
    except Exception as error:  # noqa: BLE001 - the training has ended and goes on to its report; each verdict is Error, and the log says why
        said = f"the profile cannot be read: {type(error).__name__}: {error}"
        _say(said)
        return report_errors(said, now, configurations), {"problem": said}
    lost = missing(metrics)
    verdicts = [_Verdict(configuration) for configuration in configurations]
    for verdict in verdicts:
        verdict.judge(metrics)
    for verdict in verdicts:
        if verdict.name == REPORT and not verdict.error:
            verdict.write_report(metrics, verdicts, output, document, lambda each: each.status(now, lost))
    if not any(verdict.name == REPORT for verdict in verdicts):
        for verdict in verdicts:
            verdict.write(output / str(verdict.configuration["RuleConfigurationName"]) / "profiler-output" / "profiler-reports")
    return [verdict.status(now, lost) for verdict in verdicts], document


def to_status(
    name: str, finding: Finding, now: datetime, parameters: Mapping[str, str] | None = None, lost: str | None = None
) -> RuleStatus:
    """Return a finding as a verdict with DescribeTrainingJob's fields; `lost`: what was not measured."""
    when, parameters = now.isoformat(), parameters or {}
    if finding.unjudged:
        details = f"InternalError: {finding.said}" + (f" ({lost})" if lost else "")
        return RuleStatus(name, "Error", details[:LONGEST_DETAILS], when, parameters, Advice=finding.advice)
    if not finding.triggered:
        return RuleStatus(name, "NoIssuesFound", finding.said[:LONGEST_DETAILS], when, parameters)
    details = f"RuleEvaluationConditionMet: {finding.said}"
    shown = list(finding.evidence)[:MOST_EVIDENCE]
    return RuleStatus(name, "IssuesFound", details[:LONGEST_DETAILS], when, parameters, shown, finding.advice)


class _Verdict:
    """One configuration and its result."""

    def __init__(self, configuration: Configuration, rule: ProfilerRule | None = None, finding: Finding | None = None) -> None:
        """`rule`, `finding`: of a rule that has judged already."""
        self.configuration = configuration
        self.parameters: dict[str, str] = dict(configuration.get("RuleParameters") or {})
        self.name = self.parameters.get("rule_to_invoke") or str(configuration["RuleConfigurationName"])
        self.rule = rule
        self.finding = finding
        self.error = ""

    def judge(self, metrics: Metrics) -> None:
        """Evaluate the rule; a failure becomes `error`. The report is written after all rules have judged."""
        try:
            if self.name == REPORT:
                ProfilerReport.from_parameters(self.parameters)
                return
            if self.name not in RULES:
                raise ParameterError(f"unknown profiler rule {self.name}; allowed: {', '.join((REPORT, *RULES))}")
            self.rule = RULES[self.name].from_parameters(self.parameters)
            self.finding = self.rule.judge(metrics)
        except Exception as error:  # noqa: BLE001 - the training has ended and goes on to its report; the verdict is Error, and says why
            self._fail(f"{type(error).__name__}: {error}")

    def write(self, folder: Path) -> None:
        """Write the rule's own report."""
        if self.rule and self.finding:
            try:
                _write(folder / f"{self.name}.json", json.dumps(self.rule.report(self.finding), indent=1))
            except OSError as error:
                self._fail(f"its report could not be written: {error}")

    def write_report(
        self,
        metrics: Metrics,
        verdicts: Sequence["_Verdict"],
        output: Path,
        document: Mapping[str, Any],
        to_status: Callable[["_Verdict"], RuleStatus],
    ) -> None:
        """Evaluate the rules that have no configuration of their own, and write the page and a JSON file per rule."""
        name = str(self.configuration["RuleConfigurationName"])
        folder = output / (f"{REPORT}-{int(metrics.started):010d}" if name == REPORT else name) / "profiler-output"
        try:
            given = {each.name for each in verdicts}
            own = [
                _Verdict({"RuleConfigurationName": name}, rule, rule.judge(metrics))
                for name, rule in ProfilerReport.from_parameters(self.parameters).rules.items()
                if name not in given
            ]
            judged = {each.name: (each.rule, each.finding) for each in (*own, *verdicts) if each.rule and each.finding}
            rules = {name: judged[name][0] for name in RULES if name in judged}
            ordered = {name: judged[name][1] for name in rules}
            self.finding = summary(ordered)
            for name, finding in ordered.items():
                _write(folder / "profiler-reports" / f"{name}.json", json.dumps(rules[name].report(finding), indent=1))
            advice = advise([asdict(to_status(each)) for each in (*verdicts, *own)], document)
            _write(folder / "profiler-report.html", render(metrics, ordered, rules, document, advice))
        except Exception as error:  # noqa: BLE001 - the training has ended and goes on to its report; the verdict is Error, and says why
            self._fail(f"the report could not be written: {type(error).__name__}: {error}")

    def status(self, now: Callable[[], datetime], lost: str | None) -> RuleStatus:
        """Return the verdict with DescribeTrainingJob's fields; `lost`: what was not measured."""
        name = str(self.configuration["RuleConfigurationName"])
        if self.finding and not self.error:
            return to_status(name, self.finding, now(), self.parameters, lost)
        details = f"InternalError: {self.error or 'it was not evaluated'}"[:LONGEST_DETAILS]
        return RuleStatus(name, "Error", details, now().isoformat(), self.parameters, Advice="Read the job's log for this error.")

    def _fail(self, error: str) -> None:
        self.error = error
        _say(f"rule {self.name} has no verdict: {error}")


def _forget_reports(output: Path) -> None:
    """Remove the reports of an earlier run of the same job, so that they are not mistaken for this run's."""
    for folder in output.glob(f"{REPORT}-*"):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            _say(f"{folder.name} of an earlier run cannot be removed: {error}")


def _write(file: Path, text: str) -> None:
    """Write a file atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)


def _say(problem: str) -> None:
    print(f"profiler degraded: {problem}. The training itself is not affected.", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Judge as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.profiler.analyse", description="Judge a profile")
    parser.add_argument("--folder", type=Path, required=True, help="the profiler's folder")
    parser.add_argument("--output", type=Path, required=True, help="where the rules write")
    parser.add_argument("--configurations", type=Path, required=True, help="JSON file: ProfilerRuleConfigurations")
    parser.add_argument("--statuses", type=Path, required=True, help="JSON file to write: the verdicts")
    options = parser.parse_args(arguments)
    configurations = json.loads(options.configurations.read_text(encoding="utf-8"))
    statuses, _ = analyse(options.folder, options.output, configurations)
    _write(options.statuses, json.dumps([asdict(status) for status in statuses], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
