"""ApiAuthorization: how the API authorises callers - signed requests, an API key, a user pool, or not at all.

Runs at synth, inside InferenceApi. All methods use the same authorisation, the page too, because it posts its photos to the same API.
"""

from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from stacks.configuration import Config
from stacks.permissions import acknowledge

DAILY_REQUESTS = 100_000
"""Per API key: slightly more than one photo per second for a day."""

PROGRAMS = "Callers are programs that sign with IAM; a user pool is for people."
KEYS = "The configuration selects API keys. API Gateway checks the key first; keys identify callers and limit each of them."
OPEN = "The configuration opens the API to all callers."


class ApiAuthorization(Construct):
    """`options` are passed to each method; this construct holds the other resources: key and plan, or user pool."""

    def __init__(self, scope: Construct, id: str, *, config: Config, api: apigateway.RestApi) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the resources of the configured kind."""
        super().__init__(scope, id)
        self.config, self.api = config, api
        kinds = {"iam": self.require_signature, "api_key": self.require_key, "cognito": self.require_user, "none": self.require_nothing}
        self.options: dict[str, Any] = kinds[config.api_authorization]()

    def explain(self, method: apigateway.Method) -> None:
        """Acknowledges that a method has no user pool, and for some kinds no authorizer."""
        kind = self.config.api_authorization
        if kind != "cognito":
            acknowledge(method, "AwsSolutions-COG4", {"iam": PROGRAMS, "api_key": KEYS, "none": OPEN}[kind])
        if kind in ("api_key", "none"):
            acknowledge(method, "AwsSolutions-APIG4", KEYS if kind == "api_key" else OPEN)

    def require_signature(self) -> dict[str, Any]:
        """AWS Signature Version 4; IAM policies with execute-api:Invoke decide who may call."""
        return {"authorization_type": apigateway.AuthorizationType.IAM}

    def require_nothing(self) -> dict[str, Any]:
        """No authorisation."""
        return {"authorization_type": apigateway.AuthorizationType.NONE}

    def require_key(self) -> dict[str, Any]:
        """A key in the header x-api-key; the usage plan limits each key."""
        name = self.config.project
        key = apigateway.ApiKey(self, "Key", api_key_name=name, description=f"POST /predict of {name}")
        plan = apigateway.UsagePlan(
            self,
            "Plan",
            name=name,
            api_stages=[apigateway.UsagePlanPerApiStage(api=self.api, stage=self.api.deployment_stage)],
            throttle=apigateway.ThrottleSettings(rate_limit=self.config.api_rate_limit, burst_limit=self.config.api_burst_limit),
            quota=apigateway.QuotaSettings(limit=DAILY_REQUESTS, period=apigateway.Period.DAY),
        )
        plan.add_api_key(key)
        add_output(self, "ApiKeyId", key.key_id, "Read its value with: aws apigateway get-api-key --include-value --api-key …")
        return {"authorization_type": apigateway.AuthorizationType.NONE, "api_key_required": True}

    def require_user(self) -> dict[str, Any]:
        """Users that an administrator invites; a caller sends the id token of a sign-in in the header Authorization."""
        pool = self.add_user_pool()
        client = pool.add_client(
            "Client",
            user_pool_client_name=self.config.project,
            auth_flows=cognito.AuthFlow(user_srp=True),
            disable_o_auth=True,
            prevent_user_existence_errors=True,
            enable_token_revocation=True,
            id_token_validity=Duration.hours(1),
            access_token_validity=Duration.hours(1),
            refresh_token_validity=Duration.days(1),
        )
        add_output(self, "UserPoolId", pool.user_pool_id, "Invite users here")
        add_output(self, "UserPoolClientId", client.user_pool_client_id, "Users sign in with this client")
        authorizer = apigateway.CognitoUserPoolsAuthorizer(self, "Authorizer", cognito_user_pools=[pool])
        return {"authorization_type": apigateway.AuthorizationType.COGNITO, "authorizer": authorizer}

    def add_user_pool(self) -> cognito.UserPool:
        """Long passwords, a second factor and Cognito's threat protection; retained when the stack is deleted, because it holds users."""
        return cognito.UserPool(
            self,
            "UserPool",
            user_pool_name=self.config.project,
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            password_policy=cognito.PasswordPolicy(
                min_length=14, require_digits=True, require_lowercase=True, require_uppercase=True, require_symbols=True
            ),
            mfa=cognito.Mfa.REQUIRED,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
            feature_plan=cognito.FeaturePlan.PLUS,
            standard_threat_protection_mode=cognito.StandardThreatProtectionMode.FULL_FUNCTION,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
        )


def add_output(construct: Construct, name: str, value: str, description: str) -> None:
    """Adds an output of the stack with exactly this name."""
    CfnOutput(construct, name, value=value, description=description).override_logical_id(name)
