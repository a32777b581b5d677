"""InferenceApi: POST /predict for photos and GET / for the page, on API Gateway.

Runs at synth. Regional, signed requests by default, throttled, logged and traced; photos pass as bytes. Requests that the gateway itself
rejects get the same form of response: {"error": "<one sentence>"}.
"""

from aws_cdk import CfnResource, Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.api_authorization import ApiAuthorization
from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.function import Function, add_log_group
from stacks.permissions import acknowledge, acknowledge_inline_policy, allow, explain, resource_arn
from stacks.tidying import NEW_NAMES, allow_reading_deployments
from stacks.web_acl import WebAcl
from training.contract.photos import CONTENT_TYPES

STAGE = "v1"

GATEWAY_SENTENCES = {
    apigateway.ResponseType.DEFAULT_4_XX: "$context.error.messageString",
    apigateway.ResponseType.DEFAULT_5_XX: '"the service failed to answer; try again"',
    apigateway.ResponseType.REQUEST_TOO_LARGE: '"the body is too large; at most 4500000 bytes are taken, send a smaller copy"',
    apigateway.ResponseType.THROTTLED: '"too many requests; try again in a moment"',
}

NO_WEB_ACL = "The stage limits the requests of all callers together; the knob `web_acl=true` adds a firewall, at a monthly price."
STAGE_FINDINGS = {
    "NIST.800.53.R5-APIGWCacheEnabledAndEncrypted": "Each request has a different photo, so cached responses would never be reused.",
    "NIST.800.53.R5-APIGWSSLEnabled": "API Gateway calls Lambda functions with its own signature, and no HTTP server behind the"
    " stage would check a client certificate.",
}
"""Finding of the checks -> why it is accepted for the stage."""


class InferenceApi(Construct):
    """The route to the endpoint. It exists before the endpoint does, and then responds with 503."""

    def __init__(self, scope: Construct, id: str, *, config: Config, encryption: Encryption) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the API, its two functions and its logs."""
        super().__init__(scope, id)
        self.config, self.encryption = config, encryption
        self.invoke_endpoint = self.add_invoke_endpoint()
        self.show_page = self.add_show_page()
        self.api = self.add_api()
        self.add_routes()

    @property
    def url(self) -> str:
        """URL for POST requests with a photo."""
        return self.api.url_for_path("/predict")

    @property
    def page_url(self) -> str:
        """URL of the page."""
        return self.api.url_for_path("/")

    def add_invoke_endpoint(self) -> Function:
        """Invokes the project's endpoint only; recreates it if it was deleted after `endpoint_idle_hours` without requests."""
        project = self.config.project
        function = Function(
            self,
            "InvokeEndpoint",
            module="invoke_endpoint",
            config=self.config,
            encryption=self.encryption,
            memory_mb=512,
            timeout=Duration.seconds(28),
            environment={"ENDPOINT_NAME": project, **({"MODEL_PACKAGE_GROUP": project} if self.config.endpoint_idle_hours else {})},
        )
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{project}")
        allow(function.role, ["sagemaker:InvokeEndpoint"], endpoint, why="It sends photos to the endpoint.")
        if self.config.endpoint_idle_hours:
            self.allow_waking(function.role)
        return function

    def allow_waking(self, role: iam.Role) -> None:
        """Needed only if idle endpoints are deleted."""
        project = self.config.project
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{project}")
        configs = resource_arn(self, "sagemaker", f"endpoint-config/{project}-*")
        why = "A request recreates an endpoint that was deleted while idle."
        allow(role, ["sagemaker:CreateEndpoint"], endpoint, configs, why=why, why_wildcard=NEW_NAMES)
        allow(role, ["sagemaker:AddTags"], endpoint, why="The recreated endpoint gets the tags of the first one.")
        allow_reading_deployments(role, project, why="It recreates the endpoint with the newest deployed model.")
        self.encryption.allow_storage(role)

    def add_show_page(self) -> Function:
        """Responds with one HTML file."""
        return Function(
            self,
            "ShowPage",
            module="show_page",
            config=self.config,
            encryption=self.encryption,
            memory_mb=128,
            timeout=Duration.seconds(10),
            environment={},
        )

    def add_api(self) -> apigateway.RestApi:
        """The API and its only stage."""
        account = self.add_log_permission()
        log_group = add_log_group(
            self, "AccessLogs", f"/aws/apigateway/{self.config.project}", config=self.config, encryption=self.encryption
        )
        api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=self.config.project,
            description="Whippet: POST /predict with a photo as the body answers its classes; GET / is a page that does so",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            binary_media_types=list(CONTENT_TYPES),
            cloud_watch_role=False,
            deploy_options=self.stage_options(log_group),
        )
        api.node.try_remove_child("Endpoint")  # CDK's own output; the stack defines its outputs itself
        for response_type, sentence in GATEWAY_SENTENCES.items():
            api.add_gateway_response(
                response_type.response_type,
                type=response_type,
                templates={"application/json": f'{{"error": {sentence}}}'},
                response_headers={"X-Content-Type-Options": "'nosniff'"},
            )
        api.deployment_stage.node.add_dependency(account)
        acknowledge(api, "AwsSolutions-APIG2", "The body is a photo, which has no JSON schema; invoke_endpoint checks type and size.")
        for finding, reason in STAGE_FINDINGS.items():
            acknowledge(api.deployment_stage, finding, reason)
        self.add_firewall(api)
        return api

    def add_firewall(self, api: apigateway.RestApi) -> None:
        """Adds the firewall if the configuration enables it."""
        if self.config.web_acl:
            WebAcl(self, "WebAcl", config=self.config, encryption=self.encryption, stage=api.deployment_stage)
            return
        for finding in ("AwsSolutions-APIG3", "NIST.800.53.R5-APIGWAssociatedWithWAF"):
            acknowledge(api.deployment_stage, finding, NO_WEB_ACL)

    def stage_options(self, log_group: logs.LogGroup) -> apigateway.StageOptions:
        """One access log line per request; bodies are never logged."""
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
        """API Gateway has one log role per account and region, so it is retained when this stack is deleted."""
        reads = ["logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:GetLogEvents", "logs:FilterLogEvents"]
        actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", *reads]
        every_group = resource_arn(self, "logs", "*")
        # An inline policy: a separate one would be deleted with the stack, and every API of the account would stop logging.
        document = iam.PolicyDocument(statements=[iam.PolicyStatement(actions=actions, resources=[every_group])])
        role = acknowledge_inline_policy(
            iam.Role(self, "LogRole", assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"), inline_policies={"WriteLogs": document})
        )
        why = "API Gateway writes the logs of all APIs of the account with this role."
        explain(role, actions, every_group, why=why, why_wildcard="API Gateway names the log groups, and this role serves all APIs.")
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        account.node.add_dependency(role)
        for kept in (role, account):
            kept.apply_removal_policy(RemovalPolicy.RETAIN)
        return account

    def add_routes(self) -> None:
        """The two methods."""
        authorization = ApiAuthorization(self, "Authorization", config=self.config, api=self.api)
        show = apigateway.LambdaIntegration(self.show_page.function, allow_test_invoke=False)
        predict = apigateway.LambdaIntegration(self.invoke_endpoint.function, allow_test_invoke=False)
        authorization.explain(self.api.root.add_method("GET", show, **authorization.options))
        authorization.explain(self.api.root.add_resource("predict").add_method("POST", predict, **authorization.options))
