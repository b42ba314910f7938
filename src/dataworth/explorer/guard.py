"""Guard of the explorer's server: refuses requests of other sites, large bodies and foreign URLs.

A page of another site can send requests to a server on this machine, and by DNS rebinding (a
foreign name that resolves to 127.0.0.1) read the answers. Such requests name another host or
another origin. The guard is an ASGI middleware (https://asgi.readthedocs.io).
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_BODY_BYTES = 5_100_000  # one upload of 5 MB with its multipart headers
READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing


class Guard:
    """Answer requests to this host from its own page; others get 403 or 413.

    Parameters
    ----------
    app : ASGI application
    host : str
        Address that the server was started for, answered like localhost. A wildcard (0.0.0.0, ::)
        stands for any address in numbers, and the name of this machine.
    """

    def __init__(self, app: App, host: str) -> None:
        self.app = app
        self.wildcard = host in ("0.0.0.0", "::")
        names = (*LOCAL_NAMES, host, *((socket.gethostname(),) if self.wildcard else ()))
        self.names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # websockets are not used
                await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): v.decode("latin-1") for key, v in scope["headers"]}
        refusal = self.refusal(scope["method"], headers)
        if refusal is None and scope["method"] not in READING:
            body = await _read(receive)
            refusal = _body_refusal(body, headers.get("content-type", ""))
            receive = _replay(body, receive)
        if refusal is None:
            await self.app(scope, receive, send)
            return
        status, reason = refusal
        kind = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": f"{reason}\n".encode()})

    def refusal(self, method: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return status and reason if the headers (lower-case names) are refused, else None."""
        host = headers.get("host", "")
        if not self.answers(host):
            return 403, "This page is not served under that host name."
        if method in READING:
            return None
        origin = headers.get("origin")
        if origin is not None and _address(origin) != host.lower():
            return 403, "Requests from other sites are refused."
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return 403, "Requests from other sites are refused."
        length = headers.get("content-length", "")
        if not re.fullmatch(r"[0-9]{1,10}", length) or int(length) > MAX_BODY_BYTES:
            return 413, "The upload exceeds 5 MB, or does not say its length."
        return None

    def answers(self, host: str) -> bool:
        """Return whether the server answers to this Host header."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
            if name in self.names:
                return True
            return self.wildcard and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def _address(origin: str) -> str:
    """Return host and port of an Origin header in lower case; empty if it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def _read(receive: Receive) -> bytes:
    """Read a body whose length is bounded by its Content-Length, which the server enforces."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body that was read, then what follows."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _body_refusal(body: bytes, content_type: str) -> tuple[int, str] | None:
    """Refuse several files in one upload, and file data whose path is an address to fetch."""
    if content_type.lower().startswith("multipart/"):
        boundary = re.search(r'boundary="?([^";,]+)', content_type)
        if boundary is None or body.count(b"--" + boundary[1].strip().encode("latin-1")) > 2:
            return 413, "One file at a time."
        return None
    try:
        content = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return 400, "The request is not valid JSON."
    if _fetches(content):
        return 403, "Files are uploaded, not fetched from an address."
    return None


def _fetches(content: Any) -> bool:
    """Return whether JSON content holds an object whose path is an address."""
    pending = [content]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            path = node.get("path")
            if isinstance(path, str) and re.match(r"\s*[a-z][a-z0-9+.-]*:/", path, re.IGNORECASE):
                return True
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return False
