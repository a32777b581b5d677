"""ApiAuthorization: how callers of the API prove who they are - signed requests, an API key, a user pool, or not at all.

Runs at synth, inside InferenceApi. Every method takes the same proof; the page too, because its photos go to the same place.
"""

from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from stacks.configuration import Config
from stacks.permissions import acknowledge

DAILY_REQUESTS = 100_000
"""Of one API key: a day of slightly more than one photo a second."""

PROGRAMS = "Callers sign with IAM; a user pool is for people, and these callers are programs."
KEYS = "The configuration asks for API keys, which API Gateway checks before it calls anything: they tell callers apart and limit each."
OPEN = "The configuration opens the API to everybody."


class ApiAuthorization(Construct):
    """`options` are the methods' own; what else the kind needs - key and plan, or user pool - stands here."""

    def __init__(self, scope: Construct, id: str, *, config: Config, api: apigateway.RestApi) -> None:  # noqa: A002 - CDK's own name for it
        """Adds what the configuration's kind needs."""
        super().__init__(scope, id)
        self.config, self.api = config, api
        kinds = {"iam": self.signed, "api_key": self.keyed, "cognito": self.pooled, "none": self.open}
        self.options: dict[str, Any] = kinds[config.api_authorization]()

    def explain(self, method: apigateway.Method) -> None:
        """Why a method has no user pool, and in some kinds no authorizer at all."""
        kind = self.config.api_authorization
        if kind != "cognito":
            acknowledge(method, "AwsSolutions-COG4", {"iam": PROGRAMS, "api_key": KEYS, "none": OPEN}[kind])
        if kind in ("api_key", "none"):
            acknowledge(method, "AwsSolutions-APIG4", KEYS if kind == "api_key" else OPEN)

    def signed(self) -> dict[str, Any]:
        """AWS's own signature; who may call is a matter of IAM: execute-api:Invoke."""
        return {"authorization_type": apigateway.AuthorizationType.IAM}

    def open(self) -> dict[str, Any]:
        """No proof."""
        return {"authorization_type": apigateway.AuthorizationType.NONE}

    def keyed(self) -> dict[str, Any]:
        """A key in the header x-api-key, of a plan with a limit for each key."""
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
        output(self, "ApiKeyId", key.key_id, "Its value: aws apigateway get-api-key --include-value --api-key …")
        return {"authorization_type": apigateway.AuthorizationType.NONE, "api_key_required": True}

    def pooled(self) -> dict[str, Any]:
        """People whom an administrator has invited; a caller sends the id token of a sign-in in the header Authorization."""
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
        output(self, "UserPoolId", pool.user_pool_id, "Invite people here")
        output(self, "UserPoolClientId", client.user_pool_client_id, "People sign in through it")
        authorizer = apigateway.CognitoUserPoolsAuthorizer(self, "Authorizer", cognito_user_pools=[pool])
        return {"authorization_type": apigateway.AuthorizationType.COGNITO, "authorizer": authorizer}

    def add_user_pool(self) -> cognito.UserPool:
        """Long passwords, a second factor, and Cognito's own watch for stolen ones; kept when the stack goes, as people are in it."""
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


def output(construct: Construct, name: str, value: str, description: str) -> None:
    """An output of the stack under exactly this name."""
    CfnOutput(construct, name, value=value, description=description).override_logical_id(name)
