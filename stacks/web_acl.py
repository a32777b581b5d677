"""WebAcl: a web application firewall in front of the API's stage.

Runs at synth, inside InferenceApi, if the configuration enables it. AWS's managed rules check the request; rules about the body only count,
because a photo's bytes can match any pattern, and the function checks type and size itself.
"""

from typing import Any

from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.function import add_log_group
from stacks.permissions import resource_arn

SECONDS = 300
"""AWS counts the requests of an address over five minutes."""

BODY_RULES = ["SizeRestrictions_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "CrossSiteScripting_BODY"]
"""Of the common rules: the first rejects any body above 8 KB, the others search it for text."""

KNOWN_BAD_BODY_RULES = ["JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"]


class WebAcl(Construct):
    """The rules, their association with the stage, and the log of rejected requests."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        config: Config,
        encryption: Encryption,
        stage: apigateway.Stage,
    ) -> None:
        """Adds them."""
        super().__init__(scope, id)
        self.config = config
        acl = wafv2.CfnWebACL(
            self,
            "Acl",
            name=config.project,
            description=f"Before the API of {config.project}",
            scope="REGIONAL",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            rules=self.write_rules(),
            visibility_config=enable_metrics(config.project),
        )
        wafv2.CfnWebACLAssociation(self, "Association", resource_arn=stage.stage_arn, web_acl_arn=acl.attr_arn)
        name = f"aws-waf-logs-{config.project}"
        add_log_group(self, "Logs", name, config=config, encryption=encryption)
        group = resource_arn(self, "logs", f"log-group:{name}")
        secrets = [
            wafv2.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": each}) for each in ("authorization", "x-api-key")
        ]
        log = wafv2.CfnLoggingConfiguration(
            self, "Logging", resource_arn=acl.attr_arn, log_destination_configs=[group], redacted_fields=secrets
        )
        log.node.add_dependency(self.node.find_child("Logs"))

    def write_rules(self) -> list[wafv2.CfnWebACL.RuleProperty]:
        """In the order of evaluation: cheap rules that reject most requests come first."""
        each_address = wafv2.CfnWebACL.RateBasedStatementProperty(
            limit=max(100, self.config.api_rate_limit * SECONDS), aggregate_key_type="IP", evaluation_window_sec=SECONDS
        )
        statement = wafv2.CfnWebACL.StatementProperty
        refuse = wafv2.CfnWebACL.RuleActionProperty(block={})
        limit = write_rule("LimitEachAddress", 0, statement(rate_based_statement=each_address), action=refuse)
        groups = {
            "AWSManagedRulesAmazonIpReputationList": [],
            "AWSManagedRulesCommonRuleSet": BODY_RULES,
            "AWSManagedRulesKnownBadInputsRuleSet": KNOWN_BAD_BODY_RULES,
        }
        as_they_are = wafv2.CfnWebACL.OverrideActionProperty(none={})
        return [limit] + [
            write_rule(name, number, statement(managed_rule_group_statement=managed_group(name, only_counted)), override_action=as_they_are)
            for number, (name, only_counted) in enumerate(groups.items(), start=1)
        ]


def write_rule(name: str, priority: int, statement: wafv2.CfnWebACL.StatementProperty, **action: Any) -> wafv2.CfnWebACL.RuleProperty:
    """One rule, with a metric of the same name."""
    return wafv2.CfnWebACL.RuleProperty(name=name, priority=priority, statement=statement, visibility_config=enable_metrics(name), **action)


def managed_group(name: str, only_counted: list[str]) -> wafv2.CfnWebACL.ManagedRuleGroupStatementProperty:
    """AWS's rule group of this name, some of whose rules only count."""
    count = wafv2.CfnWebACL.RuleActionProperty(count={})
    overrides = [wafv2.CfnWebACL.RuleActionOverrideProperty(name=each, action_to_use=count) for each in only_counted]
    return wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(vendor_name="AWS", name=name, rule_action_overrides=overrides or None)


def enable_metrics(name: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    """Enables a metric and sampled requests."""
    return wafv2.CfnWebACL.VisibilityConfigProperty(cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True)
