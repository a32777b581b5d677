"""Finds free ports on 127.0.0.1, for the engine, the SageMaker plane and model servers. Runs in the `whippet` command and in the plane."""

import socket
import time

PORTS_TRIED = 200


def find_free_port(wanted: int, taken: set[int], patience_s: float = 0.0) -> int:
    """Return `wanted`, waited for up to `patience_s` seconds, else the first free port above it; any free port for 0. Raises OSError."""
    deadline = time.monotonic() + patience_s
    while wanted and not is_free(wanted) and time.monotonic() < deadline:
        time.sleep(0.05)
    candidates = [0] if wanted == 0 else range(wanted, min(wanted + PORTS_TRIED, 65536))
    for candidate in candidates:
        if (port := _bind(candidate)) and port not in taken:
            return port
    raise OSError(f"no free port from {wanted} to {wanted + PORTS_TRIED - 1} on 127.0.0.1; free one of them")


def is_free(port: int) -> bool:
    """Whether no process listens on the port."""
    return _bind(port) != 0


def _bind(candidate: int) -> int:
    """Bind the port (a free one for 0) for a moment; returns its number, or 0 when another process holds it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", candidate))
        except OSError:
            return 0
        port: int = probe.getsockname()[1]
        return port
