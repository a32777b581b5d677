"""How tests are spread over processes, one machine-wide image environment, and the smdebug that jobs get. Run: `make test`."""

import pytest
from hypothesis import HealthCheck, settings

from stacks.smdebug_repairs import repair_installed

repair_installed()  # as `make` does it after installing; nothing where that is done

# How long an example takes on this machine at this moment is not what a test is about.
settings.register_profile("whippet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whippet")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, and those of the end-to-end demo, which is the longest and so comes first."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("end_to_end" if file.startswith("tests/end_to_end/") else file))
