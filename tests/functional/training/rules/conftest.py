"""What these tests share."""

import pytest


@pytest.fixture(autouse=True)
def _no_wait_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are all there when these trials are opened: smdebug need not look once more a second later."""
    monkeypatch.setenv("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")
