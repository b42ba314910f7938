"""The explorer's web server: on this machine alone, and nothing leaves it."""

from __future__ import annotations

import ipaddress
import os
import socket
from tempfile import TemporaryDirectory
from threading import Event

from ..console import say, warn
from ..errors import InputError
from .flags import ExplorerFlags

MOST_WAITING = 30  # questions in the queue; who comes later is told to try again
MOST_BYTES = "5mb"  # of an upload


def serve(flags: ExplorerFlags) -> int:
    """Serve the page until a signal ends it.

    Raises
    ------
    InputError
        If gradio is not installed, there is no finished study, or the port is taken.
    """
    with TemporaryDirectory(prefix="explorer-") as uploads:
        os.environ |= {  # read by gradio as it is imported
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
            launch(page, flags.host, flags.port)
            say(f"explorer     http://{flags.host}:{flags.port}    Ctrl-C ends it")
            Event().wait()
        finally:
            page.close(verbose=False)
    return 0


def check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be served; warn of one that others reach.

    Raises
    ------
    InputError
        If it is in use or not of this machine.
    """
    try:
        with socket.create_server((host, port)):
            pass
        loopback = ipaddress.ip_address(socket.gethostbyname(host)).is_loopback
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise InputError(f"--host {host} --port {port}: {reason}; try another --port") from None
    if not loopback:
        warn(f"warning: --host {host}: whoever reaches this machine can use the page")


def launch(page: object, host: str, port: int) -> None:
    """Start the server in a thread of its own."""
    import gradio as gr

    from .markup import CSS

    assert isinstance(page, gr.Blocks)
    system = ["system-ui", "sans-serif"]  # no font comes from outside
    page.queue(max_size=MOST_WAITING, api_open=False)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=False,
        max_file_size=MOST_BYTES,
        allowed_paths=[],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=system, font_mono=["monospace"], primary_hue="blue"),
        css=CSS,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
