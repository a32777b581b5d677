"""What an execution calls all that it makes: the names follow from the project, the execution's ARN and its start, and from nothing else.

Runs inside Lambda functions; standard library only. PrepareExecution names a run, and whoever cleans up after an execution finds it again:

    run_name("whippet", "arn:aws:states:…:execution:whippet:one", start)    # whippet-261122160000-1a2b
"""

import hashlib
from datetime import UTC, datetime


def run_name(project: str, execution_arn: str, start: datetime) -> str:
    """`<project>-<yymmddHHMMSS>-<4 hex>`: the folder under `executions/`, and what the names of jobs and models begin with."""
    return f"{tuning_job_prefix(project, start)}{hashlib.sha256(execution_arn.encode()).hexdigest()[:4]}"


def tuning_job_prefix(project: str, start: datetime) -> str:
    """`<project>-<yymmddHHMMSS>-`: a tuning job's name has 32 characters, in which the whole run and a number of its own find no room."""
    return f"{project}-{in_utc(start):%y%m%d%H%M%S}-"


def in_utc(moment: datetime) -> datetime:
    """The moment on the clock that the names tell; one without a time zone is on it already."""
    return moment.astimezone(UTC) if moment.tzinfo else moment
