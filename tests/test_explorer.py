"""app.py: predictions of each size, the law panel, and safe handling of uploads."""

import asyncio
import base64
import html
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from dataworth.commands import explore as explore_command
from dataworth.config import Recipe
from dataworth.data.prepare import load_dataset
from dataworth.evaluation.calibration import probabilities
from dataworth.explorer import guard, law
from dataworth.explorer.answers import decode_upload, predict
from dataworth.explorer.components import escape, figure
from dataworth.explorer.flags import ExplorerFlags
from dataworth.explorer.order import order_panel
from dataworth.explorer.pictures import respond
from dataworth.explorer.study import example_images, open_study
from dataworth.explorer.worth import worth_panel
from dataworth.findings.curves import headline
from tests.conftest import QUICK, ROOT, command, inside, train

USE_ANOTHER = "Use a JPEG, PNG, WebP, GIF, BMP or TIFF, at most 5 MB and 40 megapixels."


def explore(*words):
    return command(explore_command.explore, *words)


def png(width, height, rows=b""):
    """A PNG file that claims a size, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def plain(text):
    """Markdown text without escapes."""
    return re.sub(r"\\([^\w\s])", r"\1", text)


BOMB = png(30_000, 30_000)


@pytest.fixture(scope="module")
def explored(extended):
    with inside(extended):
        return open_study(ExplorerFlags(experiment_id="s"))


def committed(name):
    """A committed study, without its checkpoints."""
    return open_study(ExplorerFlags(experiment_id=name, results_dir=ROOT / "results"))


@pytest.fixture(scope="module")
def measured():
    """The committed study of photographs."""
    return committed("tiny-imagenet-100").findings[""]


def test_every_size_answers_as_in_the_evaluation(explored, extended):
    test = load_dataset(explored.recipe).splits["test"]
    models = explored.models("")
    assert [model.num_images for model, _ in models] == [323, 647, 1293]
    for example in explored.examples[:3]:
        row = int(np.flatnonzero(test.labels == int(example.truth))[0])
        picture = decode_upload(example.data, "test image", explored.recipe.image_size)
        for size, (model, limits) in zip(("0.25", "0.5", "1.0"), models, strict=True):
            path = extended / "results" / "s" / "predictions" / size / "seed-1.npz"
            with np.load(path) as arrays:
                (expected,) = probabilities(arrays["test_logits"][row : row + 1])
            answer = predict(model, picture, limits)
            order = np.argsort(-expected, kind="stable")
            assert [name for name, _ in answer.top] == [str(k) for k in order[:5]]
            assert [share for _, share in answer.top] == pytest.approx(
                expected[order[:5]], abs=1e-5
            )
            assert answer.prediction_set == tuple(
                str(k) for k in order if 1 - expected[k] <= limits[0]
            )
            assert answer.heat_map.shape == (32, 32, 3)


def test_sizes_stand_side_by_side_with_the_truth(explored):
    example = explored.examples[0]
    answer = respond(explored, "", example.data, "Test image 1", example.truth)
    text, frame, shown, *cards, caption = answer
    assert f"The true class is **{example.truth}**" in text
    assert (frame["visible"], shown.shape) == (True, (32, 32, 3))
    labels = cards[1::4]
    sizes = [f"{n} images" for n in ("323", "647", "1,293")]
    assert [label["label"] for label in labels] == sizes
    assert [len(label["value"]) for label in labels] == [5, 5, 5]
    assert any(f"{example.truth} ✓" in label["value"] for label in labels)
    assert all(heat_map.shape == (32, 32, 3) for heat_map in cards[3::4])
    assert all("Prediction set" in members for members in cards[2::4])
    assert "contains the true class for 90 % of images" in caption["value"]


def test_the_law_answers_both_questions_in_a_sentence(measured):
    curve = headline(measured.curves)
    first, second = law.law_sentences(curve, 0.35, 90_000)
    assert re.match(r"For a top-5 error of 35.0 %: [\d,]+ images \(90 % interval [\d,]+ to", first)
    assert re.match(r"With 90,000 training images: a top-5 error of 29\.\d % \(90 % inter", second)
    assert "unreliable" not in second
    assert "beyond 4x the largest size: unreliable" in law.law_sentences(curve, 0.35, 200_000)[1]
    assert "already reached, at 45,000 images" in law.law_sentences(curve, 0.4, 90_000)[0]


def test_sliders_offer_what_the_plot_shows(measured):
    target, budget = law.slider_ranges(headline(measured.curves))
    assert 0 < target.minimum < target.initial < 37.2 < target.maximum < 100
    assert 703 <= budget.minimum < 45_000 < budget.initial < budget.maximum <= 360_000
    assert (budget.maximum - budget.minimum) / budget.step >= 50
    for percent, count in (
        (target.minimum, budget.minimum),
        (target.maximum, budget.maximum),
    ):
        drawn = figure(law.draw(measured, percent / 100, int(count)), "the law")
        content = base64.b64decode(drawn["plot"].removeprefix("data:image/svg+xml;base64,"))
        assert ElementTree.fromstring(content).tag.endswith("svg")


def test_a_study_that_was_not_evaluated_says_what_to_run():
    assert "run `python eval.py`" in law.law_panel(None, 10, 100)[0]


def test_an_order_is_planned_and_compared_with_others(measured):
    curve = headline(measured.curves)
    text, table = order_panel(curve, 35, 2, 0.5, 10, 0)
    order = re.search(r"Order ([\d,]+) images now.*for [\d,]+: probability \d+ %", plain(text))
    assert "Plan the next rounds with a cost of missing of" in plain(text)
    planned = table[table["order now"].str.contains("planned")]
    assert planned["order now"].item().startswith(order[1][:2])
    text, table = order_panel(curve, 37, 1, 0, 10, 0)  # most draws are near it at hand
    chance = re.search(r"probability (\d+ %)", plain(text))[1]
    assert table.loc[table["order now"].str.contains("planned"), "target reached"].item() == chance
    chances = table["target reached"].str.removesuffix(" %").astype(int)
    assert chances.is_monotonic_increasing
    assert chances.max() > 80
    assert "cost" not in order_panel(curve, 35, 2, 0, 10, 0)[1]
    assert order_panel(curve, 60, 1, 0, 10, 0) == (
        "No order\\: 60\\.0 \\% is reached already\\.",
        None,
    )
    assert "Order nothing" in order_panel(curve, 30, 1, 1, 10, 1)[0]


def test_the_worth_of_each_variant_is_a_table_against_any_baseline():
    study = committed("mini-imagenet-84")
    text, drawn, table, notes = worth_panel(study, "alexnet-small")
    assert set(table["option"]) == {"resnet18"}
    stored = pd.read_csv(ROOT / "results/mini-imagenet-84/worth.csv").set_index("num_images")
    first = stored["factor"].iloc[0]
    assert f"resnet18 against alexnet-small: worth {first:.1f}x the images" in plain(text)
    factor, low, high = stored.loc[12500, ["factor", "factor_low", "factor_high"]]
    shown = table[table["images"] == "12,500"]["worth"].item()
    assert shown == f"{factor:.1f}x ({low:.1f}x to {high:.1f}x)"
    assert drawn["chart"].startswith("Worth in images")
    assert "correlation of the answers" in notes
    assert "alexnet-small against resnet18" in plain(worth_panel(study, "resnet18")[0])


@pytest.mark.fault(54)
@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("bomb.png", BOMB, "its pixels exceed 40,000,000"),
        ("large.png", png(8_000, 8_000), "8000 x 8000 pixels exceed 40,000,000"),
        ("notes.jpg", b"no picture at all", "not a whole image"),
        ("empty.png", b"", "not a whole image"),
        ("half.png", png(40, 40, b"\0" * 121)[:50], "not a whole image"),
        ("/srv/secret/photo.jpg", b"text", "not a whole image"),
        ("<img src=x onerror=alert(1)>.png", b"text", "not a whole image"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_line_without_a_path(explored, name, data, reason):
    text = respond(explored, "", data, name, None)[0]
    assert text == escape(plain(text))
    message = plain(text)
    assert f"{reason}. {USE_ANOTHER}" in message
    assert "\n" not in message
    assert "/srv" not in message
    assert "0x" not in message


def test_names_of_classes_and_files_are_never_markup(explored):
    example = explored.examples[0]
    render = pytest.importorskip("markdown_it").MarkdownIt("js-default").render
    for name in ("<b>x</b>.png", "![x](//evil.example/x.png)", "www.evil.example", "_a_ `b` &lt;"):
        text = respond(explored, "", example.data, name, "<script>")[0]
        assert escape(name) in text
        assert escape("<script>") in text
        assert render(escape(name)) == f"<p>{html.escape(name)}</p>\n"
    assert escape("a\n# b") == r"a \# b"


def test_without_gradio_one_line_says_what_to_install(workplace, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert explore() == 2
    assert capsys.readouterr().err == (
        "error: the explorer needs gradio: pip install 'dataworth[explorer]'\n"
    )


@pytest.mark.filterwarnings("default")
def test_what_cannot_be_explored_is_one_line(workplace, capsys):
    assert explore("--port", 7999) == 2
    assert "no study in checkpoints; run train.py first" in capsys.readouterr().err
    assert explore("--experiment-id", "../s") == 2
    assert capsys.readouterr().err.count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert explore("--port", port) == 2
        error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"--port {port}: Address already in use" in error


def test_examples_are_whole_images():
    dataset = load_dataset(Recipe(dataset="digits", model="alexnet-small", image_size=32))
    first = example_images(dataset)
    bad, whole = [first[0].data, first[3].data], dataset.encoded

    class Spoilt:
        splits, class_names = dataset.splits, dataset.class_names

        def encoded(self, source, row):
            data = whole(source, row)
            return b"no image" if data in bad else data

    examples = example_images(Spoilt())
    assert [example.truth for example in examples] == [example.truth for example in first]
    assert {example.data for example in examples}.isdisjoint(bad)


def test_a_study_without_a_finished_run_is_one_line(workplace, capsys):
    words = [*QUICK, "--learning-rate", "1e9", "--subset-sizes", "0.25", "--experiment-id", "d"]
    train(*words)
    capsys.readouterr()
    assert explore("--experiment-id", "d") == 2
    assert "no finished run in checkpoints/d" in capsys.readouterr().err


# In a real browser, against the real command.


@pytest.fixture(scope="module")
def site(extended, tmp_path_factory):
    """Address of the running page, and the folder of its temporary files."""
    temporary = tmp_path_factory.mktemp("temporary")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, ROOT / "app.py", "--experiment-id", "s", "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        words, cwd=extended, env=environment, text=True, stdout=subprocess.PIPE
    ) as process:
        try:
            assert "explorer " in process.stdout.readline(), "the page did not start"
            yield f"http://127.0.0.1:{port}/", temporary
        finally:
            process.terminate()  # not SIGINT: what starts the tests may have it ignored
            assert process.wait(30) == 143
    assert list(temporary.iterdir()) == [], "uploads are left behind"


def request(site, method, path, headers, body=None):
    """Status and text of an answer; the headers are sent as they are."""
    connection = http.client.HTTPConnection(site[0].split("/")[2], timeout=60)
    try:
        connection.request(method, "/gradio_api/" + path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def multipart(*contents):
    parts = [
        b'--XX\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + content + b"\r\n"
        for content in contents
    ]
    return b"".join(parts) + b"--XX--\r\n"


@pytest.mark.fault(54)
def test_only_the_page_of_this_host_is_answered(site):
    own = site[0].split("/")[2]
    port = own.split(":")[1]
    for host in (own, f"localhost:{port}", f"[::1]:{port}"):
        assert request(site, "GET", "startup-events", {"Host": host})[0] == 200
    rebound = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}
    assert request(site, "GET", "startup-events", rebound) == (
        403, "This page is not served under that host name.\n",
    )  # fmt: skip
    for host in ("", "evil.example", "127.0.0.1.evil.example", "[::1", "127.0.0.1@evil.example"):
        assert request(site, "GET", "startup-events", {"Host": host})[0] in (400, 403)
    form = {"Content-Type": "multipart/form-data; boundary=XX"}
    for origin in ("http://evil.example", "null", f"http://localhost:{port}", "http://[::1"):
        headers = form | {"Origin": origin}
        assert request(site, "POST", "upload", headers, multipart(BOMB))[0] == 403
    headers = form | {"Origin": f"http://{own}"}
    assert request(site, "POST", "upload", headers, multipart(BOMB))[0] == 200


@pytest.mark.fault(54)
def test_uploads_are_one_bounded_file_and_nothing_is_fetched(site):
    form = {"Content-Type": "multipart/form-data; boundary=XX"}
    assert request(site, "POST", "upload", form, multipart(BOMB))[0] == 200
    assert request(site, "POST", "upload", form, multipart(BOMB, BOMB))[0] == 413
    assert request(site, "POST", "upload", form, multipart(bytes(6_000_000)))[0] == 413
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(1)
        address = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/a.png"
        file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        content = {"data": [file, ""], "fn_index": 0, "session_hash": "s"}
        headers = {"Content-Type": "application/json"}
        answer = request(site, "POST", "queue/join", headers, json.dumps(content))
        assert answer == (403, "Files are uploaded, not fetched from an address.\n")
        with pytest.raises(TimeoutError):
            elsewhere.accept()


@pytest.mark.fault(54)
def test_no_answer_shows_a_path_of_the_server(site, explored):
    form = {"Content-Type": "multipart/form-data; boundary=XX"}
    body = multipart(explored.examples[0].data)
    shown = [request(site, "POST", "upload", form, body)[1]]
    (path,) = json.loads(shown[0])
    assert re.fullmatch(r"uploads/[0-9a-f]{64}/a\.png", path)
    with urllib.request.urlopen(f"{site[0]}config") as answer:
        config = answer.read().decode()
    functions = json.loads(config)["dependencies"]
    on_upload = [f for f in functions if ["upload"] in [t[1:] for t in f["targets"]]]
    index = next(f["id"] for f in on_upload if f["backend_fn"])
    headers = {"Content-Type": "application/json"}
    for name, refused in ((path, False), (f"{site[1]}/a.png", True), ("uploads/../a.png", True)):
        file = {"path": name, "meta": {"_type": "gradio.FileData"}}
        content = {"data": [file, ""], "fn_index": index, "session_hash": "paths"}
        status, text = request(site, "POST", "queue/join", headers, json.dumps(content))
        assert status == (403 if refused else 200)
        shown.append(text)
    shown.append(request(site, "GET", "queue/data?session_hash=paths", {})[1])
    assert "323 training images" in shown[-1]
    shown[-1] = re.sub(r"base64,[\w+/=]+", "", shown[-1])  # letters by chance
    shown += [config, request(site, "GET", f"file={path}", {})[1]]
    for text in shown:
        assert not re.search(r"/tmp|explorer-|checkpoints", text)
        assert str(site[1]) not in text


@pytest.mark.fault(54)
@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_other_origins_get_no_cors_headers(site, method):
    connection = http.client.HTTPConnection(site[0].split("/")[2], timeout=60)
    for origin in ("http://evil.example", "http://localhost:9", "null"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        connection.request(method, "/gradio_api/upload", headers=asked)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 403
        assert not [name for name, _ in answer.getheaders() if name.startswith("access-control")]
    connection.close()


@pytest.mark.fault(54)
def test_uploads_together_are_bounded_and_old_ones_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_TOTAL_BYTES", 100_000)
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(bytes(50_000))
    with pytest.raises(guard.RefusedError, match="Too many uploads"):
        guard.make_room(tmp_path, 10_000)
    os.utime(tmp_path / "old/a.png", (1, 1))
    guard.make_room(tmp_path, 10_000)
    assert not (tmp_path / "old/a.png").exists()
    assert (tmp_path / "new/a.png").exists()


@pytest.mark.fault(54)
def test_uploads_at_the_same_time_are_bounded_together(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_TOTAL_BYTES", 100_000)
    kind = (b"content-type", b"multipart/form-data; boundary=x")
    scope = {"type": "http", "method": "POST"}
    scope["headers"] = [(b"host", b"localhost"), (b"content-length", b"60000"), kind]

    async def receive():
        return {"type": "http.request", "body": bytes(60_000)}

    async def status(guarded):
        sent = []

        async def send(message):
            sent.append(message)

        await guarded(scope, receive, send)
        return sent[0]["status"]

    async def statuses():
        entered, go = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            entered.set()
            await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

        guarded = guard.Guard(app, "localhost", tmp_path)
        first = asyncio.create_task(status(guarded))
        await entered.wait()
        second = asyncio.create_task(status(guarded))
        await asyncio.wait([second], timeout=5)  # a refusal comes at once
        go.set()
        return await first, await second, await status(guarded)

    assert asyncio.run(statuses()) == (200, 413, 200)


@pytest.fixture
def visit(browser, site):
    """Open the page; at the end, nothing may have left the machine or gone wrong in the console."""
    address, trouble = site[0], []
    context = browser.new_context()
    context.set_default_timeout(60_000)

    def watch(request):
        if not request.url.startswith((address, "data:", "blob:")):
            trouble.append(request.url)

    def opened(width=1200, expected="nothing"):
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.on("request", watch)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "console",
            lambda line: (
                trouble.append(line.text)
                if line.type == "error" and expected not in line.text
                else None
            ),
        )
        page.goto(address)
        page.wait_for_selector(".thumbnail-item")
        return page

    yield opened
    context.close()
    assert trouble == []


def upload(page, name, data):
    kind = "image/png" if name.endswith("png") else "image/jpeg"
    file = {"name": name, "mimeType": kind, "buffer": data}
    page.locator("input[type=file]").set_input_files(files=[file])


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_an_uploaded_picture_is_answered_on_every_screen(visit, explored, tmp_path, width):
    page = visit(width)
    upload(page, "seven.png", explored.examples[0].data)
    page.wait_for_selector(".card")
    assert page.locator(".card").count() == 3
    assert page.locator(".card .bar").first.bounding_box()["width"] > 20
    assert "seven.png" in page.locator("#answers").inner_text()
    page.get_by_role("tab").nth(1).click()
    page.wait_for_selector("#law img")
    assert "For a top-5 error of" in page.locator("#law").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not re.search(r"/tmp|explorer-|checkpoints", page.locator("body").inner_text())
    assert len(page.screenshot(path=tmp_path / "page.png", full_page=True)) > 20_000


@pytest.mark.browser
def test_the_keyboard_alone_is_enough(visit):
    page = visit()

    def tab_to(selector):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        pytest.fail(f"Tab never reaches {selector}")

    tab_to(".thumbnail-item")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    page = visit()
    tab_to("[role=tab][aria-selected=false]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#law img")
    before = page.locator("#law p").first.inner_text()
    tab_to("input[type=range]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('#law p').innerText !== before", arg=before
    )


@pytest.mark.browser
@pytest.mark.fault(54)
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("bomb.png", BOMB, f"bomb.png: its pixels exceed 40,000,000. {USE_ANOTHER}"),
        ("notes.jpg", b"no picture", f"notes.jpg: not a whole image. {USE_ANOTHER}"),
        ("notes.txt", b"no picture", "Invalid file type"),
        ("large.png", bytes(6_000_000), "maximum allowed size"),
    ],
)
def test_an_upload_that_is_no_picture_gets_a_friendly_line(visit, name, data, message):
    page = visit(expected="413")
    upload(page, name, data)
    page.get_by_text(message).first.wait_for()
    assert not re.search(r"/tmp|Traceback|explorer-", page.locator("body").inner_text())
    page.locator(".thumbnail-item").first.click()  # and it still works
    page.wait_for_selector(".card")


@pytest.mark.browser
@pytest.mark.fault(54)
def test_ten_clicks_of_ten_users_at_once_are_answered(visit):
    pages = [visit() for _ in range(10)]
    for i, page in enumerate(pages):
        page.locator(".thumbnail-item").nth(i % 8).click(no_wait_after=True)
    for i, page in enumerate(pages):
        page.wait_for_selector(".card")
        assert f"Test image {i % 8 + 1}:" in page.locator("#answers").inner_text()
    for _ in range(10):
        pages[0].locator(".thumbnail-item").nth(3).click(no_wait_after=True)
    pages[0].get_by_text("Test image 4:").wait_for()


@pytest.mark.browser
@pytest.mark.fault(54)
@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=%2Fetc%2Fpasswd",
        "gradio_api/file=../../../../etc/passwd",
        "gradio_api/file={root}/app.py",
        "gradio_api/file={study}/checkpoints/s/study.json",
        "gradio_api/file=checkpoints/s/1.0/seed-1/best.safetensors",
        "static/../../../../../etc/passwd",
        "assets/..%2f..%2f..%2f..%2fetc/passwd",
    ],
)
def test_files_of_the_machine_are_forbidden(site, extended, path):
    address = site[0] + path.format(root=ROOT, study=extended)
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(address)
    answer.value.close()
    assert answer.value.code == 403
