"""Photos posted to an API on this machine. Run: `make test`."""

import io
import json
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import SSLError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console

from cli.account.target import Target
from cli.predict import classify, print_answer
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.api import ANSWER, Api
from tests.fixtures.cli.fakes import FakeCloudFormation, FakeMachine, stack, target

PNG = b"\x89PNG\r\n\x1a\n rest"


@pytest.fixture
def deployed(server: ThreadingHTTPServer) -> Target:
    return at(f"http://127.0.0.1:{server.server_port}/v1/predict")


def at(url: str) -> Target:
    return target(cloudformation=FakeCloudFormation(stack(ApiUrl=url)))


def self_signed(folder: Path) -> Path:
    """A key and a certificate of 127.0.0.1 in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    plain = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key-and-certificate.pem").write_bytes(plain + signed.public_bytes(serialization.Encoding.PEM))
    return folder / "key-and-certificate.pem"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "misnamed.fcgi").write_bytes(PNG)
    return tmp_path / "misnamed.fcgi"


def test_the_bytes_arrive_signed_and_with_the_type_that_they_are(api: Api, deployed: Target, photo: Path) -> None:
    assert classify(deployed, photo) == ANSWER
    path, headers, body = api.got[0]
    assert (path, body, headers["content-type"]) == ("/v1/predict", PNG, "image/png")
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=KEY/")
    assert "/us-east-1/execute-api/aws4_request" in headers["authorization"]


def test_on_aws_the_environments_proxy_is_used(api: Api, server: ThreadingHTTPServer, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    assert classify(at("http://api.invalid/v1/predict"), photo) == ANSWER
    assert api.got[0][0] == "http://api.invalid/v1/predict", "a proxy gets the whole address"


def test_addresses_without_a_proxy_and_local_mode_go_around_it(
    server: ThreadingHTTPServer, deployed: Target, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert classify(target(FakeMachine(url=f"http://127.0.0.1:{server.server_port}")), photo) == ANSWER
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert classify(deployed, photo) == ANSWER


def test_on_aws_the_users_certificates_are_trusted(server: ThreadingHTTPServer, photo: Path, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(certificate)
    server.socket = secured.wrap_socket(server.socket, server_side=True)
    strange = at(f"https://127.0.0.1:{server.server_port}/v1/predict")
    with pytest.raises(SSLError):
        classify(strange, photo)
    assert classify(replace(strange, ca_bundle=str(certificate)), photo) == ANSWER


def test_what_is_no_photo_is_sent_under_its_own_type(api: Api, deployed: Target, tmp_path: Path) -> None:
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7")
    classify(deployed, tmp_path / "paper.pdf")
    assert api.got[0][1]["content-type"] == "application/pdf"


@pytest.mark.parametrize(
    ("status", "answer", "headers", "sentence"),
    [
        (400, {"error": "not a photo"}, {}, "answered 400: not a photo$"),
        (403, {"message": "Forbidden"}, {}, "403: Forbidden The credentials need the permission execute-api:Invoke"),
        (
            503,
            {"error": "the endpoint is Creating"},
            {"Retry-After": "30"},
            "503: the endpoint is Creating Try again in 30 s. `whippet status`",
        ),
        (200, {"odd": 1}, {}, "answered 200: {'odd': 1}"),
    ],
)
def test_errors_are_the_apis_own_sentence(
    api: Api, deployed: Target, photo: Path, status: int, answer: dict[str, Any], headers: dict[str, str], sentence: str
) -> None:
    api.status, api.body, api.headers = status, json.dumps(answer).encode(), headers
    with pytest.raises(RefusedError, match=sentence):
        classify(deployed, photo)


def test_an_answer_that_is_no_json_is_shown(api: Api, deployed: Target, photo: Path) -> None:
    api.status, api.body = 502, b"<html>Bad gateway</html>"
    with pytest.raises(RefusedError, match="502: <html>Bad gateway"):
        classify(deployed, photo)


def test_a_missing_file_is_refused_before_anything_is_sent(api: Api, deployed: Target, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="not a file"):
        classify(deployed, tmp_path / "none.jpg")
    assert api.got == []


def test_bars_stand_for_certainty(photo: Path) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_answer(console, photo, ANSWER)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0].strip() == "misnamed.fcgi"
    assert [line.count("━") for line in lines[1:]] == [22, 8]
    assert lines[1].endswith("75.0%")
