"""An execution's name: the same from whichever clock its start is told, and another one for another execution."""

from datetime import UTC, datetime, timedelta, timezone

from lambdas.aws.run_names import run_name, tuning_job_prefix

START = datetime(2026, 11, 22, 16, 0, 0, 123_000, tzinfo=UTC)


def test_the_start_is_told_in_utc() -> None:
    tokyo = START.astimezone(timezone(timedelta(hours=9)))
    milliseconds = datetime.fromtimestamp(START.timestamp(), UTC)
    names = {run_name("whippet", "arn:1", start) for start in (START, tokyo, milliseconds, START.replace(tzinfo=None))}
    assert len(names) == 1
    assert names.pop().startswith("whippet-261122160000-")


def test_another_execution_of_the_same_second_has_another_name() -> None:
    assert run_name("whippet", "arn:1", START) != run_name("whippet", "arn:2", START)


def test_the_run_begins_with_what_its_tuning_jobs_begin_with() -> None:
    assert run_name("whippet", "arn:1", START).startswith(tuning_job_prefix("whippet", START))
    assert tuning_job_prefix("whippet", START) == "whippet-261122160000-"
