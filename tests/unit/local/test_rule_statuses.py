"""Rule statuses as they change while a program judges. No process, no file.

Run: `make test`.
"""

from local.jobs.rule_statuses import update_statuses

JOB_STATUS = {"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": "InProgress", "LastModifiedTime": 0.0}


def said(status: str, details: str) -> dict[str, dict[str, str]]:
    return {"Overfit": {"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": status, "StatusDetails": details}}


def test_an_issue_that_is_met_again_is_told_with_its_latest_count() -> None:
    once = update_statuses([JOB_STATUS], said("IssuesFound", "met once"), now=1.0)
    again = update_statuses(once, said("IssuesFound", "met 19 times"), now=2.0)
    assert (again[0]["StatusDetails"], again[0]["LastModifiedTime"]) == ("met 19 times", 2.0)


def test_an_issue_is_never_taken_back() -> None:
    once = update_statuses([JOB_STATUS], said("IssuesFound", "met once"), now=1.0)
    assert update_statuses(once, said("NoIssuesFound", "nothing"), now=2.0) == once
    assert update_statuses(once, said("InProgress", ""), now=2.0) == once
