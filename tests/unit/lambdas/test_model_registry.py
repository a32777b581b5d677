"""What the registry says of deployments: over all pages, the last deployed is the newest, and it was approved and verified."""

from datetime import timedelta

import pytest

from lambdas.aws.model_registry import MOST_WAIT, deployed_packages, newest_deployed, newest_package
from tests.fixtures.sagemaker.registry import FIRST, GROUP, Registry


def registry() -> Registry:
    found = Registry()
    for number in range(1, 4):
        found.add(endpoint_config=f"config-{number}", model=f"model-{number}")
    found.add("Approved", run="never deployed")
    found.add("Rejected", endpoint_config="config-5")
    found.add("PendingManualApproval", photos_sha256="abc")
    return found


def test_deployed_versions_come_the_last_registered_first_over_all_pages() -> None:
    assert [each.endpoint_config for each in deployed_packages(registry(), GROUP)] == ["config-3", "config-2", "config-1"]


def test_the_newest_is_told_with_all_that_is_known_of_it() -> None:
    found = registry()
    newest = newest_deployed(found, GROUP)
    assert newest is not None
    version = found.versions[2]
    assert (newest.arn, newest.model, newest.created) == (version["ModelPackageArn"], "model-3", version["CreationTime"])


def test_a_model_that_waited_for_approval_is_newer_than_those_that_were_registered_and_deployed_meanwhile() -> None:
    found = Registry()
    found.add(endpoint_config="waited", deployed_at="2026-11-09T12:00:00.000Z")
    found.add(endpoint_config="meanwhile", deployed_at="2026-11-03T01:00:00.000Z")
    newest = newest_deployed(found, GROUP)
    assert newest is not None
    assert newest.endpoint_config == "waited"


@pytest.mark.parametrize("written", ["", "yesterday", "2026-11-03"])
def test_a_time_that_is_none_or_without_a_zone_keeps_nothing_from_being_found(written: str) -> None:
    found = Registry()
    found.add(endpoint_config="older", deployed_at="2026-11-02T00:00:00.000Z")
    found.add(endpoint_config="newer", **({"deployed_at": written} if written else {}))
    newest = newest_deployed(found, GROUP)
    assert newest is not None
    assert newest.endpoint_config == "newer"


def test_versions_that_are_too_old_to_have_been_deployed_later_are_not_asked_for() -> None:
    found = Registry()
    for number in range(100):
        found.add(endpoint_config=f"config-{number}")
    days = MOST_WAIT / timedelta(days=1)
    newest = newest_deployed(found, GROUP)
    assert newest is not None
    assert (newest.endpoint_config, newest.created) == ("config-99", FIRST + timedelta(days=100))
    assert len(found.described) == days + 2, "the newest, those of these days, and the one that ends the search"


def test_the_newest_version_is_one_whatever_became_of_it() -> None:
    newest = newest_package(registry(), GROUP)
    assert newest is not None
    assert (newest.metadata, newest.endpoint_config, newest.model) == ({"photos_sha256": "abc"}, "", "")


def test_an_empty_group_holds_nothing() -> None:
    assert newest_deployed(Registry(), GROUP) is None
    assert newest_package(Registry(), GROUP) is None
