"""WebAcl: a web application firewall before the API's stage.

Runs at synth, inside InferenceApi, where the configuration asks for one. AWS's managed rules look at the request; of the body they only
count, because a photo's bytes look like anything, and the function checks type and size itself.
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
"""AWS counts a caller's requests over five minutes."""

BODY_RULES = ["SizeRestrictions_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "CrossSiteScripting_BODY"]
"""Of the common rules: the first refuses any body above 8 KB, the others look for text in it."""

KNOWN_BAD_BODY_RULES = ["JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"]


class WebAcl(Construct):
    """The rules, their association with the stage, and the log of what they refused."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        config: Config,
        encryption: Encryption,
        stage: apigateway.Stage,
    ) -> None:
        """Adds the three."""
        super().__init__(scope, id)
        self.config = config
        acl = wafv2.CfnWebACL(
            self,
            "Acl",
            name=config.project,
            description=f"Before the API of {config.project}",
            scope="REGIONAL",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            rules=self.rules(),
            visibility_config=counted(config.project),
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

    def rules(self) -> list[wafv2.CfnWebACL.RuleProperty]:
        """In the order in which they are asked: the cheap ones that refuse most come first."""
        each_address = wafv2.CfnWebACL.RateBasedStatementProperty(
            limit=max(100, self.config.api_rate_limit * SECONDS), aggregate_key_type="IP", evaluation_window_sec=SECONDS
        )
        statement = wafv2.CfnWebACL.StatementProperty
        refuse = wafv2.CfnWebACL.RuleActionProperty(block={})
        limit = rule("LimitEachAddress", 0, statement(rate_based_statement=each_address), action=refuse)
        groups = {
            "AWSManagedRulesAmazonIpReputationList": [],
            "AWSManagedRulesCommonRuleSet": BODY_RULES,
            "AWSManagedRulesKnownBadInputsRuleSet": KNOWN_BAD_BODY_RULES,
        }
        as_they_are = wafv2.CfnWebACL.OverrideActionProperty(none={})
        return [limit] + [
            rule(name, number, statement(managed_rule_group_statement=managed(name, only_counted)), override_action=as_they_are)
            for number, (name, only_counted) in enumerate(groups.items(), start=1)
        ]


def rule(name: str, priority: int, statement: wafv2.CfnWebACL.StatementProperty, **action: Any) -> wafv2.CfnWebACL.RuleProperty:
    """One rule with a metric of its own name."""
    return wafv2.CfnWebACL.RuleProperty(name=name, priority=priority, statement=statement, visibility_config=counted(name), **action)


def managed(name: str, only_counted: list[str]) -> wafv2.CfnWebACL.ManagedRuleGroupStatementProperty:
    """AWS's rules of that name, some of which only count."""
    count = wafv2.CfnWebACL.RuleActionProperty(count={})
    overrides = [wafv2.CfnWebACL.RuleActionOverrideProperty(name=each, action_to_use=count) for each in only_counted]
    return wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(vendor_name="AWS", name=name, rule_action_overrides=overrides or None)


def counted(name: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    """A metric and samples."""
    return wafv2.CfnWebACL.VisibilityConfigProperty(cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True)
