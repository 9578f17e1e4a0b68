"""The report of real stages in a browser: on a desktop, on a phone, offline and printed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lemore.cli import main
from lemore.runtime.files import read_json
from tests.made_up import evaluation, profile, write_results

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 800}
MODELS = ("lemore_t", "topformer_t")
IMAGES = ("val_0", "val_2")


RUN_ALL = """
import json, sys
from lemore.cli import main
for words in json.load(sys.stdin):
    sys.argv = ["lemore", *words]
    assert main(words) == 0, words
"""


@pytest.fixture(scope="module")
def results(tiny) -> dict[str, list[str]]:
    """Result files by stage of two models that were really trained, evaluated and profiled.

    The commands share one process, since importing takes longer than what they do.
    """
    (tiny.folder / "config").symlink_to(ROOT / "config")
    folders = [tiny.folder / "out" / model for model in MODELS]
    small = {"iterations": 8, "warmup_iterations": 1, "validate_every": 8}
    commands = [
        [*tiny.finetune_command(tiny.finetune_job(model, **small), folder), "--log-model"]
        for model, folder in zip(MODELS, folders, strict=True)
    ]
    settings = tiny.evaluate_job(*IMAGES)
    commands += [tiny.evaluate_command(folder, settings) for folder in folders]
    profile = tiny.folder / "profile.json"
    size = ["--num-classes", 4, "--size", 64, 64, "--seconds", 0.2]
    commands += [["profile", "--model", MODELS[0], *size, "--json", profile]]
    env = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": store_of(tiny)}
    env |= {"MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true"}
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps([[str(word) for word in command] for command in commands]),
        env=os.environ | env,
        cwd=tiny.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        "trainings": [str(folder / "run.json") for folder in folders],
        "evaluations": [str(folder / "evaluate.json") for folder in folders],
        "profiles": [str(profile)],
    }


def store_of(tiny) -> str:
    return f"sqlite:///{tiny.folder / 'mlflow.db'}"


@pytest.fixture(scope="module")
def report(tiny, results) -> Path:
    """The page, made by the commands that the workflow uses."""
    folder, page = tiny.folder, tiny.folder / "report.html"
    given = [
        "--evaluations", *results["evaluations"], "--profiles", *results["profiles"],
    ]  # fmt: skip
    for name in ("tiny", "ade20k"):
        prefix = str(folder / name)
        assert main(["table", name, "--run", "test", *given, "--output", prefix]) == 0
    drawn = ["--trainings", *results["trainings"], "--output", str(folder)]
    assert main(["figure", "results", "--evaluations", *results["evaluations"], *drawn]) == 0
    figures = [str(folder / f"{kind}_tiny.png") for kind in ("classes", "confusion", "curves")]
    tables = [str(folder / f"{name}.csv") for name in ("tiny", "ade20k")]
    made = ["report", "--run", "test", "--tables", *tables, "--figures", *figures, *given]
    made += ["--trainings", *results["trainings"], "--data-dir", str(folder / "data")]
    assert main([*made, "--dataset-titles", "tiny=Tiny <squares>", "--output", str(page)]) == 0
    return page


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


class Tab:
    """A page, and whatever went wrong or went out while it was open."""

    def __init__(self, browser, viewport: dict[str, int]):
        self.page = browser.new_page(viewport=viewport)
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.refused: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", lambda request: self.requests.append(request.url[:200]))
        self.page.on("response", self._response)
        self.page.on("console", self._console)

    def _failed(self, request) -> None:
        self.faults.append(f"{request.failure} {request.url[:200]}")

    def _response(self, response) -> None:
        if response.status >= 400:
            self.refused.append(f"{response.status} {urlsplit(response.url).path}")

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def tab(request, browser, report):
    """The report, opened from its file; nothing may fail, and nothing leave the file."""
    opened = Tab(browser, request.param)
    opened.page.goto(report.as_uri())
    yield opened
    outside = [url for url in opened.requests if not url.startswith("data:")]
    opened.page.close()
    assert opened.faults == []
    assert outside == [report.as_uri()]


def column(page, table: str, header: str) -> list[str]:
    """Texts of a table's column from top to bottom, rows that are headings left out."""
    return page.evaluate(
        """([table, header]) => {
          const found = document.querySelector(`#table-${table} table`);
          const titles = [...found.tHead.rows[0].cells].map(cell => cell.innerText.trim());
          const at = titles.findIndex(title => title.startsWith(header));
          const rows = [...found.querySelectorAll("tbody tr:not(.heading)")];
          return rows.map(row => row.cells[at].innerText.trim());
        }""",
        [table, header],
    )


