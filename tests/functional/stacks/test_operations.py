"""What looks after a deployment: the events and schedules that call functions, where failures go, what alarms and the dashboard watch."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from lambdas.aws.endpoint import VARIANT
from stacks.state_machine.requests import VARIANT as DEPLOYED_VARIANT
from tests.fixtures.stacks.policies import concrete, listed
from tests.fixtures.stacks.synthesis import Synthesis


def rules(synthesis: Synthesis) -> dict[str, dict[str, Any]]:
    """Name without the project's -> its properties."""
    found = [each["Properties"] for each in synthesis.resources("AWS::Events::Rule").values()]
    return {each["Name"].removeprefix("whippet-"): each for each in found}


def called(synthesis: Synthesis, rule: str) -> str:
    """Name of the function that a rule calls."""
    (target,) = rules(synthesis)[rule]["Targets"]
    return str(synthesis.template["Resources"][concrete(target["Arn"])]["Properties"]["FunctionName"])


@pytest.mark.parametrize(
    ("name", "schedules"),
    [
        ("default", {"reap-executions": "rate(15 minutes)", "stop-idle-endpoint": "rate(1 hour)"}),
        ("told", {"reap-executions": "rate(15 minutes)"}),
        (
            "own security group",
            {"reap-executions": "rate(15 minutes)", "stop-idle-endpoint": "rate(1 hour)", "start-retraining": "rate(7 days)"},
        ),
        (
            "everything",
            {"reap-executions": "rate(15 minutes)", "stop-idle-endpoint": "rate(1 hour)", "start-retraining": "rate(15 minutes)"},
        ),
    ],
)
def test_schedules_are_those_that_the_knobs_ask_for(variation: Callable[[str], Synthesis], name: str, schedules: dict[str, str]) -> None:
    written = rules(variation(name))
    assert {rule: each["ScheduleExpression"] for rule, each in written.items() if "ScheduleExpression" in each} == schedules
    assert set(written) - set(schedules) == {"reap-execution", "scale-endpoint"}


def test_executions_that_ended_badly_are_reaped_and_no_other_machines(synthesis: Synthesis) -> None:
    pattern = rules(synthesis)["reap-execution"]["EventPattern"]
    assert pattern["source"] == ["aws.states"]
    assert pattern["detail"]["status"] == ["ABORTED", "TIMED_OUT", "FAILED"]
    assert [concrete(each) for each in pattern["detail"]["stateMachineArn"]] == list(
        synthesis.resources("AWS::StepFunctions::StateMachine")
    )
    assert called(synthesis, "reap-execution") == called(synthesis, "reap-executions") == "whippet-reap-execution"


def test_the_endpoint_is_scaled_whenever_it_comes_into_service(synthesis: Synthesis) -> None:
    pattern = rules(synthesis)["scale-endpoint"]["EventPattern"]
    assert pattern == {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Endpoint State Change"],
        "detail": {"EndpointName": ["whippet"], "EndpointStatus": ["IN_SERVICE", "InService"]},
    }
    assert called(synthesis, "scale-endpoint") == "whippet-scale-endpoint"


def test_what_nobody_waits_for_is_kept_when_it_fails(variation: Callable[[str], Synthesis]) -> None:
    synthesis = variation("everything")
    (queue,) = synthesis.resources("AWS::SQS::Queue")
    for rule in rules(synthesis).values():
        assert [concrete(each["DeadLetterConfig"]["Arn"]) for each in rule["Targets"]] == [queue]
    by_event = {called(synthesis, rule) for rule in rules(synthesis)}
    functions = [each["Properties"] for each in synthesis.resources("AWS::Lambda::Function").values()]
    kept = {each["FunctionName"] for each in functions if "DeadLetterConfig" in each}
    assert kept == by_event
    assert {concrete(each["DeadLetterConfig"]["TargetArn"]) for each in functions if "DeadLetterConfig" in each} == {queue}


