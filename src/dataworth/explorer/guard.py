"""Guard of the explorer's server: refuses requests of other sites, bounds and hides uploads.

A page of another site can send requests to a server on this machine, and by DNS rebinding (a
foreign name that resolves to 127.0.0.1) read the answers. Such requests name another host or
another origin. An uploaded file has a name of its own for the page, which never sees the path on
the server. The guard is an ASGI middleware (https://asgi.readthedocs.io).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_BODY_BYTES = 5_100_000  # one upload of 5 MB with its multipart headers
MAX_TOTAL_BYTES = 200_000_000  # of all uploads on the disk
ENTRY_BYTES = 8192  # of the disk for file and folder of an upload, besides its content
MAX_AGE = 600  # seconds that an upload is kept
PREFIX = "uploads"  # of the names of uploaded files
UPLOAD = re.compile(PREFIX + r"/([0-9a-f]{64})/([^/\0]{1,255})")
READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing


class RefusedError(Exception):
    """A request is refused: HTTP status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """Answer requests to this host from its own page; others get 403 or 413.

    Parameters
    ----------
    app : ASGI application
    host : str
        Address that the server was started for, answered like localhost. A wildcard (0.0.0.0, ::)
        stands for any address in numbers, and the name of this machine.
    uploads : Path
        Folder in which the application stores uploaded files.
    """

    def __init__(self, app: App, host: str, uploads: Path) -> None:
        self.app, self.uploads = app, uploads
        self.receiving = 0  # bytes of uploads that are not on the disk yet
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
        if refusal is not None:
            await _answer(send, *refusal)
        elif scope["method"] in READING:
            await self.app(scope, receive, send)
        elif (body := await _read(receive)) is not None:
            await self._pass_on(body, headers.get("content-type", ""), scope, receive, send)

    async def _pass_on(
        self, body: bytes, content_type: str, scope: Any, receive: Receive, send: Send
    ) -> None:
        """Pass on a request with a body, or refuse it."""
        try:
            if not content_type.lower().startswith("multipart/"):
                body = self.with_paths(body)
                await self.app(_with_length(scope, len(body)), _replay(body, receive), send)
                return
            _check_upload(body, content_type)
            self.receiving += len(body)
            try:
                await asyncio.to_thread(make_room, self.uploads, self.receiving)
                answer = _without_paths(send, self.uploads)
                await self.app(_with_length(scope, len(body)), _replay(body, receive), answer)
            finally:
                self.receiving -= len(body)
        except RefusedError as refused:
            await _answer(send, refused.status, refused.reason)

    def refusal(self, method: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return status and reason if the headers (lower-case names) are refused, else None."""
        host = headers.get("host", "")
        if not self.answers(host):
            return 403, "This page is not served under that host name."
        origin = headers.get("origin")
        if origin is not None and _address(origin) != host.lower():
            return 403, "Requests from other sites are refused."
        if method in READING:
            return None
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return 403, "Requests from other sites are refused."
        length = headers.get("content-length", "")
        if not re.fullmatch(r"[0-9]{1,10}", length) or int(length) > MAX_BODY_BYTES:
            return 413, "The upload exceeds 5 MB, or does not say its length."
        return None

    def with_paths(self, body: bytes) -> bytes:
        """Return JSON content with the paths on the server of uploaded files.

        Raises
        ------
        RefusedError
            If it is no JSON, or names another file or an address.
        """
        try:
            content = json.loads(body) if body else None
        except (ValueError, RecursionError):
            raise RefusedError(400, "The request is not valid JSON.") from None
        files = [node for node in _objects(content) if isinstance(node.get("path"), str)]
        for file in files:
            match = UPLOAD.fullmatch(file["path"])
            if match is None or match[2] in (".", ".."):
                raise RefusedError(403, "Files are uploaded, not fetched from an address.")
            file["path"] = str(self.uploads / match[1] / match[2])
        return json.dumps(content).encode() if files else body

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


async def _answer(send: Send, status: int, reason: str) -> None:
    kind = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": kind})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})


async def _read(receive: Receive) -> bytes | None:
    """Read a body whose length is bounded by its Content-Length, which the server enforces.

    None if the client goes before its end.
    """
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body that was read, then what follows."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _with_length(scope: Any, length: int) -> Any:
    """Return the scope of a request whose body has another length, to be answered uncompressed."""
    replaced = (b"content-length", b"accept-encoding")
    headers = [(key, value) for key, value in scope["headers"] if key not in replaced]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _without_paths(send: Send, uploads: Path) -> Send:
    """Return a ``send`` that names the uploaded files instead of their paths on the server."""
    start: list[Message] = []
    parts: list[bytes] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.append(message)
            return
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            body = b"".join(parts).replace(f"{uploads}/".encode(), f"{PREFIX}/".encode())
            headers = [pair for pair in start[0]["headers"] if pair[0] != b"content-length"]
            headers.append((b"content-length", str(len(body)).encode()))
            await send({**start[0], "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return sent


def _check_upload(body: bytes, content_type: str) -> None:
    """Refuse several files in one upload."""
    boundary = re.search(r'boundary="?([^";,]+)', content_type)
    if boundary is None or body.count(b"--" + boundary[1].strip().encode("latin-1")) > 2:
        raise RefusedError(413, "One file at a time.")


def make_room(folder: Path, num_bytes: int) -> None:
    """Delete the old uploads; refuse new ones if all together take too much of the disk.

    Parameters
    ----------
    folder : Path
        Of the uploads.
    num_bytes : int
        Of the new ones.

    Raises
    ------
    RefusedError
        If too many are left.
    """
    total, now = num_bytes, time.time()
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # gradio deletes them as well
            status = path.stat()
            if path.is_file() and now - status.st_mtime > MAX_AGE:
                path.unlink()
            elif path.is_file():
                total += status.st_size + ENTRY_BYTES
            elif now - status.st_mtime > MAX_AGE:
                with suppress(OSError):  # not empty
                    path.rmdir()
    if total > MAX_TOTAL_BYTES:
        raise RefusedError(413, "Too many uploads; they are deleted after ten minutes. Try later.")


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects in JSON content, at any depth."""
    pending = [content]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending += node.values()
        elif isinstance(node, list):
            pending += node