def header(page, table: str, text: str):
    return page.locator(f"#table-{table} thead th", has_text=text).first


def test_rows_are_those_of_the_results(tab, results):
    shown = dict(
        zip(column(tab.page, "tiny", "Model"), column(tab.page, "tiny", "mIoU"), strict=True)
    )
    measured = [read_json(path) for path in results["evaluations"]]
    assert len(shown) == len(MODELS)
    for result in measured:
        name = next(name for name in shown if name.startswith(result["label"]))
        assert float(shown[name]) == pytest.approx(100 * result["miou"], abs=0.005)
    assert "Tiny <squares>" in tab.page.locator("#table-tiny h3").inner_text()


def test_tables_sort_by_click(tab, results):
    page, pixels = tab.page, read_json(results["evaluations"][0])["confusion"]
    before = column(page, "tiny_classes", "Class")
    least, most = (sorted(range(4), key=lambda k: s * sum(pixels[k])) for s in (1, -1))
    share = header(page, "tiny_classes", "Share")
    share.locator("button").click()
    assert share.get_attribute("aria-sort") == "descending"
    assert column(page, "tiny_classes", "Class") == [before[k] for k in most]
    share.locator("button").click()
    assert share.get_attribute("aria-sort") == "ascending"
    assert column(page, "tiny_classes", "Class") == [before[k] for k in least] != before
    share.locator("button").click()
    assert share.get_attribute("aria-sort") == "none"
    assert column(page, "tiny_classes", "Class") == before


