"""Which names are ours: those that the state machine gives, of exactly this project, and no other."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.aws.clients import is_absent, message_of
from lambdas.aws.endpoint import in_use
from lambdas.aws.jobs import TRAINING_JOB, is_ours, listed, run_of, tuning_job_prefix, tuning_jobs_of
from lambdas.aws.run_names import run_name
from tests.fixtures.lambdas.fake_services import OTHER_RUN, RUN
from tests.fixtures.sagemaker.account import PROJECT
from tests.fixtures.sagemaker.client import FakeSageMaker, fault, invalid

PROJECTS = st.from_regex(r"[a-z](-?[a-z0-9]){0,14}", fullmatch=True)
HEX = st.text("0123456789abcdef", min_size=8, max_size=8)
STARTS = st.datetimes(datetime(2026, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))


@given(project=PROJECTS, execution=st.text(max_size=20), start=STARTS, attempt=HEX, kind=st.sampled_from(["", "prepare-", "train-"]))
def test_what_a_run_names_leads_back_to_it(project: str, execution: str, start: datetime, attempt: str, kind: str) -> None:
    run = run_name(project, execution, start)
    name = f"{run}-{kind}{attempt}"
    assert run_of(name) == run
    assert is_ours(name, project)
    assert f"{tuning_job_prefix(run)}{attempt}".startswith(f"{project}-")


@given(project=PROJECTS, other=PROJECTS, start=STARTS, attempt=HEX)
def test_another_projects_things_are_not_ours(project: str, other: str, start: datetime, attempt: str) -> None:
    name = f"{run_name(other, 'arn', start)}-{attempt}"
    assert is_ours(name, project) == (project == other)


@given(st.text("whipet-0123456789abf", max_size=40))
def test_no_name_breaks_the_parser(name: str) -> None:
    run = run_of(name)
    assert not run or name.startswith(f"{run}-")


@pytest.mark.parametrize(
    "name",
    [
        "whippet",
        "whippet-production",
        "whippet-261122160000-0f0f0f0f",
        "whippet-261122160000-1a2b",
        "whippet-261122160000-1a2b-mine",
        "whippet-261122160000-1a2b-0f0f0f0f-copy",
        "whippet-26112216000-1a2b-0f0f0f0f",
        "whippet-2-261122160000-1a2b-0f0f0f0f",
        "my-whippet-261122160000-1a2b-0f0f0f0f",
    ],
)
def test_what_somebody_made_by_hand_and_longer_project_names_are_not_ours(name: str) -> None:
    assert not is_ours(name, PROJECT)


def test_listings_go_over_all_pages_and_begin_with_the_prefix() -> None:
    sagemaker = FakeSageMaker()
    for number in range(5):
        sagemaker.train(f"{RUN}-train-{number:08x}")
    sagemaker.train(f"my-{RUN}-train-00000000")
    assert len(list(listed(sagemaker, TRAINING_JOB, f"{RUN}-train-"))) == 5


def test_tuning_jobs_of_another_run_of_the_same_second_are_told_apart_by_their_tag() -> None:
    sagemaker = FakeSageMaker()
    sagemaker.tune("whippet-261122160000-00000001", RUN)
    sagemaker.tune("whippet-261122160000-00000002", OTHER_RUN)
    assert [each["HyperParameterTuningJobName"] for each in tuning_jobs_of(sagemaker, RUN)] == ["whippet-261122160000-00000001"]


def test_absence_has_several_names() -> None:
    assert is_absent(invalid('Could not find model "arn:…".'))
    assert is_absent(fault("ResourceNotFound", "Requested resource not found."))
    assert not is_absent(invalid("Cannot update in-progress endpoint."))
    assert not is_absent(fault("AccessDeniedException", "no"))
    assert message_of(fault("AccessDeniedException", "User is not authorized.")) == "User is not authorized"
    assert message_of(fault("Odd", "")) == "An error occurred (Odd) when calling the Operation operation"


def test_in_use_is_what_is_served_what_is_about_to_be_and_what_was_deployed_last() -> None:
    sagemaker = FakeSageMaker()
    old, new, champion = (sagemaker.version(run) for run in (RUN, OTHER_RUN, "whippet-261101000000-0000"))
    sagemaker.serve(old, "Updating", PendingDeploymentSummary={"EndpointConfigName": new})
    sagemaker.deploy(champion)
    use = in_use(sagemaker, PROJECT)
    assert use.configs == {old, new, champion}
    assert use.models == {f"{run}-00000000" for run in (RUN, OTHER_RUN, "whippet-261101000000-0000")}
    assert not use.spares("whippet-261101000000-0000-00000001")


def test_where_the_served_config_was_deleted_all_models_of_its_run_are_in_use() -> None:
    sagemaker = FakeSageMaker()
    config = sagemaker.version(RUN)
    sagemaker.serve(config)
    del sagemaker.configs[config]
    use = in_use(sagemaker, PROJECT)
    assert use.spares(f"{RUN}-0000abcd")
    assert not use.spares(f"{OTHER_RUN}-0000abcd")
