"""Executions of the state machine, as far as tidying up must know them: which run, and which ended and how.

Runs inside the functions that tidy up. A run's name follows from the execution's ARN and start alone: no execution has to be opened.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lambdas.aws.run_names import run_name

ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")

OLDEST = timedelta(days=30)
"""No execution goes on for so long: the machine's own limit is lower."""


@dataclass(frozen=True)
class Execution:
    """One execution."""

    arn: str
    start: datetime
    status: str
    stop: datetime | None = None

    def run(self, project: str) -> str:
        """What the names of all that it made begin with."""
        return run_name(project, self.arn, self.start)


def executions(stepfunctions: Any, state_machine_arn: str, status: str) -> Iterator[Execution]:
    """Those of one status, the one that started last first."""
    pages = stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=state_machine_arn, statusFilter=status)
    for page in pages:
        for each in page["executions"]:
            yield Execution(each["executionArn"], each["startDate"], each["status"], each.get("stopDate"))


def running(stepfunctions: Any, state_machine_arn: str) -> list[Execution]:
    """Those that go on."""
    return list(executions(stepfunctions, state_machine_arn, "RUNNING"))


def ended_badly(stepfunctions: Any, state_machine_arn: str, now: datetime, within: timedelta) -> Iterator[Execution]:
    """Those that ended within that time, and not well."""
    for status in ENDED_BADLY:
        for each in executions(stepfunctions, state_machine_arn, status):
            if each.start < now - OLDEST:
                break
            if each.stop and each.stop > now - within:
                yield each
