"""The commands that make tables, figures and the report, and the content of the page."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lemore.cli import main
from lemore.reporting.figures.comparison import Example
from lemore.reporting.pages import viewer
from lemore.reporting.pages.report import render
from lemore.reporting.tables import class_table
from lemore.reporting.tables.results import read_results
from tests.made_up import evaluation, pretraining, profile, write_results


class Page(HTMLParser):
    """Collects what a page refers to, its headers and its balance."""

    VOID = ("meta", "img", "link", "br", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.images, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.references += [values[key] for key in ("src", "href") if key in values]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run: result files, two tables, a figure, the report."""
    folder = tmp_path_factory.mktemp("run")
    runs = [evaluation(m, v, seed=s) for s in (0, 1) for m, v in (("lemore", 0.3), ("new", 0.4))]
    runs[0]["mean_boundary_iou"] = 0.1234
    evaluations = write_results(folder, runs)
    profiles = write_results(folder, [profile("lemore", 8e8), profile("new", 9e8)])
    pretrainings = write_results(folder, [pretraining("lemore", 0.5)])
    given = [
        "--evaluations",
        *evaluations,
        "--profiles",
        *profiles,
        "--pretrainings",
        *pretrainings,
    ]
    for name in ("ade20k", "ade20k_scenes"):
        prefix = str(folder / name)
        assert main(["table", name, "--run", "scenes", *given, "--output", prefix]) == 0
    csvs = [str(folder / f"{name}.csv") for name in ("ade20k", "ade20k_scenes")]
    assert main(["figure", "cost", "--tables", csvs[0], "--output", str(folder / "cost")]) == 0
    page = folder / "report.html"
    command = [
        "report",
        "--run",
        "scenes",
        "--tables",
        *csvs,
        "--figures",
        str(folder / "cost.png"),
    ]
    titles = ["--dataset-titles", "ade20k_scenes=ADE20K <scenes>", "ade20k=not used"]
    assert main([*command, *given, *titles, "--output", str(page)]) == 0
    return folder


def test_commands_write_all_formats_the_same_every_time(results):
    first = {p.name: p.read_bytes() for p in results.iterdir() if p.suffix in (".png", ".pdf")}
    assert {p.suffix for p in results.glob("ade20k*")} == {".csv", ".md", ".tex"}
    assert main(["figure", "cost", "--tables", str(results / "ade20k.csv"),
                 "--output", str(results / "cost")]) == 0  # fmt: skip
    assert first == {n: (results / n).read_bytes() for n in first}


