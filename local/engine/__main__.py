"""The AWS engine's process: ministack with local mode's adapter. Started by `local.mode`; by hand:

WHIPPET_HOME=.local BIND_HOST=127.0.0.1 GATEWAY_PORT=4566 python -m local.engine
"""

import os
from pathlib import Path

from ministack import app

from local.engine.adapter import install
from local.engine.decisions import decisions_path
from local.engine.plane_client import PlaneClient
from local.host.start_record import PLANE_PORT, StartRecord


def main() -> None:
    """Serve until SIGTERM; refuses to listen on an address other than 127.0.0.1."""
    if os.environ.get("BIND_HOST") != "127.0.0.1":
        raise SystemExit(f"BIND_HOST is {os.environ.get('BIND_HOST')!r}, but must be 127.0.0.1: the engine accepts any credentials")
    home = Path(os.environ["WHIPPET_HOME"])
    client = PlaneClient(lambda: f"http://127.0.0.1:{StartRecord.read(home).ports.get('plane', PLANE_PORT)}")
    install(client, home / "engine" / "sync-jobs", home / "engine" / "snapshot", decisions_path(home)).start()
    app.main()


if __name__ == "__main__":
    main()
