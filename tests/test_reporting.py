"""The commands that make tables, figures and the report, and what stands in the page."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image

from lemore.cli import main
from lemore.reporting.results import read
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


def test_wrong_files_are_refused_by_name(tmp_path, capsys):
    path = write_results(tmp_path, [profile("lemore", 1)])[0]
    with pytest.raises(ValueError, match="expected a result of stage 'evaluate', found 'profile'"):
        read([path], "evaluate")
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    assert main(["figure", "cost", "--tables", str(other), "--output", str(tmp_path / "x")]) == 2
    assert "other.csv" in capsys.readouterr().err
