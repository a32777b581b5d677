"""What the registry says of deployments: the newest first, over all pages, and only what was approved and verified counts as deployed."""

from lambdas.registry import deployed_packages, newest_deployed, newest_package
from tests.lambdas.fake_registry import GROUP, FakeRegistry


def registry() -> FakeRegistry:
    found = FakeRegistry()
    for number in range(1, 4):
        found.add(endpoint_config=f"config-{number}", model=f"model-{number}")
    found.add("Approved", run="never deployed")
    found.add("Rejected", endpoint_config="config-5")
    found.add("PendingManualApproval", photos_sha256="abc")
    return found


def test_deployed_versions_come_newest_first_over_all_pages() -> None:
    assert [each.endpoint_config for each in deployed_packages(registry(), GROUP)] == ["config-3", "config-2", "config-1"]


def test_who_needs_one_describes_no_more_than_it_takes_to_find_it() -> None:
    found = registry()
    newest = newest_deployed(found, GROUP)
    assert newest is not None
    assert (newest.arn, newest.model, newest.created) == (
        f"{found.versions[2]['ModelPackageArn']}",
        "model-3",
        found.versions[2]["CreationTime"],
    )
    assert len(found.described) == 2


def test_the_newest_version_is_one_whatever_became_of_it() -> None:
    newest = newest_package(registry(), GROUP)
    assert newest is not None
    assert (newest.metadata, newest.endpoint_config, newest.model) == ({"photos_sha256": "abc"}, "", "")


def test_an_empty_group_holds_nothing() -> None:
    assert newest_deployed(FakeRegistry(), GROUP) is None
    assert newest_package(FakeRegistry(), GROUP) is None
