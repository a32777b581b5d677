"""The API in each of its kinds: who may call it, what it refuses in which words, what stands before it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.stacks.policies import concrete
from tests.fixtures.stacks.synthesis import Synthesis
from training.contract.photos import CONTENT_TYPES


def test_the_api_is_regional_signed_throttled_logged_and_traced(synthesis: Synthesis) -> None:
    api = synthesis.resource("AWS::ApiGateway::RestApi")
    stage = synthesis.resource("AWS::ApiGateway::Stage")
    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert api["BinaryMediaTypes"] == list(CONTENT_TYPES)
    assert stage["StageName"] == "v1"
    assert stage["TracingEnabled"] is True
    assert "AccessLogSetting" in stage
    assert stage["MethodSettings"][0]["ThrottlingRateLimit"] == 20
    assert stage["MethodSettings"][0]["DataTraceEnabled"] is False


@pytest.mark.parametrize(
    ("name", "authorization", "keyed"),
    [("default", "AWS_IAM", False), ("API key", "NONE", True), ("everything", "COGNITO_USER_POOLS", False), ("open", "NONE", False)],
)
def test_the_api_has_two_methods_that_ask_for_the_same_proof(
    variation: Callable[[str], Synthesis], name: str, authorization: str, keyed: bool
) -> None:
    methods = [each["Properties"] for each in variation(name).resources("AWS::ApiGateway::Method").values()]
    asked = sorted((each["HttpMethod"], each["AuthorizationType"], each.get("ApiKeyRequired", False)) for each in methods)
    assert asked == [("GET", authorization, keyed), ("POST", authorization, keyed)]


def test_an_api_key_belongs_to_a_plan_with_limits_for_this_stage(variation: Callable[[str], Synthesis]) -> None:
    synthesis = variation("API key")
    plan = synthesis.resource("AWS::ApiGateway::UsagePlan")
    assert plan["Throttle"] == {"BurstLimit": 40, "RateLimit": 20}
    assert plan["Quota"] == {"Limit": 100_000, "Period": "DAY"}
    (stage,) = plan["ApiStages"]
    assert concrete(stage["Stage"]) in synthesis.resources("AWS::ApiGateway::Stage")
    bound = synthesis.resource("AWS::ApiGateway::UsagePlanKey")
    assert concrete(bound["KeyId"]) in synthesis.resources("AWS::ApiGateway::ApiKey")
    assert "ApiKeyId" in synthesis.template["Outputs"]


def test_a_user_pool_takes_invited_people_with_a_second_factor(variation: Callable[[str], Synthesis]) -> None:
    synthesis = variation("everything")
    ((name, pool),) = synthesis.resources("AWS::Cognito::UserPool").items()
    assert pool["DeletionPolicy"] == "Retain"
    assert pool["Properties"]["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert pool["Properties"]["MfaConfiguration"] == "ON"
    assert pool["Properties"]["EnabledMfas"] == ["SOFTWARE_TOKEN_MFA"]
    assert [concrete(each) for each in synthesis.resource("AWS::ApiGateway::Authorizer")["ProviderARNs"]] == [name]
    assert {"UserPoolId", "UserPoolClientId"} <= set(synthesis.template["Outputs"])


def test_the_firewall_lets_photos_through_and_stops_floods(variation: Callable[[str], Synthesis]) -> None:
    """AWS's common rules refuse any body above 8 KB unless told only to count it."""
    synthesis = variation("open")
    rules = {each["Name"]: each["Statement"] for each in synthesis.resource("AWS::WAFv2::WebACL")["Rules"]}
    common = rules["AWSManagedRulesCommonRuleSet"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]
    assert {each["Name"] for each in common if each["ActionToUse"] == {"Count": {}}} >= {"SizeRestrictions_BODY", "CrossSiteScripting_BODY"}
    assert rules["LimitEachAddress"]["RateBasedStatement"] == {"Limit": 6000, "AggregateKeyType": "IP", "EvaluationWindowSec": 300}
    stage = concrete(synthesis.resource("AWS::WAFv2::WebACLAssociation")["ResourceArn"])
    assert stage.endswith(f"/stages/{next(iter(synthesis.resources('AWS::ApiGateway::Stage')))}")


def test_the_firewalls_log_holds_no_key_and_no_token(variation: Callable[[str], Synthesis]) -> None:
    log: dict[str, Any] = variation("open").resource("AWS::WAFv2::LoggingConfiguration")
    assert {each["SingleHeader"]["Name"] for each in log["RedactedFields"]} == {"authorization", "x-api-key"}
    (destination,) = log["LogDestinationConfigs"]
    assert concrete(destination) == "arn:aws:logs:us-east-1:000000000000:log-group:aws-waf-logs-whippet", "AWS takes no other prefix"


def test_the_gateways_own_refusals_are_json_with_an_error(synthesis: Synthesis) -> None:
    for each in synthesis.resources("AWS::ApiGateway::GatewayResponse").values():
        template = each["Properties"]["ResponseTemplates"]["application/json"]
        assert json.loads(template.replace("$context.error.messageString", '"Forbidden"'))["error"]
