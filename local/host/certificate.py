"""The TLS certificate of strict local mode: created on this machine, valid only for 127.0.0.1 and localhost.

Runs in the `whippet` command, before the engine starts. The key of the signing authority is deleted at once: a shell that trusts the
authority, for instance through `AWS_CA_BUNDLE`, trusts only this certificate, and later signatures are impossible.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DAYS = 397
RENEWED_AFTER_S = 300 * 86400
NAMES = "IP:127.0.0.1,DNS:localhost,DNS:*.localhost"


class CertificateError(RuntimeError):
    """The certificate could not be created; the message says what is missing."""


@dataclass(frozen=True)
class Certificate:
    """PEM files under `folder`: the engine's certificate, its key, and the authority that callers trust."""

    folder: Path
    clock: Callable[[], float] = time.time

    @property
    def file(self) -> Path:
        """The engine's certificate."""
        return self.folder / "engine.crt"

    @property
    def key(self) -> Path:
        """The engine's private key."""
        return self.folder / "engine.key"

    @property
    def authority(self) -> Path:
        """The authority that callers trust: AWS_CA_BUNDLE, NODE_EXTRA_CA_CERTS."""
        return self.folder / "authority.crt"

    def ensure(self) -> None:
        """Create the certificate if it is missing or old; raises CertificateError."""
        if self.is_fresh():
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as unfinished:
            _make_files(Path(unfinished))
            # The certificate last: its age decides whether all files are fresh, also after a kill between two moves.
            for name in (self.key.name, self.authority.name, self.file.name):
                shutil.move(Path(unfinished, name), self.folder / name)

    def is_fresh(self) -> bool:
        """Whether all files exist and are valid now and for some weeks; the clock may have been set back."""
        files = (self.file, self.key, self.authority)
        return all(each.is_file() for each in files) and 0 <= self.clock() - self.file.stat().st_mtime < RENEWED_AFTER_S


def _make_files(folder: Path) -> None:
    """Create an authority and a request, and sign the request with the authority."""
    settings = folder / "settings"
    settings.write_text(
        "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = Whippet local mode\n"
        "[authority]\nbasicConstraints = critical, CA:TRUE, pathlen:0\nkeyUsage = critical, keyCertSign\nsubjectKeyIdentifier = hash\n"
        "[engine]\nbasicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature, keyEncipherment\n"
        f"extendedKeyUsage = serverAuth\nsubjectAltName = {NAMES}\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n"
    )
    common, days = ["-config", "settings", "-sha256"], ["-days", str(DAYS)]
    new_key = ["-newkey", "rsa:2048", "-nodes"]
    _run_openssl(
        folder, "req", "-x509", *common, *days, *new_key, "-extensions", "authority", "-keyout", "authority.key", "-out", "authority.crt"
    )
    _run_openssl(folder, "req", "-new", *common, *new_key, "-subj", "/CN=127.0.0.1", "-keyout", "engine.key", "-out", "engine.csr")
    signed_by = ["-CA", "authority.crt", "-CAkey", "authority.key", "-CAcreateserial"]
    extended = ["-extfile", "settings", "-extensions", "engine"]
    _run_openssl(folder, "x509", "-req", "-sha256", *days, "-in", "engine.csr", *signed_by, *extended, "-out", "engine.crt")
    (folder / "engine.key").chmod(0o600)


def _run_openssl(folder: Path, *arguments: str) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CertificateError(
            "strict local mode creates its certificate with `openssl`, which is not on the PATH: install it, or omit --strict"
        ) from error
    if done.returncode != 0:
        raise CertificateError(f"`openssl {arguments[0]}` failed to create strict local mode's certificate: {done.stderr[-500:].strip()}")
