"""What `whippet down` leaves of the demo. The last file by its name, for it takes the demo away. Run: `pytest tests/end_to_end`."""

from tests.end_to_end.conftest import Demo, processes_of
from tests.fixtures.local.running import lives


def test_down_leaves_no_process(demo: Demo) -> None:
    assert demo.pids
    done = demo.whippet("down", "--local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [pid for pid in demo.pids if lives(pid)] == []
    assert processes_of(demo.home) == []
