"""Keeps web pages out of local mode: a request counts only when it comes from this machine's own programs or own pages.

Runs in the engine process and in the SageMaker plane, around all they serve. Both listen on 127.0.0.1 alone, which any page
in the user's browser reaches as well: without this check a page could deploy a function, and so run code as the user.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Names that no foreign name server answers for: browsers resolve *.localhost to this machine themselves.
_OWN_HOST = re.compile(r"(127\.0\.0\.1|([a-z0-9-]+\.)*localhost)(:\d+)?", re.IGNORECASE)


def for_own_machine(served: Application) -> Application:
    """`served`, an ASGI application, answering 403 to what `refusal` refuses."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        reason = refusal(headers, scope.get("scheme", "http")) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await served(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "not from this machine"})
        else:
            body = json.dumps({"__type": "AccessDeniedException", "message": reason}).encode()
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": body})

    return guarded


def refusal(headers: Mapping[str, str], scheme: str = "http") -> str | None:
    """Why a request with these headers (names in lower case), made by `scheme`, is refused, None when it is taken.

    A foreign name in Host is DNS rebinding; Origin and Sec-Fetch-Site are what browsers say about the page that asks, the latter
    also where a page only loads an image or follows a link. Programs of the machine send neither.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if not _OWN_HOST.fullmatch(host):
        return f"local mode answers to the names 127.0.0.1 and localhost only, not to {host!r}"
    if origin is not None and origin.lower() != f"{scheme}://{host}".lower():
        return f"local mode takes no requests from web pages other than its own, and this one comes from {origin!r}"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return "local mode takes no requests from other web pages, links included: type or paste the address into the browser"
    return None