def test_tables_sort_by_keyboard_with_empty_cells_last(tab):
    page = tab.page
    before = column(page, "ade20k", "mIoU published")
    published = header(page, "ade20k", "mIoU published")
    published.locator("button").focus()
    assert published.locator("button").evaluate("b => getComputedStyle(b).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    after = column(page, "ade20k", "mIoU published")
    assert published.get_attribute("aria-sort") == "descending"
    assert after != before and sorted(after) == sorted(before)
    page.keyboard.press("Space")
    assert published.get_attribute("aria-sort") == "ascending"
    parts = page.eval_on_selector_all(
        "#table-ade20k tbody",
        """(bodies, at) => bodies.map(body => [...body.querySelectorAll("tr:not(.heading)")]
             .map(row => row.cells[at].firstChild?.textContent.trim() ?? ""))""",
        published.evaluate("cell => cell.cellIndex"),
    )
    assert len(parts) > 1
    for part in parts:  # each under its heading
        numbers = [float(text) for text in part if text]
        assert numbers == sorted(numbers)
        assert part[len(numbers) :] == [""] * (len(part) - len(numbers))


def visible_layers(page) -> list[str]:
    """Alternative texts of the label maps that can be seen, one for each image."""
    return page.locator(".viewer .views .map:visible").evaluate_all("all => all.map(i => i.alt)")


def pixels(page) -> list:
    """What is drawn of the first chosen image."""
    return page.locator(".views .stack").first.screenshot()


def test_the_toggle_swaps_the_picture(tab):
    page = tab.page
    photo = pixels(page)
    assert visible_layers(page) == []
    page.get_by_label("Ground truth", exact=True).check()
    assert visible_layers(page) == [f"Ground truth of {name}" for name in IMAGES]
    truth = pixels(page)
    page.keyboard.press("ArrowRight")  # radio buttons go on by arrow keys
    (first, _), remark = visible_layers(page), page.locator(".views figcaption").first
    assert first.startswith("Prediction of") and first.endswith(IMAGES[0])
    assert "mIoU of this image" in remark.inner_text()
    predicted = pixels(page)
    assert len({photo, truth, predicted}) == 3
    page.get_by_label("Errors only").check()
    assert [text.endswith("errors only") for text in visible_layers(page)] == [True, True]
    assert pixels(page) not in (photo, truth, predicted)
    page.get_by_label("Opacity").fill("100")
    assert page.locator(".map:visible").first.evaluate("map => map.style.opacity") == "1"
    page.get_by_label("Image", exact=True).check()
    assert visible_layers(page) == [] and pixels(page) == photo


def test_figures_enlarge_and_close_by_keyboard(tab):
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    button = page.locator(".figures .enlarge").first
    small = button.locator("img").bounding_box()
    button.focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible() and page.evaluate("document.activeElement.className") == "close"
    assert dialog.locator("img").get_attribute("alt") == button.locator("img").get_attribute("alt")
    dialog.get_by_role("button", name="Fit or full size").click()
    large = dialog.locator("img").bounding_box()
    assert large["width"] > small["width"] and large["height"] > small["height"]
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className") == "enlarge"  # where one was


def test_an_enlarged_image_goes_through_the_layers(tab):
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    page.locator(".views .enlarge").first.click()
    page.keyboard.press("ArrowRight")
    assert "Ground truth" in dialog.locator("p").inner_text()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # round to the last model
    assert dialog.locator(".map:visible").get_attribute("alt").startswith("Prediction of")
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()
    assert len(visible_layers(page)) == len(IMAGES)  # the page shows the same layer


def test_the_page_is_as_wide_as_the_screen(tab):
    wide = tab.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    boxes = tab.page.locator(".scroll").evaluate_all(
        "all => all.map(b => [b.scrollWidth > b.clientWidth, getComputedStyle(b).overflowX])"
    )
    assert all(overflow == "auto" for _, overflow in boxes)
    assert tab.page.viewport_size != PHONE or any(wider for wider, _ in boxes)


def test_a_wide_screen_shows_every_column(browser, tmp_path):
    """Of the paper's Table 1 with all that can be measured."""
    models = ("lemore", "segformer_b0", "pspnet_mobilenet_v2")
    runs = [
        evaluation(m, 0.3, seed=s, dataset="ade20k", stands_for=None)
        for m in models
        for s in (0, 1)
    ]
    given = ["--evaluations", *write_results(tmp_path, runs)]
    given += ["--profiles", *write_results(tmp_path, [profile(m, 8e8) for m in models])]
    table = str(tmp_path / "ade20k")
    assert main(["table", "ade20k", "--run", "r", *given, "--output", table]) == 0
    made = ["report", "--run", "r", "--tables", f"{table}.csv", *given]
    assert main([*made, "--output", str(tmp_path / "report.html")]) == 0
    page = browser.new_page(viewport={"width": 1920, "height": 1000})
    page.goto((tmp_path / "report.html").as_uri())
    hidden = "all => all.map(b => b.scrollWidth - b.clientWidth)"  # pixels of the width
    assert page.locator("#table-ade20k thead th").count() == 16
    assert page.locator(".scroll").evaluate_all(hidden) == [0, 0]
    page.close()


def test_those_who_hear_or_type_find_their_way(tab):
    page = tab.page
    assert page.evaluate("document.documentElement.lang") == "en" and "test" in page.title()
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    missing = """[
      ...[...document.querySelectorAll("main img")].filter(i => !i.alt),
      ...[...document.querySelectorAll("input")].filter(i => !i.labels.length),
      ...[...document.querySelectorAll("table")].filter(t => !t.caption?.textContent.trim()),
      ...[...document.querySelectorAll("th")].filter(t => !t.scope),
      ...[...document.querySelectorAll("button")].filter(b => !(b.ariaLabel || b.innerText.trim()
        || b.querySelector("img[alt]"))),
    ].map(found => found.outerHTML.slice(0, 200))"""
    assert page.evaluate(missing) == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    links = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash)")
    assert {link[1:] for link in links} <= set(ids)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the results"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_how_each_number_was_made(tab, results):
    page = tab.page
    for path in results["evaluations"] + results["trainings"]:
        result = read_json(Path(path))
        step = page.locator("main > details", has_text=result["mlflow_run_id"]).filter(
            has_text=result["command"]
        )
        step.locator("summary").first.click()
        assert step.locator("pre").first.inner_text() == result["command"]
        assert result.get("git", result["code"]) in step.inner_text()
        step.locator("details.config summary").click()
        words = result["command"].split()
        config = Path(words[words.index("--config") + 1])
        assert step.locator("details.config pre").inner_text().strip() == config.read_text().strip()


