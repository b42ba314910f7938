"""The site that `make docs` builds, in a real browser: nothing from elsewhere, fits a phone."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ROOT

CHROMIUM = Path("/usr/bin/chromium")
SITE = ROOT / "build" / "site"
WIDTH = "document.documentElement.scrollWidth"
PAGES = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    if not (SITE / "index.html").exists():
        pytest.skip("`make docs` did not run here")  # .ci/run does
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.browser
def test_pages_fit_a_phone_and_a_laptop_and_load_nothing_from_elsewhere(address):
    from playwright import sync_api

    trouble = []
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda r: r.url.startswith(address) or trouble.append(r.url))
        page.on("response", lambda r: r.status < 400 or trouble.append(f"{r.url}: {r.status}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        for name in PAGES:
            page.goto(f"{address}{name.removesuffix('.md')}.html")
            for width in (390, 1200):
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_function(f"window.innerWidth === {width}")
                try:  # the header slides to its new place for a moment
                    page.wait_for_function(f"{WIDTH} <= {width}", timeout=5_000)
                except sync_api.TimeoutError:
                    trouble.append(f"{name} needs {page.evaluate(WIDTH)} of {width} pixels")
        browser.close()
    assert trouble == []
