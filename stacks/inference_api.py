"""InferenceApi: POST /predict for photos and GET / for the page, on API Gateway.

Runs at synth. Regional, signed requests by default, throttled, logged and traced; photos pass as bytes. What the gateway itself refuses is
answered in the words of the product too: {"error": "<one sentence>"}.
"""

from typing import Any

from aws_cdk import CfnResource, Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.configuration import Config
from stacks.function import Function
from stacks.permissions import acknowledge, allow, explain_wildcards, resource_arn

STAGE = "v1"
PHOTO_TYPES = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff"]

GATEWAY_SENTENCES = {
    apigateway.ResponseType.DEFAULT_4_XX: "$context.error.messageString",
    apigateway.ResponseType.DEFAULT_5_XX: '"the service failed to answer; try again"',
    apigateway.ResponseType.REQUEST_TOO_LARGE: '"the body is too large; at most 4500000 bytes are taken, send a smaller copy"',
    apigateway.ResponseType.THROTTLED: '"too many requests; try again in a moment"',
}


class InferenceApi(Construct):
    """The route to the endpoint. It stands before there is an endpoint, and then answers 503."""

    def __init__(self, scope: Construct, id: str, *, config: Config) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the API, its two functions and its logs."""
        super().__init__(scope, id)
        self.config = config
        self.invoke_endpoint = self.add_invoke_endpoint()
        self.show_page = self.add_show_page()
        self.api = self.add_api()
        self.add_routes()

    @property
    def url(self) -> str:
        """Where photos are posted to."""
        return self.api.url_for_path("/predict")

    @property
    def page_url(self) -> str:
        """Where the page is."""
        return self.api.url_for_path("/")

    def add_invoke_endpoint(self) -> Function:
        """Asks the project's endpoint and no other."""
        function = Function(
            self,
            "InvokeEndpoint",
            module="invoke_endpoint",
            config=self.config,
            memory_mb=512,
            timeout=Duration.seconds(28),
            environment={"ENDPOINT_NAME": self.config.project},
        )
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{self.config.project}")
        allow(function.role, ["sagemaker:InvokeEndpoint"], endpoint)
        return function

    def add_show_page(self) -> Function:
        """Answers with one file."""
        return Function(
            self, "ShowPage", module="show_page", config=self.config, memory_mb=128, timeout=Duration.seconds(10), environment={}
        )

    def add_api(self) -> apigateway.RestApi:
        """The API and its only stage."""
        account = self.add_log_permission()
        log_group = logs.LogGroup(
            self,
            "AccessLogs",
            log_group_name=f"/aws/apigateway/{self.config.project}",
            retention=self.config.log_retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=self.config.project,
            description="Whippet: POST /predict with a photo as the body answers its classes; GET / is a page that does so",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            binary_media_types=PHOTO_TYPES,
            cloud_watch_role=False,
            deploy_options=self.stage_options(log_group),
        )
        api.node.try_remove_child("Endpoint")  # an output of CDK's own; the stack has its own outputs
        for response_type, sentence in GATEWAY_SENTENCES.items():
            api.add_gateway_response(
                response_type.response_type,
                type=response_type,
                templates={"application/json": f'{{"error": {sentence}}}'},
                response_headers={"X-Content-Type-Options": "'nosniff'"},
            )
        api.deployment_stage.node.add_dependency(account)
        acknowledge(api, "AwsSolutions-APIG2", "The body is a photo, for which no schema exists; invoke_endpoint checks type and size.")
        acknowledge(
            api.deployment_stage,
            "AwsSolutions-APIG3",
            "Callers sign their requests and the stage throttles them; a web ACL costs more than all the rest of the API.",
        )
        return api

    def stage_options(self, log_group: logs.LogGroup) -> apigateway.StageOptions:
        """One access log line a request; bodies are never logged."""
        return apigateway.StageOptions(
            stage_name=STAGE,
            access_log_destination=apigateway.LogGroupLogDestination(log_group),
            access_log_format=apigateway.AccessLogFormat.json_with_standard_fields(
                caller=False,
                http_method=True,
                ip=True,
                protocol=True,
                request_time=True,
                resource_path=True,
                response_length=True,
                status=True,
                user=True,
            ),
            logging_level=apigateway.MethodLoggingLevel.ERROR,
            data_trace_enabled=False,
            metrics_enabled=True,
            tracing_enabled=True,
            throttling_rate_limit=self.config.api_rate_limit,
            throttling_burst_limit=self.config.api_burst_limit,
        )

    def add_log_permission(self) -> CfnResource:
        """API Gateway has one log role for the whole account and region, so it stays when this stack goes."""
        reads = ["logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:GetLogEvents", "logs:FilterLogEvents"]
        actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", *reads]
        every_group = resource_arn(self, "logs", "*")
        # Within the role: a policy beside it would go with the stack, and every API of the account would stop logging.
        document = iam.PolicyDocument(statements=[iam.PolicyStatement(actions=actions, resources=[every_group])])
        role = iam.Role(
            self, "LogRole", assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"), inline_policies={"WriteLogs": document}
        )
        explain_wildcards(role, actions, every_group, why="API Gateway names the log groups, and this role serves all APIs.")
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        account.node.add_dependency(role)
        for kept in (role, account):
            kept.apply_removal_policy(RemovalPolicy.RETAIN)
        return account

    def add_routes(self) -> None:
        """The two methods."""
        options: dict[str, Any] = {"authorization_type": apigateway.AuthorizationType.IAM}
        if self.config.api_authorization == "none":
            options = {"authorization_type": apigateway.AuthorizationType.NONE}
        show = self.api.root.add_method("GET", apigateway.LambdaIntegration(self.show_page.function, allow_test_invoke=False), **options)
        predict = self.api.root.add_resource("predict").add_method(
            "POST", apigateway.LambdaIntegration(self.invoke_endpoint.function, allow_test_invoke=False), **options
        )
        for method in (show, predict):
            acknowledge(method, "AwsSolutions-COG4", "Callers sign with IAM; a user pool is for people, and these callers are programs.")
            if self.config.api_authorization == "none":
                acknowledge(method, "AwsSolutions-APIG4", "The configuration opens the API to everybody.")