def test_rules_alone_may_call_their_functions(synthesis: Synthesis) -> None:
    permissions = [each["Properties"] for each in synthesis.resources("AWS::Lambda::Permission").values()]
    by_rules = [each for each in permissions if each["Principal"] == "events.amazonaws.com"]
    assert {concrete(each["SourceArn"]) for each in by_rules} == set(synthesis.resources("AWS::Events::Rule"))


def alarms(synthesis: Synthesis) -> dict[str, dict[str, Any]]:
    found = [each["Properties"] for each in synthesis.resources("AWS::CloudWatch::Alarm").values()]
    return {each["AlarmName"].removeprefix("whippet-"): each for each in found}


def test_alarms_tell_the_topic_and_are_calm_where_nothing_is_measured(synthesis: Synthesis) -> None:
    (topic,) = synthesis.resources("AWS::SNS::Topic")
    assert set(alarms(synthesis)) == {
        "api-errors",
        "endpoint-errors",
        "endpoint-latency",
        "execution-failed",
        "execution-timed-out",
        "reap-execution-errors",
        "undelivered-events",
    }
    for alarm in alarms(synthesis).values():
        assert [concrete(each) for each in alarm["AlarmActions"]] == [concrete(each) for each in alarm["OKActions"]] == [topic]
        assert alarm["TreatMissingData"] == "notBreaching"


def test_the_endpoints_alarms_watch_the_variant_that_is_deployed(synthesis: Synthesis) -> None:
    """Rates over a minute: the canary's tenth of the traffic is enough to raise them."""
    assert VARIANT == DEPLOYED_VARIANT
    errors, latency = alarms(synthesis)["endpoint-errors"], alarms(synthesis)["endpoint-latency"]
    for alarm in (errors, latency):
        assert {each["Name"]: each["Value"] for each in alarm["Dimensions"]} == {"EndpointName": "whippet", "VariantName": VARIANT}
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (60, 3, 2)
    assert (errors["MetricName"], errors["Statistic"], errors["Threshold"]) == ("Invocation5XXErrors", "Average", 0.05)
    assert (latency["MetricName"], latency["ExtendedStatistic"], latency["Threshold"]) == ("ModelLatency", "p95", 5_000_000)


