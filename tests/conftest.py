"""How tests are spread over processes, how Hypothesis works, and the smdebug that jobs get. Run: `make test`."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from stacks.smdebug_repairs import repair_installed

repair_installed()  # as `make` does it after installing; nothing where that is done

# How long an example takes on this machine at this moment is not what a test is about.
settings.register_profile("whippet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whippet")


class ByFile(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Runs the tests of a file in one process, and those of the end-to-end demo, of several files, in one too."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "the demo" if file.startswith("tests/end_to_end/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)
