"""What the stack keeps: the bucket, its key where there is one, and the list of models."""

import json
from collections.abc import Callable
from datetime import timedelta

from lambdas.planning.prepared_dataset import MOST_AGE, PREFIX
from stacks.state_machine.definition import EXECUTION_SECONDS
from tests.fixtures.stacks.policies import concrete, listed
from tests.fixtures.stacks.synthesis import Synthesis


def test_the_bucket_is_closed_encrypted_versioned_and_kept(synthesis: Synthesis) -> None:
    (bucket,) = synthesis.resources("AWS::S3::Bucket").values()
    assert bucket["DeletionPolicy"] == "Retain"
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert "AES256" in json.dumps(bucket["Properties"]["BucketEncryption"])
    rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    assert {"NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"} <= {key for rule in rules for key in rule}


def test_the_bucket_takes_requests_over_tls_only(synthesis: Synthesis) -> None:
    policy = synthesis.resource("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    denied = [each for each in policy if each["Effect"] == "Deny" and each["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}]
    assert [each["Action"] for each in denied] == ["s3:*"]


def test_the_bucket_that_is_kept_keeps_its_policy(synthesis: Synthesis) -> None:
    (policy,) = synthesis.resources("AWS::S3::BucketPolicy").values()
    assert (policy["DeletionPolicy"], policy["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_prepared_data_sets_go_in_the_end_and_are_not_begun_with_shortly_before(synthesis: Synthesis) -> None:
    """An execution may take as long as its state machine lets it; failed, it may be redriven within 14 days, and takes as long again."""
    rules = synthesis.resource("AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]
    (kept,) = [rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == PREFIX]
    assert timedelta(days=kept) - MOST_AGE > timedelta(days=14, seconds=2 * EXECUTION_SECONDS)


def test_the_list_of_models_is_named_after_the_project_and_kept(synthesis: Synthesis) -> None:
    """SageMaker deletes no group that holds versions, so a stack that tried to would never be gone."""
    (group,) = synthesis.resources("AWS::SageMaker::ModelPackageGroup").values()
    assert group["Properties"]["ModelPackageGroupName"] == "whippet"
    assert (group["DeletionPolicy"], group["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_a_list_that_an_earlier_stack_has_left_is_not_made_again(variation: Callable[[str], Synthesis]) -> None:
    assert variation("told").some("AWS::SageMaker::ModelPackageGroup") == {}


def test_with_a_key_everything_that_is_stored_is_encrypted_with_it(variation: Callable[[str], Synthesis]) -> None:
    synthesis = variation("kms")
    ((key, properties),) = synthesis.resources("AWS::KMS::Key").items()
    (rule,) = synthesis.resource("AWS::S3::Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert concrete(rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]) == key
    assert rule["BucketKeyEnabled"] is True
    assert concrete(synthesis.resource("AWS::SNS::Topic")["KmsMasterKeyId"]) == key
    groups = synthesis.resources("AWS::Logs::LogGroup").values()
    assert {concrete(each["Properties"]["KmsKeyId"]) for each in groups} == {key}
    assert properties["DeletionPolicy"] == "Retain", "the bucket is kept, and without its key nobody reads it"
    assert properties["Properties"]["EnableKeyRotation"] is True


def test_the_key_serves_logs_alarms_and_budgets_of_this_account_only(variation: Callable[[str], Synthesis]) -> None:
    """Without the second, an alarm's message to an encrypted topic is lost without a word."""
    policy = variation("kms").resource("AWS::KMS::Key")["KeyPolicy"]["Statement"]
    let = [each for each in policy if "Service" in each["Principal"]]
    services = {concrete(service): each["Condition"] for each in let for service in listed(each["Principal"]["Service"])}
    here = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert services["cloudwatch.amazonaws.com"] == services["budgets.amazonaws.com"] == here
    context = services["logs.us-east-1.amazonaws.com"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    assert concrete(context) == "arn:aws:logs:us-east-1:000000000000:log-group:*"
    assert len(services) == 3


def test_without_a_key_there_is_none(synthesis: Synthesis) -> None:
    assert synthesis.some("AWS::KMS::Key") == {}
    assert "KmsKeyId" not in json.dumps(synthesis.template)
