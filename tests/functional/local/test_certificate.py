"""The certificate of strict local mode: whom it convinces, and that nobody can make another."""

import os
import shutil
import ssl
import time
from pathlib import Path

import pytest

from local.host.certificate import RENEWED_AFTER_S, Certificate, CertificateError


def test_it_is_made_once_and_its_authority_can_sign_no_other(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path / "tls")
    certificate.ensure()
    assert sorted(each.name for each in certificate.folder.iterdir()) == ["authority.crt", "engine.crt", "engine.key"]
    assert certificate.key.stat().st_mode & 0o777 == 0o600
    first = certificate.file.read_bytes()
    certificate.ensure()
    assert certificate.file.read_bytes() == first


def test_an_old_one_is_made_anew(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path / "tls")
    certificate.ensure()
    first, then = certificate.file.read_bytes(), time.time() - RENEWED_AFTER_S - 1
    os.utime(certificate.file, (then, then))
    certificate.ensure()
    assert certificate.file.read_bytes() != first


@pytest.mark.parametrize("moves", [1, 2])
def test_a_kill_while_an_old_one_is_replaced_leaves_it_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    certificate = Certificate(tmp_path / "tls")
    certificate.ensure()
    then = time.time() - RENEWED_AFTER_S - 1
    os.utime(certificate.file, (then, then))
    move, left = shutil.move, iter(range(moves))

    def move_or_end(source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(shutil, "move", move_or_end)
        certificate.ensure()
    certificate.ensure()
    assert shakes_hands(certificate, "127.0.0.1")


def test_it_is_for_this_machine_alone(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path / "tls")
    certificate.ensure()
    for name, convinced in (("127.0.0.1", True), ("localhost", True), ("example.com", False)):
        assert shakes_hands(certificate, name) is convinced, name


def test_without_openssl_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CertificateError, match="install it, or omit --strict"):
        Certificate(tmp_path / "tls").ensure()


def shakes_hands(certificate: Certificate, name: str) -> bool:
    """Whether a strict client that trusts the authority and means to speak to `name` takes the certificate; without any network."""
    trusting = ssl.create_default_context(cafile=certificate.authority)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    showing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    showing.load_cert_chain(certificate.file, certificate.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = showing.wrap_bio(to_server, to_client, server_side=True)
    for _turn in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True
