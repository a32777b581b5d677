"""Local mode or AWS, what is deployed there, and what is said where nothing is. Run: `make test`."""

from pathlib import Path

import pytest

from cli.account.target import Target, aws_target, default_project, home, local_target
from cli.main import explain
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.fakes import FakeCloudFormation, FakeMachine, client_error, stack, target


def test_the_outputs_of_the_stack() -> None:
    outputs = target().outputs()
    assert (outputs.bucket, outputs.endpoint) == ("photos-bucket", "whippet")


def test_what_is_not_deployed_says_how_to_deploy_it() -> None:
    absent = FakeCloudFormation(None)
    with pytest.raises(RefusedError, match=r"not deployed on local mode. Run `whippet deploy --local` first.$"):
        target(FakeMachine(), cloudformation=absent).outputs()
    with pytest.raises(RefusedError, match=r"not deployed on AWS us-east-1. Run `whippet deploy` first. Is it in another region\?"):
        target(cloudformation=absent).outputs()


def test_another_refusal_of_cloudformation_is_not_taken_for_an_absent_stack() -> None:
    class Denied:
        def describe_stacks(self, StackName: str) -> None:  # noqa: N803 - boto3's name
            raise client_error("AccessDenied", "not authorized", "DescribeStacks")

    with pytest.raises(Exception, match="not authorized") as caught:
        target(cloudformation=Denied()).outputs()
    assert "lack that permission" in explain(caught.value)


def test_a_half_made_stack_is_refused_with_its_status() -> None:
    half = stack() | {"StackStatus": "ROLLBACK_COMPLETE", "Outputs": []}
    with pytest.raises(RefusedError, match="is ROLLBACK_COMPLETE and has no output 'BucketName'"):
        target(cloudformation=FakeCloudFormation(half)).outputs()


def test_urls_take_the_form_that_works_from_here() -> None:
    assert target().predict_url() == "https://abc.execute-api.us-east-1.amazonaws.com/v1/predict"
    assert target().page_url() == "https://abc.execute-api.us-east-1.amazonaws.com/v1/"
    own_domain = FakeCloudFormation(stack(PageUrl="https://photos.example.com/"))
    assert target(cloudformation=own_domain).page_url() == "https://photos.example.com/"
    assert target(FakeMachine()).page_url() == "http://127.0.0.1:4566/restapis/abc/v1/_user_request_/"


def test_printed_commands_lead_back_to_the_same_target() -> None:
    assert target(FakeMachine()).option == " --local"
    other = target()
    assert Target("other", other.client, "r", other.credentials, {}).option == " --project other"
    assert Target(default_project(), other.client, "r", other.credentials, {}).option == ""


def test_local_mode_must_run() -> None:
    with pytest.raises(RefusedError, match="`whippet up --local`"):
        local_target("whippet", FakeMachine(running=False))


def test_the_users_aws_settings_have_no_say_in_local_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n")
    for name, value in {
        "AWS_PROFILE": "no-such-profile",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_SESSION_TOKEN": "token",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    local = local_target("whippet", FakeMachine())
    s3 = local.client("s3")
    assert (s3.meta.endpoint_url, s3.meta.region_name) == ("http://127.0.0.1:4566", "us-east-1")
    assert (local.credentials().access_key, local.credentials().token) == ("LOCALKEY", None)
    assert local.client("s3") is s3


def test_aws_takes_the_region_that_cdk_and_awscli_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RefusedError, match="Set AWS_REGION"):
        aws_target("whippet")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert aws_target("whippet").region == "eu-west-1"
    with pytest.raises(RefusedError, match="aws configure"):
        aws_target("whippet").credentials()


def test_aws_takes_the_certificates_of_the_users_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nca_bundle = /from/the/configuration\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for name in ("AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert aws_target("whippet").ca_bundle == "/from/the/configuration"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/from/the/environment")
    assert aws_target("whippet").ca_bundle == "/from/the/environment"


def test_an_expired_token_says_what_to_do() -> None:
    assert "aws sso login" in explain(client_error("ExpiredToken", "The token has expired", "DescribeStacks"))


def test_the_home_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WHIPPET_HOME", str(tmp_path))
    assert home() == tmp_path


def test_strict_local_mode_is_trusted_by_its_own_certificate_alone(tmp_path: Path) -> None:
    class StrictMachine(FakeMachine):
        def settings(self) -> dict[str, str]:
            return {**super().settings(), "AWS_ENDPOINT_URL": "https://127.0.0.1:4566", "AWS_CA_BUNDLE": str(tmp_path / "authority.crt")}

    strict, plain = local_target("whippet", StrictMachine()), local_target("whippet", FakeMachine())
    assert (strict.ca_bundle, plain.ca_bundle) == (str(tmp_path / "authority.crt"), None)
    assert strict.client("s3")._endpoint.http_session._verify == strict.ca_bundle
    assert strict.environment["AWS_CA_BUNDLE"] == strict.ca_bundle
