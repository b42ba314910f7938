"""Web server of the explorer: bound to 127.0.0.1 by default, no requests to other hosts."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from ..console import say, warn
from ..errors import InputError
from .flags import ExplorerFlags
from .guard import Guard

MAX_QUEUE_SIZE = 30  # waiting requests; further ones are rejected
MAX_UPLOAD_SIZE = "5mb"


def serve(flags: ExplorerFlags) -> int:
    """Serve the page until a signal ends it.

    Raises
    ------
    InputError
        If gradio is not installed, there is no finished study, or the port is taken.
    """
    with TemporaryDirectory(prefix="explorer-") as uploads:
        os.environ |= {  # read by gradio when it is imported
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": uploads,
            "HF_HUB_OFFLINE": "1",
        }
        try:
            import gradio  # noqa: F401
        except ImportError:
            hint = "pip install 'dataworth[explorer]'"
            raise InputError(f"the explorer needs gradio: {hint}") from None
        check_address(flags.host, flags.port)
        from .page import build
        from .study import open_study

        page = build(open_study(flags))
        try:
            launch(page, flags.host, flags.port, Path(uploads))
            say(f"explorer     http://{flags.host}:{flags.port}    stop with Ctrl-C")
            Event().wait()
        finally:
            page.close(verbose=False)
    return 0


def check_address(host: str, port: int) -> None:
    """Check that the address can be served on; warn if other machines can reach it.

    Raises
    ------
    InputError
        If it is in use or does not belong to this machine.
    """
    try:
        with socket.create_server((host, port)):
            pass
        loopback = ipaddress.ip_address(socket.gethostbyname(host)).is_loopback
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise InputError(f"--host {host} --port {port}: {reason}; try another --port") from None
    if not loopback:
        warn(f"warning: --host {host}: anyone who can reach this machine can use the page")


def launch(page: object, host: str, port: int, uploads: Path) -> None:
    """Start the server in a background thread.

    Parameters
    ----------
    page : gradio.Blocks
    host : str
    port : int
    uploads : Path
        Folder in which gradio stores uploaded files.
    """
    import gradio as gr

    from .components import CSS

    @asynccontextmanager
    async def guarded(app: Any) -> AsyncIterator[None]:
        """Put the guard before gradio's middleware, which answers preflight requests itself."""
        app.middleware_stack = Guard(app.middleware_stack, host, uploads)
        yield

    assert isinstance(page, gr.Blocks)
    system = ["system-ui", "sans-serif"]  # no font is downloaded
    page.queue(max_size=MAX_QUEUE_SIZE, api_open=False)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=False,
        max_file_size=MAX_UPLOAD_SIZE,
        allowed_paths=[],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=system, font_mono=["monospace"], primary_hue="blue"),
        css=CSS,
        app_kwargs={
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "lifespan": guarded,
        },
    )
