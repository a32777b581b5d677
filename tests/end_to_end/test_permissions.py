"""Every grant of the deployed stack is needed: strict local mode saw a call that is denied without it, or it is said here why none is seen.

After the main job come exercises of what happens seldom (exercises.py). Run: `pytest tests/end_to_end/test_permissions.py`.
"""

import pytest

from local.engine.decisions import Decision, read_decisions
from local.mode import LocalMode
from tests.end_to_end import exercises
from tests.end_to_end.conftest import Demo
from tests.end_to_end.grants import Unproved, judged, stack_roles

ANY = ("*",)
SEEN_ON_AWS_ALONE = (
    Unproved("*", ("xray:*",), "*", "nothing is traced here"),
    Unproved("*JobRoles*", ("ecr:*",), "*", "no image is pulled here"),
    Unproved("*JobRoles*", ("cloudwatch:PutMetricData",), "*", "SageMaker's own machines count; here nobody does in a role's name"),
    Unproved("*JobRoles*", ("logs:DescribeLogStreams",), "*", "SageMaker looks for the stream; here it is made or is there"),
    Unproved("*JobRoles*", ("s3:GetBucketLocation",), "*", "SageMaker looks for the bucket's region; here there is one"),
    Unproved("*ManagedTraining*", ("sagemaker:*",), "*", "AWS's rules look for the job and stop it; here the plane does"),
    Unproved("*Hosting*", ("cloudwatch:DescribeAlarms",), "*", "AWS does not say whose role it asks: the caller's, asked here, or this"),
    Unproved("*StateMachineRole*", ("logs:*",), "*", "Step Functions delivers vended logs; here it logs nothing"),
    Unproved("*StateMachineRole*", ("events:*",), "*", "AWS's .sync hears of a job's end by a rule; here it looks at the job"),
    Unproved("*StateMachineRole*", ("sagemaker:ListTags",), "*", "AWS's own policies for these calls have it"),
    Unproved("*StateMachineRole*", ("s3:GetObject", "ecr:*"), "*", "SageMaker looks at what is registered in its caller's name"),
    Unproved("*StateMachineRole*", ("states:SendTaskFailure",), "*", "after a redrive, which the engine cannot do"),
    Unproved("*InferenceApiLogRole*", ANY, "*", "API Gateway writes its logs; here it writes none"),
    Unproved("*Operations*", ("sqs:SendMessage",), "*", "Lambda keeps what failed three times; here such calls are given up"),
    Unproved("*ScaleEndpoint*", ("sagemaker:UpdateEndpointWeightsAndCapacities",), "*", "scaling asks in its caller's name"),
    Unproved("*ScaleEndpoint*", ("cloudwatch:*",), "*", "scaling makes its alarms in its caller's name; here nothing scales"),
    Unproved("*ScaleEndpoint*", ("iam:CreateServiceLinkedRole",), "*", "the first scaled endpoint of an account makes it"),
    Unproved(
        "*", ("application-autoscaling:DeregisterScalableTarget",), "*", "AWS asks for it who deletes or moves an endpoint that scales"
    ),
)
"""What only AWS asks for."""
SEEN_IN_OTHER_TESTS = (
    Unproved("*", ("s3:AbortMultipartUpload",), "*", "an upload that breaks off: tests/functional/local/test_job_failures.py"),
    Unproved("*PrepareExecution*", ("s3:PutObject",), "*/weights/*", "weights that nobody uploaded: tests/unit/lambdas/test_weights.py"),
    Unproved("*AssessModel*", ("s3:ListBucket",), "*", "a report that is not there: tests/unit/lambdas/test_assess_model.py"),
    Unproved("*StateMachineRole*", ("sagemaker:DescribeModelPackage",), "*", "approval: tests/unit/stacks/test_registry_states.py"),
    Unproved(
        "*StateMachineRole*",
        ("sagemaker:ListTrainingJobsForHyperParameterTuningJob",),
        "*",
        "a tuning job that fails: tests/unit/stacks/test_faults.py",
    ),
    Unproved("*StateMachineRole*", ("sagemaker:DeleteEndpoint",), "*", "one that never answers: tests/unit/stacks/test_endpoint_states.py"),
    Unproved("*ReapExecution*", ("sagemaker:DeleteEndpoint",), "*", "nothing to go back to: tests/unit/lambdas/test_reap_execution.py"),
)  # fmt: skip
"""What happens so seldom, or takes so long, that it is exercised elsewhere."""


@pytest.fixture(scope="module")
def decisions(demo: Demo) -> list[Decision]:
    """What strict local mode decided, after everything has been exercised."""
    exercises.look_at_the_page(demo)
    exercises.fail_at_once(demo)
    exercises.abort_jobs(demo)
    exercises.tidy_up(demo, "clean-up")
    exercises.tidy_up(demo, "reap-execution")
    exercises.look_at_all_executions(demo)
    exercises.update_the_endpoint(demo)
    exercises.take_back(demo)
    exercises.miss_a_report(demo)
    exercises.sleep_and_wake(demo)
    return read_decisions(LocalMode(demo.home).decisions_file)


def test_no_call_of_any_role_was_denied(decisions: list[Decision]) -> None:
    denied = [f"{each.role} may not do {each.action} on {each.resource}" for each in decisions if not each.allowed]
    assert denied == []


def test_every_grant_is_needed(demo: Demo, decisions: list[Decision]) -> None:
    known = (*SEEN_ON_AWS_ALONE, *SEEN_IN_OTHER_TESTS)
    verdicts = judged(stack_roles(demo.target), decisions)
    needless = {key: found for key, found in verdicts.items() if found != "needed"}
    unexplained = [f"{role}: {found}" for (role, grant), found in needless.items() if not any(each.covers(role, grant) for each in known)]
    assert unexplained == [], "\n".join(["Take these grants out of the stack, exercise them, or say in this file why not:", *unexplained])
    assert sum(found == "needed" for found in verdicts.values()) > len(verdicts) / 2


def test_no_explanation_has_outlived_its_grant(demo: Demo, decisions: list[Decision]) -> None:
    needless = [key for key, found in judged(stack_roles(demo.target), decisions).items() if found != "needed"]
    known = (*SEEN_ON_AWS_ALONE, *SEEN_IN_OTHER_TESTS)
    assert [each for each in known if not any(each.covers(role, grant) for role, grant in needless)] == []
