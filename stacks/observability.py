"""Observability: the alarms, and one dashboard on which executions, jobs, endpoint, API and functions stand together.

Runs at synth. Alarms tell the topic of the deployment when they are raised and when they are over; where nothing is measured, all is well,
because an endpoint that nobody asks and a machine that does not run measure nothing. The two of the endpoint also take an update back:
UpdateEndpoint names them.
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
"""Part of the requests that the model server fails; a new model that gets a tenth of the traffic and fails all of it is above that."""
SLOW_MICROSECONDS = 5_000_000
"""API Gateway gives up after 29 s; a photo takes a CPU some 0.2 s."""

COSTS = """**What costs while nothing runs:** the endpoint's machines, by the hour, unless nobody asks for `endpoint_idle_hours`; \
what the bucket holds; the logs; alarms and this dashboard; a key of your own ({key}) and the firewall ({firewall}), where they are \
turned on.

**What an execution costs** is estimated before it starts and billed at its end: `executions/<run>/execution.json` in the bucket, and \
[Cost Explorer](https://console.aws.amazon.com/costmanagement/home#/cost-explorer) by the tag `project` = `{project}`.
"""


class Observability(Construct):
    """What a person looks at, and what calls that person."""

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
        """Adds alarms and dashboard."""
        super().__init__(scope, id)
        self.config, self.workflow, self.operations, self.api = config, workflow, operations, api
        self.notifications = notifications
        self.alarms = [*self.endpoint_alarms(), self.api_alarm(), *self.execution_alarms(), *self.operations_alarms()]
        self.add_dashboard()

    def endpoint_alarms(self) -> list[cloudwatch.Alarm]:
        """Two of three minutes: one bad minute is no reason to take a model back, and three are long for who waits."""
        minutes: dict[str, Any] = {"evaluation_periods": 3, "datapoints_to_alarm": 2}
        errors, latency = self.of_endpoint("Invocation5XXErrors", "Average"), self.of_endpoint("ModelLatency", "p95")
        return [
            self.alarm("endpoint-errors", errors, ERROR_RATE, "The model server fails requests", **minutes),
            self.alarm("endpoint-latency", latency, SLOW_MICROSECONDS, "The model is slow (microseconds)", **minutes),
        ]

    def api_alarm(self) -> cloudwatch.Alarm:
        """The function that asks the endpoint answers for what photo and model do wrong; it raises only what the deployment does."""
        errors = self.api.invoke_endpoint.function.metric_errors(period=Duration.minutes(5), statistic="Sum")
        return self.alarm("api-errors", errors, 1, "POST /predict fails by a fault of the deployment", evaluation_periods=1)

    def execution_alarms(self) -> list[cloudwatch.Alarm]:
        """One is one too many."""
        failed, timed_out = self.of_executions("ExecutionsFailed"), self.of_executions("ExecutionsTimedOut")
        return [
            self.alarm("execution-failed", failed, 1, "An execution failed; its Cause says why in one sentence", evaluation_periods=1),
            self.alarm("execution-timed-out", timed_out, 1, "An execution took longer than its limit", evaluation_periods=1),
        ]

    def operations_alarms(self) -> list[cloudwatch.Alarm]:
        """What nobody waits for fails unseen otherwise."""
        reaper = self.operations.reap_execution.function.metric_errors(period=Duration.minutes(5), statistic="Sum")
        waiting = self.notifications.undelivered.metric_approximate_number_of_messages_visible(
            period=Duration.minutes(5), statistic="Maximum"
        )
        untidy = "What a stopped execution left could not be tidied up"
        return [
            self.alarm("reap-execution-errors", reaper, 1, untidy, evaluation_periods=1),
            self.alarm("undelivered-events", waiting, 1, "An event failed three times and lies in the queue", evaluation_periods=1),
        ]

    def alarm(self, name: str, metric: cloudwatch.IMetric, threshold: float, description: str, **periods: Any) -> cloudwatch.Alarm:
        """Raised at the threshold or above."""
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

    def of_endpoint(self, metric: str, statistic: str, namespace: str = "AWS/SageMaker") -> cloudwatch.Metric:
        """A metric of the endpoint's one variant, minute by minute."""
        dimensions = {"EndpointName": self.config.project, "VariantName": VARIANT}
        return cloudwatch.Metric(
            namespace=namespace, metric_name=metric, dimensions_map=dimensions, statistic=statistic, period=Duration.minutes(1)
        )

    def of_executions(self, metric: str) -> cloudwatch.Metric:
        """How many executions."""
        machine = {"StateMachineArn": self.workflow.state_machine.state_machine_arn}
        period = Duration.minutes(5)
        return cloudwatch.Metric(namespace="AWS/States", metric_name=metric, dimensions_map=machine, statistic="Sum", period=period)

    def add_dashboard(self) -> cloudwatch.Dashboard:
        """From above to below: is anything wrong, what runs, what answers, what it costs."""
        board = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=self.config.project, default_interval=Duration.days(1))
        board.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(self.alarms), width=24, height=3))
        executions = [self.of_executions(f"Executions{end}") for end in ("Started", "Succeeded", "Failed", "TimedOut", "Aborted")]
        board.add_widgets(graph("Executions", executions), self.job_graph("Processing jobs", "ProcessingJobs"))
        board.add_widgets(self.job_graph("Tuning and training jobs", "TrainingJobs"), self.objective_graph())
        asked = [self.of_endpoint(name, "Sum") for name in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors")]
        latency = [self.of_endpoint("ModelLatency", each) for each in ("p50", "p95", "p99")]
        busy = [self.of_endpoint(name, "Average", "/aws/sagemaker/Endpoints") for name in ("CPUUtilization", "MemoryUtilization")]
        endpoint = {"Endpoint: requests": asked, "Endpoint: model latency (µs)": latency, "Endpoint: machines (%)": busy}
        board.add_widgets(*thirds(endpoint))
        api, five = self.api.api, Duration.minutes(5)
        api_graphs = {
            "API: requests": [api.metric_count(period=five), api.metric_client_error(period=five), api.metric_server_error(period=five)],
            "API: latency (ms)": [api.metric_latency(period=five, statistic=each) for each in ("p50", "p99")],
            "Functions: errors": [each.function.metric_errors(period=five) for each in self.functions()],
        }
        board.add_widgets(*thirds(api_graphs))
        board.add_widgets(cloudwatch.TextWidget(markdown=self.costs(), width=24, height=4))
        return board

    def functions(self) -> list[Function]:
        """All of the deployment."""
        return [*self.workflow.functions.by_state.values(), *self.operations.functions, self.api.invoke_endpoint, self.api.show_page]

    def job_graph(self, title: str, kind: str) -> cloudwatch.GraphWidget:
        """Processor and graphics processor of every job: there is no list of jobs at deploy time, so the dashboard searches."""
        metrics = 'MetricName=("CPUUtilization" OR "GPUUtilization" OR "MemoryUtilization")'
        found = self.search(kind, "Host", metrics)
        return graph(f"{title}: machines (%)", [searched(found)])

    def objective_graph(self) -> cloudwatch.GraphWidget:
        """What the jobs print, as SageMaker reads it out of their logs."""
        return graph("Tuning and training jobs: losses and accuracies", [searched(self.search("TrainingJobs", "TrainingJobName"))])

    def search(self, kind: str, dimension: str, metrics: str = "") -> str:
        """The jobs whose names hold the project's: in quotes a name is found only whole, without them by its words."""
        terms = " ".join(filter(None, (metrics, f"{dimension}={self.config.project}")))
        return f"SEARCH('{{\"/aws/sagemaker/{kind}\",{dimension}}} {terms}', 'Average', 60)"

    def costs(self) -> str:
        """The text about them."""
        on = {True: "on here", False: "off here"}
        key, firewall = on[self.config.encryption == "kms"], on[self.config.web_acl]
        return COSTS.format(project=self.config.project, key=key, firewall=firewall)


def searched(expression: str) -> cloudwatch.MathExpression:
    """All that CloudWatch finds, each under its own name."""
    return cloudwatch.MathExpression(expression=expression, using_metrics={}, label="", period=Duration.minutes(1))


def graph(title: str, metrics: Sequence[cloudwatch.IMetric], width: int = 12) -> cloudwatch.GraphWidget:
    """Lines over time; the dashboard is 24 wide."""
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=width)


def thirds(graphs: Mapping[str, Sequence[cloudwatch.IMetric]]) -> list[cloudwatch.IWidget]:
    """A row of three."""
    return [graph(title, metrics, width=8) for title, metrics in graphs.items()]
