"""CloudWatch's alarms, in the state that a test sets."""

from typing import Any


class FakeCloudWatch:
    """Alarms by name; an exception is raised instead."""

    def __init__(self, states: dict[str, str] | Exception) -> None:
        self.states = states

    def describe_alarms(self, AlarmNames: list[str], AlarmTypes: list[str]) -> dict[str, Any]:  # noqa: N803 - as boto3 calls it
        assert AlarmTypes == ["MetricAlarm", "CompositeAlarm"]
        if isinstance(self.states, Exception):
            raise self.states
        return {"MetricAlarms": [{"AlarmName": name, "StateValue": self.states[name]} for name in AlarmNames if name in self.states]}
