"""report.html: values on pointing, both themes, contents; made-up studies with hostile names."""

import json
import re
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from dataworth.figures.scaling import plot_error
from dataworth.figures.style import COLOURS, GREY, new_axes
from dataworth.findings.curves import Curve
from dataworth.findings.sentences import UNRELIABLE, percent
from dataworth.findings.study import VariantFindings
from dataworth.findings.worth import OptionsWorth, factor
from dataworth.report import hover
from dataworth.report.dark_theme import dark_colour, rules
from dataworth.report.drawings import Value, inline
from dataworth.report.page import HERE, render
from dataworth.report.sections import Section, combined_drawings, summary, worth_part
from dataworth.report.tables import Table, with_class_names
from dataworth.scaling.analysis import Analysis
from dataworth.scaling.fitting import fit
from dataworth.scaling.forecasting import RELIABLE_FACTOR
from dataworth.scaling.points import Points
from dataworth.scaling.worth import Comparison, Estimate, Worth
from tests.test_report import CHROMIUM, HOSTILE, Page, contrast

N = np.array([1000, 2000, 4000, 8000])
NUM_TEST = 1000


def variant(name, shares):
    """A variant with two seeds per size and a law."""
    rows = [
        {
            "num_train_images": n,
            "seed": seed,
            "num_images": NUM_TEST,
            "top_1_error": share * ratio,
            "top_5_error": np.nan,
        }
        for n, share in zip(N.tolist(), shares, strict=True)
        for seed, ratio in ((1, 0.99), (2, 1.01))
    ]
    runs = pd.DataFrame(rows)
    points = Points(*runs[["num_train_images", "top_1_error", "num_images"]].to_numpy(float).T)
    curve = Curve("top_1_error", runs, runs[:0], Analysis(points, 0.9, fit(points, 0.9), ""))
    intervals = [(0.9 * share, 1.1 * share) for share in shares]
    columns = {"num_images": N, "top_1_error": shares, "top_1_error_interval": intervals}
    results = SimpleNamespace(complete_runs=())
    curves = {"top_1_error": curve}
    return VariantFindings(name, name, results, pd.DataFrame(columns), curves, pd.DataFrame())


@pytest.fixture(scope="module")
def findings():
    return [variant(HOSTILE[0], 3 * N**-0.3), variant(HOSTILE[1], 2.7 * N**-0.3)]


def worth_of(names):
    """The worth of two options at one size each: told, and only as a bound."""
    rows = [
        Worth(2000.0, True, times, 0.25, 8.0, Estimate(-0.02, -0.03, -0.01), True)
        for times in (Estimate(1.5, 1.2, 1.9), Estimate(8.0, 6.0, 8.0))
    ]
    options = {
        name: Comparison((row,), None, "") for name, row in zip(names[1:], rows, strict=True)
    }
    return OptionsWorth(names[0], "top-1 error", options)


@pytest.fixture(scope="module")
def content(findings):
    """What the template is filled with: hostile names wherever a name goes."""
    text = " ".join(HOSTILE)
    table = Table(text, (text, text), ((text, text),))
    part = worth_part(worth_of(HOSTILE[:3]))
    sections = [
        Section(f"s{i}", name, text, part, (), part, part, part, ())
        for i, name in enumerate(HOSTILE[:2])
    ]
    return {
        "experiment": text, "question": text, "completeness": text, "pending": [text],
        "summary": summary([]) or table,
        "combined": combined_drawings(findings), "worth": part, "training": part,
        "sections": sections, "absent": [(text, text)],
        "runs": table, "settings": table, "provenance": table,
    }  # fmt: skip


@pytest.fixture(scope="module")
def path(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(content))
    return path


def grounds():
    return re.findall(r"--ground: (#\w{6})", (HERE / "page.css").read_text())


# Values.


def test_marks_lie_on_what_is_drawn():
    ax = new_axes(4, 3)
    ax.plot([1, 10, 100], [3, 2, 1], "s", gid="data")
    ax.set(xscale="log")
    values = [Value(10, 2, "b"), Value(1, 3, "a"), Value(100, 1, "c", 5.0), Value(1e6, 1, "out")]
    drawing = inline(ax, "x", "alt", "", values)
    markers = [
        (float(use.get("x")), float(use.get("y")))
        for group in ET.fromstring(drawing.svg).iter("g")
        if group.get("id") == "x-data"
        for use in group.iter("use")
    ]
    drawing_marks = [(x - 5.0 * (text == "c"), y, text) for x, y, text in drawing.marks]
    assert [text for *_, text in drawing_marks] == ["a", "b", "c"]
    for (x, y, _), marker in zip(drawing_marks, markers, strict=True):
        assert (x, y) == pytest.approx(marker, abs=0.11)


