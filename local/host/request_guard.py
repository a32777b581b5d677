"""Protects local mode from web pages: only this machine's programs and local mode's own pages may send requests.

Runs in the engine process and in the SageMaker plane, around all routes. Both listen on 127.0.0.1 only, which any page in the user's
browser can reach too: without this check a page could deploy a function, and so run code as the user.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Names that a foreign name server cannot take over: browsers resolve *.localhost to this machine themselves.
_OWN_HOST = re.compile(r"(127\.0\.0\.1|([a-z0-9-]+\.)*localhost)(:\d+)?", re.IGNORECASE)


def guard_requests(served: Application) -> Application:
    """Wrap the ASGI application `served`: requests that `find_rejection` rejects get 403."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        reason = find_rejection(headers, scope.get("scheme", "http")) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await served(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "not from this machine"})
        else:
            body = json.dumps({"__type": "AccessDeniedException", "message": reason}).encode()
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": body})

    return guarded


def find_rejection(headers: Mapping[str, str], scheme: str = "http") -> str | None:
    """Return why a request over `scheme` with these headers (names in lower case) is rejected; None if it is accepted.

    A foreign name in Host is DNS rebinding. Browsers send Origin and Sec-Fetch-Site to describe the requesting page, the latter
    also when a page only loads an image or follows a link. Programs on the machine send neither.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if not _OWN_HOST.fullmatch(host):
        return f"local mode accepts only the host names 127.0.0.1 and localhost, not {host!r}"
    if origin is not None and origin.lower() != f"{scheme}://{host}".lower():
        return f"local mode accepts requests only from its own web pages, not from {origin!r}"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return "local mode accepts no requests or links from other web pages: type or paste the address into the browser"
    return None
