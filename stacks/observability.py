"""Observability: the alarms, and one dashboard for executions, jobs, endpoint, API and functions.

Runs at synth. Alarms notify the topic when they are raised and when they end. Missing data counts as healthy, because an endpoint without
requests and a state machine without executions have no metrics. The two endpoint alarms also roll back an update: UpdateEndpoint names
them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from constructs import Construct

from stacks.configuration import Config
from stacks.function import Function
from stacks.inference_api import InferenceApi
from stacks.notifications import Notifications
from stacks.operations import Operations
from stacks.state_machine.requests import VARIANT
from stacks.workflow import Workflow

ERROR_RATE = 0.05
"""Share of requests that the model server fails; a new model that gets a tenth of the traffic and fails all of it exceeds this."""
SLOW_MICROSECONDS = 5_000_000
"""API Gateway gives up after 29 s; a photo takes a CPU some 0.2 s."""

COSTS = """**Costs without executions:** the endpoint's instances by the hour, until `endpoint_idle_hours` pass without requests; \
the bucket's objects; the logs; alarms and this dashboard; the deployment's key ({key}) and the firewall ({firewall}), if they are \
enabled.

**Costs of an execution** are estimated before it starts and billed at its end: `executions/<run>/execution.json` in the bucket, and \
[Cost Explorer](https://console.aws.amazon.com/costmanagement/home#/cost-explorer) by the tag `project` = `{project}`.
"""


class Observability(Construct):
    """The alarms and the dashboard."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        config: Config,
        workflow: Workflow,
        operations: Operations,
        api: InferenceApi,
        notifications: Notifications,
    ) -> None:
        """Adds them."""
        super().__init__(scope, id)
        self.config, self.workflow, self.operations, self.api = config, workflow, operations, api
        self.notifications = notifications
        self.alarms = [*self.add_endpoint_alarms(), self.add_api_alarm(), *self.add_execution_alarms(), *self.add_operations_alarms()]
        self.add_dashboard()

    def add_endpoint_alarms(self) -> list[cloudwatch.Alarm]:
        """Two of three minutes: one bad minute does not justify a rollback, and three in a row are long for callers."""
        minutes: dict[str, Any] = {"evaluation_periods": 3, "datapoints_to_alarm": 2}
        errors, latency = self.endpoint_metric("Invocation5XXErrors", "Average"), self.endpoint_metric("ModelLatency", "p95")
        return [
            self.add_alarm("endpoint-errors", errors, ERROR_RATE, "The model server fails requests", **minutes),
            self.add_alarm("endpoint-latency", latency, SLOW_MICROSECONDS, "The model is slow (microseconds)", **minutes),
        ]

    def add_api_alarm(self) -> cloudwatch.Alarm:
        """The function handles errors of photo and model; it raises only errors of the deployment."""
        errors = self.api.invoke_endpoint.function.metric_errors(period=Duration.minutes(5), statistic="Sum")
        return self.add_alarm("api-errors", errors, 1, "POST /predict fails because of an error in the deployment", evaluation_periods=1)

    def add_execution_alarms(self) -> list[cloudwatch.Alarm]:
        """A single one raises the alarm."""
        failed, timed_out = self.execution_metric("ExecutionsFailed"), self.execution_metric("ExecutionsTimedOut")
        return [
            self.add_alarm("execution-failed", failed, 1, "An execution failed; its Cause gives the reason", evaluation_periods=1),
            self.add_alarm("execution-timed-out", timed_out, 1, "An execution took longer than its limit", evaluation_periods=1),
        ]

    def add_operations_alarms(self) -> list[cloudwatch.Alarm]:
        """Failures of asynchronous functions would go unnoticed otherwise."""
        reaper = self.operations.reap_execution.function.metric_errors(period=Duration.minutes(5), statistic="Sum")
        waiting = self.notifications.undelivered.metric_approximate_number_of_messages_visible(
            period=Duration.minutes(5), statistic="Maximum"
        )
        untidy = "Resources of a stopped execution could not be cleaned up"
        return [
            self.add_alarm("reap-execution-errors", reaper, 1, untidy, evaluation_periods=1),
            self.add_alarm("undelivered-events", waiting, 1, "An event failed three times and is in the queue", evaluation_periods=1),
        ]

    def add_alarm(self, name: str, metric: cloudwatch.IMetric, threshold: float, description: str, **periods: Any) -> cloudwatch.Alarm:
        """Adds an alarm that is raised at the threshold or above."""
        alarm = cloudwatch.Alarm(
            self,
            "".join(map(str.capitalize, name.split("-"))),
            alarm_name=f"{self.config.project}-{name}",
            alarm_description=description,
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            **periods,
        )
        tell = actions.SnsAction(self.notifications.topic)
        alarm.add_alarm_action(tell)
        alarm.add_ok_action(tell)
        return alarm

    def endpoint_metric(self, metric: str, statistic: str, namespace: str = "AWS/SageMaker") -> cloudwatch.Metric:
        """A metric of the endpoint's one variant, per minute."""
        dimensions = {"EndpointName": self.config.project, "VariantName": VARIANT}
        return cloudwatch.Metric(
            namespace=namespace, metric_name=metric, dimensions_map=dimensions, statistic=statistic, period=Duration.minutes(1)
        )

    def execution_metric(self, metric: str) -> cloudwatch.Metric:
        """A count of executions."""
        machine = {"StateMachineArn": self.workflow.state_machine.state_machine_arn}
        period = Duration.minutes(5)
        return cloudwatch.Metric(namespace="AWS/States", metric_name=metric, dimensions_map=machine, statistic="Sum", period=period)

    def add_dashboard(self) -> cloudwatch.Dashboard:
        """From top to bottom: alarms, executions and jobs, endpoint and API, costs."""
        board = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=self.config.project, default_interval=Duration.days(1))
        board.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(self.alarms), width=24, height=3))
        executions = [self.execution_metric(f"Executions{end}") for end in ("Started", "Succeeded", "Failed", "TimedOut", "Aborted")]
        board.add_widgets(draw_graph("Executions", executions), self.draw_job_graph("Processing jobs", "ProcessingJobs"))
        board.add_widgets(self.draw_job_graph("Tuning and training jobs", "TrainingJobs"), self.draw_objective_graph())
        asked = [self.endpoint_metric(name, "Sum") for name in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors")]
        latency = [self.endpoint_metric("ModelLatency", each) for each in ("p50", "p95", "p99")]
        busy = [self.endpoint_metric(name, "Average", "/aws/sagemaker/Endpoints") for name in ("CPUUtilization", "MemoryUtilization")]
        endpoint = {"Endpoint: requests": asked, "Endpoint: model latency (µs)": latency, "Endpoint: machines (%)": busy}
        board.add_widgets(*draw_row(endpoint))
        api, five = self.api.api, Duration.minutes(5)
        api_graphs = {
            "API: requests": [api.metric_count(period=five), api.metric_client_error(period=five), api.metric_server_error(period=five)],
            "API: latency (ms)": [api.metric_latency(period=five, statistic=each) for each in ("p50", "p99")],
            "Functions: errors": [each.function.metric_errors(period=five) for each in self.list_functions()],
        }
        board.add_widgets(*draw_row(api_graphs))
        board.add_widgets(cloudwatch.TextWidget(markdown=self.describe_costs(), width=24, height=4))
        return board

    def list_functions(self) -> list[Function]:
        """All functions of the deployment."""
        return [*self.workflow.functions.by_state.values(), *self.operations.functions, self.api.invoke_endpoint, self.api.show_page]

    def draw_job_graph(self, title: str, kind: str) -> cloudwatch.GraphWidget:
        """CPU and GPU utilisation of every job; jobs are not known at deploy time, so the dashboard searches for them."""
        metrics = 'MetricName=("CPUUtilization" OR "GPUUtilization" OR "MemoryUtilization")'
        found = self.write_search(kind, "Host", metrics)
        return draw_graph(f"{title}: machines (%)", [plot_search(found)])

    def draw_objective_graph(self) -> cloudwatch.GraphWidget:
        """The metrics that SageMaker reads from the jobs' logs."""
        return draw_graph(
            "Tuning and training jobs: losses and accuracies", [plot_search(self.write_search("TrainingJobs", "TrainingJobName"))]
        )

    def write_search(self, kind: str, dimension: str, metrics: str = "") -> str:
        """Search for jobs whose names contain the project's; CloudWatch matches a quoted name as a whole, an unquoted one by its words."""
        terms = " ".join(filter(None, (metrics, f"{dimension}={self.config.project}")))
        return f"SEARCH('{{\"/aws/sagemaker/{kind}\",{dimension}}} {terms}', 'Average', 60)"

    def describe_costs(self) -> str:
        """The dashboard's text about costs."""
        on = {True: "on here", False: "off here"}
        key, firewall = on[self.config.encryption == "kms"], on[self.config.web_acl]
        return COSTS.format(project=self.config.project, key=key, firewall=firewall)


def plot_search(expression: str) -> cloudwatch.MathExpression:
    """All metrics that the search finds, each under its own name."""
    return cloudwatch.MathExpression(expression=expression, using_metrics={}, label="", period=Duration.minutes(1))


def draw_graph(title: str, metrics: Sequence[cloudwatch.IMetric], width: int = 12) -> cloudwatch.GraphWidget:
    """Lines over time; the dashboard is 24 columns wide."""
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=width)


def draw_row(graphs: Mapping[str, Sequence[cloudwatch.IMetric]]) -> list[cloudwatch.IWidget]:
    """A row of three graphs."""
    return [draw_graph(title, metrics, width=8) for title, metrics in graphs.items()]