def test_every_run_mean_and_law_has_a_value(findings):
    curve, sizes = findings[0].curves["top_1_error"], findings[0].sizes
    values = hover.error_values(curve, sizes)
    texts = [value.text for value in values]
    for n, seed, error in curve.runs[["num_train_images", "seed", "top_1_error"]].to_numpy():
        assert f"{n:,.0f} images, seed {seed:.0f}\n{percent(error)}" in texts
    means = [value for value in values if "mean of 2 seeds" in value.text]
    assert [value.x for value in means] == N.tolist()
    assert [value.y for value in means] == sizes["top_1_error"].tolist()
    assert all("\nlaw " in value.text for value in means)
    laws = [value for value in values if "seed" not in value.text]
    posterior = curve.analysis.posterior
    assert min(abs(np.log(value.x / n)) for value in laws for n in N) > 0.1
    assert laws[-1].x == 8 * N[-1]
    for value in laws:
        (error,) = np.median(posterior.law_error(np.array([value.x])), axis=0)
        assert value.y == pytest.approx(error)
        assert f" {percent(error)} (90 %: " in value.text
        assert (UNRELIABLE in value.text) == (value.x > RELIABLE_FACTOR * N[-1])
        assert ("forecast" in value.text) == (value.x > N[-1])


def test_without_a_law_and_with_errors_of_zero_there_are_values(findings):
    curve = findings[0].curves["top_1_error"]
    runs = curve.runs.assign(top_1_error=0.0)
    curve = Curve("top_1_error", runs, runs[:0], Analysis(curve.analysis.points, 0.9, None, "few"))
    sizes = findings[0].sizes.assign(top_1_error=0.0, top_1_error_interval=[(0.0, 0.01)] * len(N))
    values = hover.error_values(curve, sizes)
    assert {value.y for value in values} == {0.5 / NUM_TEST}
    assert len(inline(plot_error(new_axes(), curve, sizes), "x", "", "", values).marks) == 12
    assert not any("law" in value.text for value in values)


def test_options_are_told_by_name_and_worth(findings):
    worth = worth_of(HOSTILE[:3])
    values = list(hover.worth_values(worth))
    rows = {name: comparison.rows[0] for name, comparison in worth.comparisons.items()}
    for value, (name, row) in zip(values, rows.items(), strict=True):
        assert value.text == f"{name}\n2,000 images, measured\nworth {factor(row)}"
    curves = {variant.name: variant.curves["top_1_error"] for variant in findings}
    sizes = {variant.name: variant.sizes for variant in findings}
    names = {value.text.split("\n")[0] for value in hover.variants_values(curves, sizes)}
    assert names == set(curves)


def test_classes_are_told_by_name():
    rows = pd.DataFrame(
        {"class": ["golden retriever", "goldfish"], "verdict": ["undecided", "gains"],
         "drop": [0.1, 0.3], "drop_low": [0.0, 0.2], "drop_high": [0.2, 0.4]}
    )  # fmt: skip
    first, second = hover.gain_values(rows)
    assert first.text == "goldfish\ngain 30 points (95 %: 20 to 40)\ngains"
    assert (second.x, second.text.split("\n")[0]) == (2, "golden retriever")
    assert len(list(hover.gain_values(rows.assign(drop=[np.nan, 0.3], verdict=np.nan)))) == 1


@pytest.mark.slow
def test_ids_of_an_older_table_become_words():
    table = pd.DataFrame({"class": ["n02099601", "n01443537"] * 2, "num_images": [1, 1, 2, 2]})
    words = with_class_names(table)
    assert words["class"].tolist() == ["golden retriever", "goldfish"] * 2
    named = pd.DataFrame({"class": list(HOSTILE)})
    assert with_class_names(named)["class"].tolist() == list(HOSTILE)


# Themes.


def test_colours_of_figures_stand_out_in_both_themes():
    light, dark = grounds()
    for colour in (*COLOURS, GREY):
        if contrast(colour, light) >= 3:
            assert contrast(dark_colour(colour), dark) >= 4.5, colour
    assert contrast(dark_colour("#ffffff"), dark) < 1.1
    darkest, lightest = dark_colour("#471365"), dark_colour("#7ad151")  # most and fewest images
    assert contrast(darkest, dark) > contrast(lightest, dark) >= 2