def test_on_paper(tab):
    page = tab.page
    page.emulate_media(media="print")
    for hidden in ("nav", ".controls", ".skip", ".download", "dialog"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert page.locator("#table-tiny table").is_visible()
    boxes = page.locator(".scroll").evaluate_all(
        "all => all.map(b => getComputedStyle(b).overflow)"
    )
    assert set(boxes) == {"visible"}
    page.evaluate(
        "addEventListener('beforeprint', () => "
        "{ window.folded = document.querySelectorAll('main > details:not([open])').length; })"
    )
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert page.evaluate("window.folded") == 0  # whatever is folded up is printed
    assert page.locator("main > details[open]").count() == 0  # and folded up again


@pytest.fixture(scope="module")
def server(tiny, results):
    """The address of MLflow's page on the store of these stages."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store_of(tiny)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        cwd=tiny.folder,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield _answering(f"http://127.0.0.1:{port}", process)
    finally:
        for kind in (signal.SIGTERM, signal.SIGKILL):  # its children outlive it
            with suppress(ProcessLookupError):
                os.killpg(process.pid, kind)
            process.wait(30)


def _answering(address: str, process: subprocess.Popen) -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return address
        time.sleep(0.3)
    raise AssertionError("mlflow server did not start")


# What MLflow's page asks for and says by itself, whatever is in the store.
MLFLOW_REFUSES = {"404 /ajax-api/2.0/mlflow/users/current"}  # there is no login
MLFLOW_SAYS = (
    "AG Grid: since v27.1",  # its table's own deprecations
    "AG Grid: unable to find bean reference frameworkOverrides",  # its table, left while it loads
    "null ResizeObserver loop completed with undelivered notifications",  # its charts' layout
    "Failed to load resource: the server responded with a status of 404",  # the above
    "net::ERR_ABORTED",  # what it had asked for when the test went to the next page
)


@pytest.fixture
def mlflow_page(browser, server):
    opened = Tab(browser, {"width": 1600, "height": 1000})
    yield opened
    opened.page.close()
    assert set(opened.refused) <= MLFLOW_REFUSES
    assert [fault for fault in opened.faults if not fault.startswith(MLFLOW_SAYS)] == []
    outside = [url for url in opened.requests if not url.startswith((server, "data:", "blob:"))]
    assert outside == []


def test_mlflow_shows_experiments_runs_and_charts(mlflow_page, server):
    page = mlflow_page.page
    page.goto(f"{server}/#/experiments")
    page.get_by_text("Model training").first.click()  # as docs/mlflow.md says
    page.get_by_role("link", name="test/tiny").click()
    for model in MODELS:
        for stage in ("finetune", "evaluate"):
            name = f"{stage} {model} on tiny, seed 0"
            sync_api.expect(page.get_by_text(name).first).to_be_visible(timeout=60_000)
    experiment = page.url.split("?")[0].removesuffix("/runs")
    page.goto(f"{experiment}/runs?compareRunsMode=CHART")
    sync_api.expect(page.get_by_role("heading", name="train/loss")).to_be_visible(timeout=60_000)
    sync_api.expect(page.locator(".main-svg").first).to_be_visible(timeout=60_000)


def test_mlflow_shows_a_model_by_dataset_and_system_metrics(mlflow_page, server, results):
    run_id = read_json(Path(results["trainings"][0]))["mlflow_run_id"]
    with urllib.request.urlopen(f"{server}/api/2.0/mlflow/runs/get?run_id={run_id}") as answer:
        run = json.load(answer)["run"]
    experiment = f"{server}/#/experiments/{run['info']['experiment_id']}"
    (output,) = run["outputs"]["model_outputs"]
    page = mlflow_page.page
    page.goto(f"{experiment}/models/{output['model_id']}")
    for stage, name in (("finetune", "train/loss"), ("evaluate", "val/mIoU")):
        row = page.get_by_role("row").filter(has_text=f"{stage} {MODELS[0]}")
        row = row.filter(has_text=name).filter(has_text="tiny (#")
        sync_api.expect(row).to_be_visible(timeout=60_000)
    page.goto(f"{experiment}/runs/{run_id}/system-metrics")
    heading = page.get_by_role("heading", name="cpu_utilization_percentage")
    sync_api.expect(heading).to_be_visible(timeout=60_000)
    page.goto(f"{server}/#/models/tiny-{MODELS[0]}/versions/1")
    for text in ("Version 1", "test-seed0", f"finetune {MODELS[0]} on tiny, seed 0"):
        sync_api.expect(page.get_by_text(text).first).to_be_visible(timeout=60_000)
