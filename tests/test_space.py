"""space/app.py: the forecaster alone as a page, on pasted numbers."""

import ast
import importlib.util
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.request

import pytest
import yaml

from dataworth import LearningCurve
from tests.conftest import PATHS, ROOT

SPACE = ROOT / "space"


@pytest.fixture(scope="module")
def space():
    specification = importlib.util.spec_from_file_location("space_app", SPACE / "app.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_it_imports_the_public_api_alone_and_no_torch():
    documented = (ROOT / "docs/reference/api.md").read_text()
    for node in ast.walk(ast.parse((SPACE / "app.py").read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or node.names[0].name
            if module.startswith("dataworth."):
                names = [f"{module}.{alias.name}" for alias in node.names]
                assert all(f"::: {name}" in documented for name in names), names
            assert "torch" not in module


def test_the_card_names_what_the_hub_needs():
    card = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    assert (card["sdk"], card["app_file"], card["license"]) == ("gradio", "app.py", "mit")
    assert len(card["short_description"]) <= 60  # the hub's limit
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (least,) = re.findall(r">=([\d.]+)", project["optional-dependencies"]["explorer"][0])
    version, minimum = (tuple(map(int, text.split("."))) for text in (card["sdk_version"], least))
    assert version >= minimum
    lines = (SPACE / "requirements.txt").read_text().splitlines()
    assert f"dataworth @ git+{project['urls']['Repository']}" in lines


@pytest.mark.parametrize("index", [0, 1, 2])
def test_every_example_has_a_law_and_an_order(space, index):
    text, chance, target, _ = space.EXAMPLES[index]
    curve = space.fit(text, chance)
    assert space.forecasts(curve)["images"].str.contains("unreliable").tolist() == [0, 0, 1]
    assert re.search(r"Order [\d,]+ images now\*\*", space.order(curve, target))


def test_the_numbers_are_those_of_the_learning_curve(space):
    curve = space.fit(space.EXAMPLES[0][0], 95)
    assert isinstance(curve, LearningCurve)
    assert (curve.chance, curve.num_test) == (0.95, 5000)
    assert curve.analysis_.points.error.tolist() == [0.2721, 0.2351, 0.1927, 0.1592, 0.1336]
    error = f"{100 * curve.predict(100_000):.1f} %"
    assert space.forecasts(curve)["error"][0] == error
    assert f"error of {error}" in space.describe(curve)
    plan, text = curve.plan(0.11, 2, price=0.5), space.order(curve, 11, 2, 0.5)
    assert f"Order {float(f'{plan.order:.3g}'):,.0f} images now for" in text
    assert f"reached then is {100 * plan.chance_now:.0f} %" in text
    assert f"it is {100 * plan.chance:.0f} %" in text


@pytest.mark.slow
def test_the_backtest_and_the_figure_are_those_of_the_learning_curve(space):
    curve = space.fit(space.EXAMPLES[0][0], 95)
    points = [f"{100 * test.point:.1f} %" for test in curve.backtest_]
    assert space.backtests(curve)["forecast"].tolist() == points
    assert space.draw(curve).axes[0].get_xscale() == "log"


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("n,error\n100,0.3\n200,0.2", (), "sizes"),
        ("n,loss\n100,3\n200,2\n400,1", (), "share of wrong answers"),
        ("a,b\n1,2", (), "No column of training set sizes"),
        ("n,x\n100,0.3\n200,0.25\n400,0.2", (), "No column of errors"),
        ("n,error\n100,0.3\n200,0.25\n400,0.2", (120,), "share above 0 and up to 1"),
        ("n,error\n100,0.3\n200,0.25\n400,0.2", (90, "size"), '"Column of sizes": no column'),
        ("\ud800", (), "surrogates"),
        ("n,error\n" + "100,0.3\n" * 10_000, (), "At most 50,000 characters"),
    ],
)
def test_what_cannot_be_forecast_is_a_line_without_a_path(space, text, given, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        space.fit(text, *given)
    assert not re.search(r"/tmp|table\.csv|--|\n", str(refused.value))
    shown = space.answer(text, *given, *[None, "", "", ""][len(given) :])
    assert shown[0].startswith("**No forecast.** ")
    assert space.answer_order(text, *given, *[None, "", "", ""][len(given) :], 10, 1, 0, 10) == ""


def test_numbers_without_names_and_named_columns_are_read(space):
    rows = "1000 0.42\n2000 0.35\n4000 0.29\n8000 0.24"
    error = "errors"
    assert space.fit(rows, 90, kind=error).predict(8000) == pytest.approx(0.24, rel=0.05)
    named = "epoch,images,score\n1,1000,58\n2,2000,65\n3,4000,71\n4,8000,76"
    curve = space.fit(named, 90, "images", "3", "accuracies in percent")
    assert curve.predict(8000) == pytest.approx(0.24, rel=0.05)


def test_uploads_become_text_in_the_encodings_of_spreadsheets(space, tmp_path):
    path = tmp_path / "a.csv"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        path.write_text("größe;error\n1;2", encoding=encoding)
        assert space.read_upload(str(path)) == "größe;error\n1;2"
    assert space.read_upload(None) == ""


def test_names_of_columns_are_never_markup(space):
    text = "n,![x](//evil.example) error\n1000,0.42\n2000,0.35\n4000,0.29"
    described = space.describe(space.fit(text, 90))
    assert "](//" not in described


@pytest.fixture(scope="module")
def page_address(tmp_path_factory):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("space")
    environment = os.environ | {"PYTHONPATH": PATHS, "GRADIO_SERVER_PORT": str(port)}
    environment |= {"GRADIO_ANALYTICS_ENABLED": "False", "TMPDIR": str(folder)}
    words = [sys.executable, "-u", SPACE / "app.py"]
    with subprocess.Popen(
        words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE
    ) as process:
        try:
            assert "Running on" in process.stdout.readline() + process.stdout.readline()
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_an_example_and_a_pasted_table_are_answered_on_every_screen(
    browser, page_address, space, width
):
    with urllib.request.urlopen(f"{page_address}config") as answer:
        assert "/home" not in answer.read().decode()
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(120_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_address)
    page.get_by_text("100,000 images, a new run is forecast").wait_for()  # the first example
    page.get_by_text(space.EXAMPLES[1][3]).click()
    page.get_by_text("25,000 images, a new run is forecast").wait_for()
    page.wait_for_selector("#plan p")
    assert "Order" in page.locator("#plan").inner_text()
    assert page.locator("#law img").bounding_box()["width"] > 250
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("textarea").first.fill("n,error\n100,0.3\n200,0.2")
    page.get_by_text("No forecast.").wait_for()
    page.wait_for_selector("#plan", state="hidden")
    page.locator("textarea").first.fill(space.EXAMPLES[0][0])
    page.get_by_text("100,000 images, a new run is forecast").wait_for()
    assert errors == []
    page.close()
