"""Notifications: the topic for people, and the dead-letter queue of the functions.

Runs at synth. Executions, alarms and the budget publish to the topic; subscribers receive all messages.
"""

from aws_cdk import Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.permissions import acknowledge

SPENT_PERCENT = 80
FORECAST_PERCENT = 100


class Notifications(Construct):
    """The topic, its subscription if an address is set, the budget if an amount is set, and the queue of undelivered events."""

    def __init__(self, scope: Construct, id: str, *, config: Config, encryption: Encryption) -> None:  # noqa: A002 - CDK's own name for it
        """Adds them."""
        super().__init__(scope, id)
        self.config, self.encryption = config, encryption
        self.topic = self.add_topic()
        self.undelivered = self.add_queue()
        if config.notify_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(config.notify_email, dead_letter_queue=self.undelivered))
        if config.monthly_budget_usd:
            self.add_budget()

    def add_topic(self) -> sns.Topic:
        """Accepts messages over TLS only, from this account's roles, alarms and budgets."""
        topic = sns.Topic(self, "Topic", topic_name=self.config.project, master_key=self.encryption.key, enforce_ssl=True)
        here = {"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
        publishers = [iam.ServicePrincipal(f"{each}.amazonaws.com") for each in ("cloudwatch", "budgets")]
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsAndBudgets",
                principals=list(publishers),
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions=here,
            )
        )
        if not self.encryption.key:
            own_disks = (
                "SNS stores messages on encrypted disks. Alarms cannot use its key for topics, aws/sns, so their messages would be lost;"
                " the knob `encryption=kms` gives the topic a key of the account that alarms can use."
            )
            acknowledge(topic, "NIST.800.53.R5-SNSEncryptedKMS", own_disks)
        return topic

    def add_queue(self) -> sqs.Queue:
        """Keeps events for two weeks after the alarm; they failed several times and are not retried automatically."""
        queue = sqs.Queue(
            self,
            "Undelivered",
            queue_name=f"{self.config.project}-undelivered",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        last = "It is itself the dead-letter queue; an alarm reports events in it."
        for finding in ("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"):
            acknowledge(queue, finding, last)
        acknowledge(queue, "CKV_AWS_27", "It is encrypted with SQS's own key, which the check does not recognise.")
        return queue

    def add_budget(self) -> None:
        """A budget can be filtered by a tag, not by a stack; the tag must be activated once as a cost allocation tag."""
        topic = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=self.topic.topic_arn)
        budget = budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=self.config.project,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=self.config.monthly_budget_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:project${self.config.project}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(notification=each, subscribers=[topic]) for each in write_thresholds()
            ],
        )
        assert self.topic.node.try_find_child("Policy") is not None
        budget.node.add_dependency(self.topic.node.find_child("Policy"))


def write_thresholds() -> list[budgets.CfnBudget.NotificationProperty]:
    """A notification before the amount is spent, and one as soon as the forecast exceeds it."""
    return [
        budgets.CfnBudget.NotificationProperty(
            notification_type=kind, comparison_operator="GREATER_THAN", threshold=percent, threshold_type="PERCENTAGE"
        )
        for kind, percent in (("ACTUAL", SPENT_PERCENT), ("FORECASTED", FORECAST_PERCENT))
    ]