def test_report_is_self_contained_and_well_formed(results):
    text = (results / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.references and all(r.startswith(("#", "data:")) for r in page.references)
    assert not re.search(r"https?://|@import|url\(", text)
    images = [values for tag, values in page.tags if tag == "img" and "src" in values]
    data = base64.b64decode(images[0]["src"].split(",", 1)[1])
    assert Image.open(BytesIO(data)).format == "PNG" and "mIoU" in images[0]["alt"]
    headers = [values for tag, values in page.tags if tag == "th" and values.get("scope") == "col"]
    headings = [values for tag, values in page.tags if tag == "tr" and "class" in values]
    assert len(headings) == 3  # of Table 1
    assert headers and all("aria-sort" in values for values in headers)
    assert sum(tag == "caption" for tag, _ in page.tags) == 3  # two tables and the classes


def test_report_says_scenes_and_how_numbers_were_made(results):
    text = (results / "report.html").read_text()
    assert 'class="banner"' in text and "Results on ADE20K &lt;scenes&gt;" in text
    assert "lemore evaluate &lt;x&gt;" in text and "not used" not in text
    chain = re.search(r'<ol class="chain">.*?e0lemore.*?</ol>', text)
    assert chain and re.findall(r"<code>(\w+)</code>", chain[0].split("<ol")[-1]) == [
        "p0", "f0lemore", "e0lemore",
    ]  # fmt: skip
    assert text.count("<dt>mean Boundary IoU</dt><dd>12.34 %</dd>") == 1
    assert 'class="best"' in text and 'class="second"' in text
    assert not re.search(r">\s*(nan|None|undefined)\s*<", text)


def test_classes_are_means_over_seeds_with_the_best_marked():
    runs = [
        evaluation("lemore", 0.3, iou=[0.5, 0.2, None]),
        evaluation("lemore", 0.3, iou=[0.7, 0.3, None], seed=1),
        evaluation("topformer_t", 0.3, iou=[0.4, 0.9, None]),
        evaluation("segformer_b0", 0.3, iou=[0.1, 0.25, None]),
    ]
    table = class_table.lay_out(runs, "ADE <20K>", "x")
    assert [column.header for column in table.header][2:] == ["LeMoRe", "TopFormer-T", "SegFormer"]
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts == [
        ["sky", "66.67", "60.00", "40.00", "10.00"],
        ["road & path", "33.33", "25.00", "90.00", "25.00"],
        ["person", "0.00", "", "", ""],
    ]
    marks = [[cell.mark for cell in row] for row in table.rows]
    assert marks == [
        ["", "", "best", "second", ""],
        ["", "", "second", "best", "second"],
        [""] * 5,
    ]
    assert "scenes" in " ".join(table.facts) and "mean over seeds" in table.facts
    with pytest.raises(ValueError, match="of one dataset"):
        class_table.lay_out([*runs, evaluation("lemore", 0.1, dataset="other")], "", "x")


def test_classes_of_detectors_have_precision_and_no_share():
    """Results from before precision was kept by class are left out of the page."""
    plain = evaluation("a", 0.0, dataset="coco", stands_for=None, ap=0.25)
    plain = {k: v for k, v in plain.items() if k not in ("miou", "iou", "acc", "confusion")}
    runs = [
        plain | {"ap_by_class": [0.5, 0.25, None]},
        plain | {"ap_by_class": [0.75, 0.5, None], "seed": 1},
        plain | {"ap_by_class": [0.125, 0.5, None], "model": "b", "label": "b"},
    ]
    table = class_table.lay_out(runs, "COCO", "x")
    assert table.title == "AP by class on COCO (%)"
    assert table.columns == ("class", "ap a", "ap b")
    assert [[(cell.text, cell.mark) for cell in row[1:]] for row in table.rows] == [
        [("62.50", "best"), ("12.50", "second")],
        [("37.50", "second"), ("50.00", "best")],
        [("", ""), ("", "")],
    ]
    page = render_page(runs)
    assert "AP by class on COCO" in page and "Share of pixels" not in page
    assert "by class" not in render_page([plain])


def render_page(evaluations) -> str:
    results = {stage: [] for stage in ("pretrain", "finetune", "profile", "deploy")}
    return render("x", [], [], results | {"evaluate": evaluations}, {"coco": "COCO"}, {})


def decoded(uri):
    return Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_layers_are_the_label_maps_in_class_colours():
    """Four pixels: right, wrong, unlabelled, outside the classes."""
    label = np.array([[0, 1], [255, 1]], np.uint8)
    prediction = np.array([[0, 0], [1, 7]], np.uint8)
    example = Example("a", np.full((2, 2, 3), 90, np.uint8), label, (prediction,))
    colors = [(10, 20, 30), (200, 0, 0)]
    shown = viewer.lay_out("d", "", [example], ["LeMoRe"], ["sky", "road"], colors, False)
    truth, layer = shown.views[0].layers
    clear, black = (0, 0, 0, 0), (0, 0, 0, 255)
    sky, road = ((*color, 255) for color in colors)

    def rgba(uri):
        found = np.asarray(decoded(uri).convert("RGBA"))
        return [tuple(p) if p[3] else clear for p in found.reshape(-1, 4).tolist()]

    assert rgba(truth.uri) == [sky, road, clear, road]
    assert rgba(layer.uri) == [sky, sky, road, black]
    assert rgba(layer.wrong) == [clear, sky, clear, black]
    assert shown.legend == (("sky", "#0a141e"), ("road", "#c80000"))
    assert layer.remark == "mIoU of this image 25.0 %"  # sky 1 of 2, road 0 of 2
    large = Example("b", np.zeros((300, 2048, 3), np.uint8), np.zeros((300, 2048), np.uint8), ())
    view = viewer.lay_out("d", "", [large], [], ["sky", "road"], colors, False).views[0]
    assert (view.width, view.height) == (1024, 150)
    assert {decoded(uri).size for uri in (view.photo, view.layers[0].uri)} == {(1024, 150)}


def test_wrong_files_are_refused_by_name(tmp_path, capsys):
    path = write_results(tmp_path, [profile("lemore", 1)])[0]
    with pytest.raises(ValueError, match="expected a result of stage 'evaluate', found 'profile'"):
        read_results([path], "evaluate")
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    assert main(["figure", "cost", "--tables", str(other), "--output", str(tmp_path / "x")]) == 2
    assert "other.csv" in capsys.readouterr().err