def test_a_fault_of_the_function_that_asks_the_endpoint_is_told(synthesis: Synthesis) -> None:
    """The endpoint's own alarm sees nothing of a request that never gets there."""
    alarm = alarms(synthesis)["api-errors"]
    (dimension,) = alarm["Dimensions"]
    asks = synthesis.template["Resources"][concrete(dimension["Value"])]["Properties"]["FunctionName"]
    assert (asks, alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == ("whippet-invoke-endpoint", "Errors", "Sum", 1)


def test_the_topic_takes_messages_of_this_accounts_alarms_and_budgets_over_tls(synthesis: Synthesis) -> None:
    policy = synthesis.resource("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    (allowed,) = [each for each in policy if each["Effect"] == "Allow"]
    assert set(allowed["Principal"]["Service"]) == {"cloudwatch.amazonaws.com", "budgets.amazonaws.com"}
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    (denied,) = [each for each in policy if each["Effect"] == "Deny"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_nobody_is_told_unless_there_is_an_address(variation: Callable[[str], Synthesis]) -> None:
    assert variation("default").some("AWS::SNS::Subscription") == {}
    subscription = variation("told").resource("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "somebody@example.com")


def test_the_budget_is_the_projects_and_tells_before_and_when_it_is_spent(variation: Callable[[str], Synthesis]) -> None:
    assert variation("default").some("AWS::Budgets::Budget") == {}
    budget = variation("told").resource("AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:project$whippet"]}
    told = [each["Notification"] for each in budget["NotificationsWithSubscribers"]]
    assert [(each["NotificationType"], each["Threshold"]) for each in told] == [("ACTUAL", 80), ("FORECASTED", 100)]
    (topic,) = variation("told").resources("AWS::SNS::Topic")
    addresses = [concrete(each["Address"]) for part in budget["NotificationsWithSubscribers"] for each in part["Subscribers"]]
    assert addresses == [topic, topic]


def test_everything_that_bears_tags_bears_the_one_that_the_budget_looks_for(variation: Callable[[str], Synthesis]) -> None:
    tagged = [each["Properties"]["Tags"] for each in variation("everything").template["Resources"].values() if "Tags" in each["Properties"]]
    assert len(tagged) > 30
    assert all({"Key": "project", "Value": "whippet"} in each for each in map(as_list, tagged))


def as_list(tags: Any) -> list[dict[str, Any]]:
    return tags if isinstance(tags, list) else [{"Key": key, "Value": value} for key, value in tags.items()]


def test_the_dashboard_shows_each_thing_of_the_deployment(variation: Callable[[str], Synthesis]) -> None:
    synthesis = variation("everything")
    board = synthesis.resource("AWS::CloudWatch::Dashboard")
    assert board["DashboardName"] == "whippet"
    body = json.loads(concrete(board["DashboardBody"]))
    titles = [widget["properties"].get("title") for widget in body["widgets"]]
    assert titles == [
        "Alarms",
        "Executions",
        "Processing jobs: machines (%)",
        "Tuning and training jobs: machines (%)",
        "Tuning and training jobs: losses and accuracies",
        "Endpoint: requests",
        "Endpoint: model latency (µs)",
        "Endpoint: machines (%)",
        "API: requests",
        "API: latency (ms)",
        "Functions: errors",
        None,
    ]
    errors = next(each for each in body["widgets"] if each["properties"].get("title") == "Functions: errors")
    assert len(errors["properties"]["metrics"]) == len(synthesis.resources("AWS::Lambda::Function"))
    assert "the deployment's key (on here)" in body["widgets"][-1]["properties"]["markdown"]


def test_jobs_are_searched_for_by_a_part_of_their_names(synthesis: Synthesis) -> None:
    """CloudWatch finds what stands in double quotes only where it is the whole value: no job is called by the project's name alone."""
    body = json.loads(concrete(synthesis.resource("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    metrics = [metric[0] for each in body["widgets"] for metric in each["properties"].get("metrics", [])]
    expressions = [each["expression"] for each in metrics if isinstance(each, dict)]
    terms = [re.fullmatch(r"SEARCH\('\{\"[\w/]+\",(\w+)\} (?:.+ )?(\S+)', 'Average', 60\)", each) for each in expressions]
    assert [(found[1], found[2]) for found in terms if found] == [
        ("Host", "Host=whippet"),
        ("Host", "Host=whippet"),
        ("TrainingJobName", "TrainingJobName=whippet"),
    ]


def test_no_widget_lies_on_another(synthesis: Synthesis) -> None:
    """Widgets fill rows of 24 without one on another."""
    body = json.loads(concrete(synthesis.resource("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    cells = [
        (x, y)
        for each in body["widgets"]
        for x in range(each["x"], each["x"] + each["width"])
        for y in range(each["y"], each["y"] + each["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_jobs_run_in_the_subnets_that_are_named(variation: Callable[[str], Synthesis]) -> None:
    own, given = variation("vpc"), variation("own security group")
    values = own.resource("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    assert [values["SubnetId0"], values["SubnetId1"]] == ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
    assert concrete(values["SecurityGroupId"]) in own.resources("AWS::EC2::SecurityGroup")
    assert given.some("AWS::EC2::SecurityGroup") == {}
    values = given.resource("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    assert values["SecurityGroupId"] == "sg-0123456789abcdef0"


def test_the_security_group_lets_in_its_own_machines_and_out_to_https_only(variation: Callable[[str], Synthesis]) -> None:
    synthesis = variation("vpc")
    (group,) = synthesis.resources("AWS::EC2::SecurityGroup")
    ingress = synthesis.resource("AWS::EC2::SecurityGroupIngress")
    assert concrete(ingress["SourceSecurityGroupId"]) == concrete(ingress["GroupId"]) == group
    egress = synthesis.resource("AWS::EC2::SecurityGroup")["SecurityGroupEgress"]
    assert [(each["CidrIp"], each["FromPort"], each["ToPort"]) for each in listed(egress)] == [("0.0.0.0/0", 443, 443)]
