"""The examples in Python, C++ and a browser: the same label maps from one exported file."""

import base64
import http.server
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import lemore
from lemore.cli import main
from lemore.scenes.pictures import draw_scene
from tests.local_server import QuietHandler, serve

EXAMPLES = Path(__file__).parents[2] / "examples/deploy"
WEB = EXAMPLES / "web"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
CAMVID = "camvid/images/test/0001TP_008550.jpg"
REFUSED = "export the model with --with-normalization --labels image"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The published LeMoRe as a file that takes RGB 0..255 and gives train ids."""
    file = tmp_path_factory.mktemp("model") / "lemore.onnx"
    command = ["export", "--checkpoint", "lemore-camvid", "--format", "onnx", "--output", str(file)]
    command += ["--with-normalization", "--labels", "image", "--size", "192", "256"]
    assert main([*command, "--seconds", "0.1"]) == 0
    return file


@pytest.fixture(scope="module")
def other(model) -> Path:
    """A file that says that it gives logits."""
    proto = onnx.load(model)
    told = {one.key: one.value for one in proto.metadata_props}
    onnx.helper.set_model_props(proto, told | {"output": '"logits at native stride"'})
    onnx.save(proto, model.with_name("logits.onnx"))
    return model.with_name("logits.onnx")


@pytest.fixture(scope="module", params=["scene", "camvid"])
def photo(request, tmp_path_factory) -> Path:
    """A PNG of another size and shape than the file's images."""
    path = tmp_path_factory.mktemp("photo") / f"{request.param}.png"
    if request.param == "scene":
        image = Image.fromarray(draw_scene("streets", (333, 500), 0, 0)[0])
    else:
        image = Image.open(request.getfixturevalue("samples") / CAMVID).crop((0, 0, 431, 355))
    image.save(path)
    return path


@pytest.fixture(scope="module")
def expected(model, photo) -> Image.Image:
    """What the Python example writes."""
    target = photo.with_name("python.png")
    command = [sys.executable, EXAMPLES / "python/segment.py", model, photo, target]
    subprocess.run(command, check=True)
    return Image.open(target)


def measure_equal(found: Image.Image, expected: Image.Image) -> float:
    """The share of pixels of the same colour."""
    assert found.size == expected.size
    one, two = (np.asarray(picture.convert("RGB")) for picture in (found, expected))
    return float((one == two).all(-1).mean())


def test_python_labels_as_lemore_does(model, photo, expected):
    """But at the edges of classes, which lemore enlarges smoothly."""
    result = lemore.load(model).predict(photo)
    labels = np.asarray(expected)
    assert len(np.unique(labels)) > 3 and (labels == result.label_map).mean() > 0.94
    found = np.reshape(expected.getpalette(), (-1, 3))[: len(result.colors)]
    assert found.tolist() == [list(color) for color in result.colors]


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The C++ example, built."""
    if "ONNXRUNTIME_ROOT" not in os.environ or not shutil.which("cmake"):
        pytest.skip("ONNXRUNTIME_ROOT names no ONNX Runtime for C++, or there is no cmake")
    folder = tmp_path_factory.mktemp("cpp")
    for command in (["-S", EXAMPLES / "cpp", "-B", folder], ["--build", folder]):
        subprocess.run(["cmake", *command], check=True)
    return folder / "segment"


def test_cpp_labels_as_python_does(program, model, photo, expected):
    target = photo.with_name("cpp.png")
    done = subprocess.run([program, model, photo, target], check=True, capture_output=True)
    found = Image.open(target)
    assert (np.asarray(found) == np.asarray(expected)).mean() > 0.9999
    assert measure_equal(found, expected) > 0.9999
    lines = [line.split(": ") for line in done.stdout.decode().splitlines()]
    assert {name for name, _ in lines} <= set(lemore.load(model).classes)
    assert sum(float(share.removesuffix("%")) for _, share in lines) == pytest.approx(100, abs=1)


def test_cpp_refuses_in_words(program, model, other, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    for options, message in (
        ((other, tmp_path / "photo.png"), REFUSED),
        ((model, tmp_path / "none.png"), "none.png: "),
        ((tmp_path / "photo.png", tmp_path / "photo.png"), "photo.png failed"),
    ):
        command = [program, *options, tmp_path / "labels.png"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1 and message in done.stderr


class Site(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
        super().__init__(*args, directory=WEB)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    if not (WEB / "node_modules/onnxruntime-web").is_dir():
        pytest.skip(f"onnxruntime-web is not installed: npm install --prefix {WEB}")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


class Tab:
    """The page, the addresses that it asked for, and its console's lines."""

    def __init__(self, browser, address: str):
        self.page = browser.new_page()
        self.requests: list[str] = []
        self.lines: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.lines.append(message.text))
        self.page.on("pageerror", lambda error: self.lines.append(str(error)))
        self.page.goto(address)

    def choose(self, model: Path, photo: Path) -> str:
        """Chooses a model, drops a photo; returns what the page says when it is done."""
        self.page.set_input_files("#model", model)
        box = self.page.locator("#photo").bounding_box()
        data = {"items": [], "files": [str(photo)], "dragOperationsMask": 1}
        where = {"x": box["x"] + 9, "y": box["y"] + 9, "data": data}
        devtools = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            devtools.send("Input.dispatchDragEvent", {"type": kind, **where})
        done = "#status:not(:empty):is(fieldset:enabled ~ *)"
        return self.page.wait_for_selector(done, timeout=120_000).inner_text()

    def read_labels(self) -> Image.Image:
        url = self.page.evaluate("document.getElementById('labels').toDataURL()")
        return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_the_page_labels_as_python_does_and_asks_its_own_server_alone(
    browser, model, photo, expected
):
    with serve(Site) as address:
        tab = Tab(browser, address)
        assert tab.choose(model, photo).startswith(f"lemore.onnx, {photo.name}: ")
        assert measure_equal(tab.read_labels(), expected) > 0.9999
        legend = [text.split(": ")[0] for text in tab.page.locator("#legend li").all_inner_texts()]
        names = lemore.load(model).classes
        assert legend == [names[k] for k in np.unique(np.asarray(expected))]
        assert tab.lines == []
        assert any(url.endswith(".wasm") for url in tab.requests)
        assert all(url.startswith((f"{address}/", "data:,")) for url in tab.requests)
        tab.page.close()


def test_the_page_can_ask_no_other_server(browser):
    asked = []

    class Elsewhere(QuietHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_body(200, b"", "text/plain")

    with serve(Site) as address, serve(Elsewhere) as elsewhere:
        tab = Tab(browser, address)
        for code in (
            "url => fetch(url, {mode: 'no-cors'}).then(() => 'sent', () => 'refused')",
            "url => import(url).then(() => 'sent', () => 'refused')",
            "url => new Promise(resolve => Object.assign(new Image(), {src: url,"
            " onload: () => resolve('sent'), onerror: () => resolve('refused')}))",
        ):
            assert tab.page.evaluate(code, elsewhere) == "refused"
        tab.page.close()
    assert asked == []


def test_the_page_refuses_in_words(browser, other, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    with serve(Site) as address:
        tab = Tab(browser, address)
        assert tab.choose(other, tmp_path / "photo.png") == REFUSED
        tab.page.close()