def test_each_colour_of_a_drawing_has_a_rule():
    text = rules('<path fill="#0072b2" stroke="#d55e00" /><g fill="none" stroke="#0072B2" />')
    assert text.count("[fill=") == text.count("[stroke=") == 2
    assert f'[stroke="#d55e00"] {{ stroke: {dark_colour("#d55e00")}; }}' in text
    assert "screen and (prefers-color-scheme: dark)" in text


# The page.


def test_the_page_allows_its_own_style_and_script_only(path):
    page = Page(path)
    (policy,) = (attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs)
    assert "unsafe" not in policy
    assert "style-src 'sha256-" in policy
    assert "script-src 'sha256-" in policy
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not [attrs for _, attrs in page.tags if "style" in attrs]


def test_hostile_names_stay_text_in_values_and_contents(path):
    page = Page(path)
    for name in HOSTILE:
        assert name in page.text
    assert "<script>alert" not in page.source
    assert "<img src=x" not in page.source
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    stored = [json.loads(attrs["data-marks"]) for attrs in page.all("div") if "data-marks" in attrs]
    texts = [text for marks in stored for *_, text in marks]
    for name in HOSTILE[:3]:
        assert any(text.startswith(f"{name}\n") for text in texts)


def test_contents_name_every_section(path):
    page = Page(path)
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    targets = [attrs["href"].removeprefix("#") for attrs in page.all("a")]
    assert set(targets) <= ids
    assert len(targets) == len(set(targets)) == 3 + 2 * 5 + 4
    assert not {"s0-targets", "s0-mistakes"} & ids, "headings of empty parts"
    assert {"combined", "worth", "training", "s0", "s1-classes", "provenance"} <= set(targets)


@pytest.mark.browser
@pytest.mark.filterwarnings("default")  # the driver's own
def test_values_themes_and_contents_in_a_browser(path):
    from playwright import sync_api

    light, dark = grounds()
    said = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme, width, ground in (("light", 1200, light), ("dark", 390, dark)):
            page = browser.new_page(
                viewport={"width": width, "height": 800}, color_scheme=scheme, has_touch=True
            )
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: said.append(dialog.message))
            page.goto(path.as_uri())
            colours = [int(ground[i : i + 2], 16) for i in (1, 3, 5)]
            style = "getComputedStyle(document.querySelector('{}')).{}"
            found = page.evaluate(style.format("body", "backgroundColor"))
            assert found == f"rgb({', '.join(map(str, colours))})"
            line = page.evaluate(style.format('svg [stroke="#0072b2"]', "stroke"))
            assert (line == "rgb(0, 114, 178)") == (scheme == "light")
            show_values(page, width)
            check_contents(page, width)
            page.close()
        browser.close()
    assert said == []


def show_values(page, width):
    """Point at each figure, or tap it; step through its values; leave it."""
    for plot in page.locator(".plot").all():
        texts = [text for *_, text in json.loads(plot.get_attribute("data-marks"))]
        tip = plot.locator("output")
        assert not tip.is_visible()
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        place = {"x": box["width"] / 2, "y": box["height"] / 2}
        if width < 600:
            plot.tap(position=place)
        else:
            plot.hover(position=place)
        assert tip.is_visible()
        assert tip.text_content() in texts
        before = tip.text_content()
        for key, text in (("ArrowRight", None), ("ArrowLeft", before)):
            plot.press(key)
            assert tip.text_content() in texts
            assert text is None or tip.text_content() == text
            shown = tip.bounding_box()
            assert shown["x"] >= 0
            assert shown["x"] + shown["width"] <= width
        plot.press("Escape")
        assert not tip.is_visible()


def check_contents(page, width):
    """The contents stay in view where there is room, and cover nothing."""
    page.evaluate("document.querySelector('#provenance').scrollIntoView()")
    page.wait_for_timeout(100)
    nav = page.locator("nav").bounding_box()
    if width < 600:
        assert nav["y"] + nav["height"] < 0
    else:
        assert nav["y"] >= 0
        assert nav["x"] + nav["width"] <= page.locator("main").bounding_box()["x"]
        assert page.locator('nav a[aria-current="true"]').count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
