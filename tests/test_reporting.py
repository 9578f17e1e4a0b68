"""Tables, figures and report, from made-up result files and the published numbers."""

import base64
import csv
import json
import os
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from lemore.cli import main
from lemore.reporting import classes, comparison, cost, paper, printed, tables, writers
from lemore.reporting.results import cell_for, read, scores
from lemore.tasks import figure as figure_task

CLASSES = ["sky", "road & path", "person"]
DESIGN_COLUMNS = [
    "dataset", "model", "encoder", "seeds", "miou", "miou_sd", "miou_paper", "top1", "top1_paper",
    "gmacs", "gmacs_fvcore", "gflops_paper", "params_m", "params_m_with_aux", "params_m_paper",
    "latency_ms_p50", "latency_ms_p95", "latency_ms_paper", "profile_size", "train_crop",
    "num_classes", "device", "source_paper", "note",
]  # fmt: skip


# made-up results, in the form that the stages write


def evaluation(
    model, miou, *, seed=0, dataset="ade20k_scenes", stands_for: str | None = "ade20k", **changes
):
    label = {"lemore": "LeMoRe", "segformer_b0": "SegFormer", "topformer_t": "TopFormer-T"}
    return {
        "stage": "evaluate", "run": "scenes", "dataset": dataset, "stands_for": stands_for,
        "scenes": stands_for is not None, "model": model, "label": label.get(model, model),
        "encoder": "Ours", "seed": seed, "split": "val", "images": 8, "num_classes": 3,
        "classes": CLASSES, "miou": miou, "aacc": 0.9, "macc": 0.5, "fwiou": 0.8,
        "iou": [miou, miou, None], "acc": [0.5, 0.5, None],
        "confusion": [[9, 1, 0, 0], [1, 4, 0, 0], [0, 0, 0, 0]], "train_crop": [128, 128],
        "test_mode": "whole", "iterations": 100, "recipe": "common recipe", "device": "cpu",
        "mlflow_run_id": f"e{seed}{model}", "finetune_run_id": f"f{seed}{model}",
        "pretrain_run_id": "p0", "command": "lemore evaluate <x>", "code": "c0de",
        "predictions": {},
    } | changes  # fmt: skip


def profile(model, macs, *, params=1_600_000, dataset="ade20k", size=(512, 512), **changes):
    latency = {
        "p50_ms": 20.25, "p95_ms": 24.5, "repetitions": 9, "warmup": 3, "threads": 1,
        "upsample": True, "protocol": "median of 9",
    }  # fmt: skip
    cell = {
        "dataset": dataset, "num_classes": 150, "size": list(size), "params": params,
        "params_with_aux": None, "macs": macs, "fvcore_total": macs + 10_000_000,
        "latency": latency,
    }  # fmt: skip
    return {
        "stage": "profile", "run": "scenes", "model": model, "label": model, "encoder": "enc_x",
        "device": "cpu, 1 thread", "torch": "2", "cells": [cell | changes.pop("cell", {})],
        "mlflow_run_id": "m0", "command": "lemore profile", "code": "c0de",
    } | changes  # fmt: skip


def pretraining(backbone, top1):
    return {
        "stage": "pretrain", "run": "scenes", "backbone": backbone, "dataset": "imagenet_scenes",
        "stands_for": "imagenet_1k", "scenes": True, "input_size": [64, 64], "top1": top1,
        "top5": 0.9, "iterations": 10, "weights_sha256": "ab", "mlflow_run_id": "p0",
        "command": "lemore pretrain", "code": "c0de",
    }  # fmt: skip


def row_of(rows, model, **wanted):
    wanted["model"] = model
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows of {wanted}"
    return found[0]


def write_results(folder: Path, results) -> list[str]:
    paths = []
    for i, result in enumerate(results):
        path = folder / f"{result['stage']}{i}.json"
        path.write_text(json.dumps(result))
        paths.append(str(path))
    return paths


# the published numbers


def test_paper_csv_holds_the_published_rows():
    samples = os.environ.get("LEMORE_SAMPLES")
    published = Path(samples or "") / "../paper/published.csv"
    if not samples or not published.is_file():
        pytest.skip("LEMORE_SAMPLES is unset or has no ../paper/published.csv")
    with open(published, newline="") as file:
        theirs = list(csv.DictReader(file))
    ours = [row for row in paper.load() if row.table != "supplement"]
    assert len(ours) == len(theirs) == 107
    assert sum(row.table == paper.OWN for row in ours) == 55
    for mine, row in zip(ours, theirs, strict=True):
        columns = ("table", "miou", "gflops", "params_m", "latency_ms", "input", "source")
        assert [getattr(mine, column) for column in columns] == [row[c] for c in columns]


@pytest.mark.parametrize(
    ("table", "model", "values"),
    [
        ("1", "pspnet_mobilenet_v2", ("29.6", "52.2", "13.7", "426", "")),
        ("1", "lemore_448", ("32.7", "0.6", "1.6", "23", "")),
        ("1", "lemore", ("33.5", "0.8", "1.6", "24", "")),
        ("1", "segformer_b0", ("37.4", "8.4", "3.8", "308", "")),
        ("2", "lemore_t", ("27.2", "0.68", "1.12", "", "")),
        ("2", "lemore_tfl_ca_na", ("33.5", "0.81", "1.60", "", "")),
        ("3", "lemore", ("65.0", "1.7", "", "", "")),
        ("3", "lraspp_mobilenet_v3_large_reduced", ("72.4", "9.7", "", "", "")),
        ("5", "lemore", ("27.19", "0.8", "", "", "")),
        ("6", "retinanet_lemore", ("29.3", "161", "10.9", "", "")),
        ("supplement", "lemore", ("", "", "1.67", "", "64.1")),
    ],
)
def test_published_numbers(table, model, values):
    rows = [row for row in paper.rows_of(table) if row.model == model]
    assert len(rows) == 1
    row = rows[0]
    assert (row.miou, row.gflops, row.params_m, row.latency_ms, row.top1) == values


def test_number_of_published_rows():
    counts = {table: len(paper.rows_of(table)) for table in "123456"}
    assert counts == {"1": 21, "2": 8, "3": 7, "4": 8, "5": 5, "6": 3}
    assert [row.miou for row in paper.rows_of("4") if row.model == "lemore"] == ["35.76", "31.48"]


def test_the_papers_own_row_comes_before_other_sources():
    row = paper.find("lemore", "ade20k")
    assert row is not None and row.miou == "33.5"
    assert "32.7 (SiConMo paper)" in paper.elsewhere("lemore", "ade20k", row)
    assert paper.find("topformer_t", "ade20k").miou == "33.6"  # type: ignore[union-attr]
    assert paper.find("metaseg_t", "ade20k") is None


# tables


@pytest.mark.parametrize(
    ("view", "rows"),
    [
        ("ade20k", 21),
        ("ablation", 8),
        ("cityscapes", 7),
        ("pascal_context", 8),
        ("coco_stuff", 5),
        ("imagenet", 1),
        ("efficiency", 0),
    ],
)
def test_without_results_a_view_is_the_papers_table(view, rows):
    made = tables.build(view, [], [], [])
    assert len(made) == rows
    text = writers.csv_text(made)
    assert text.splitlines()[0].split(",") == DESIGN_COLUMNS
    measured = ("seeds", "miou", "top1", "gmacs", "params_m", "latency_ms_p50", "device")
    assert all(row[column] == "" for row in made for column in measured)
    assert not re.search(r"\b(nan|None|null)\b", text)


def test_seeds_give_mean_and_sample_deviation():
    runs = [evaluation("lemore", v, seed=s) for s, v in enumerate((0.30, 0.33, 0.36))]
    row = row_of(tables.build("ade20k", runs, [], []), "lemore")
    assert (row["seeds"], row["miou"], row["miou_sd"]) == ("3", "33", "3")
    one = row_of(tables.build("ade20k", runs[:1], [], []), "lemore")
    assert (one["seeds"], one["miou"], one["miou_sd"]) == ("1", "30", "")


def test_the_same_seed_twice_is_refused():
    runs = [evaluation("lemore", 0.3) | {"file": f"{name}.json"} for name in "ab"]
    with pytest.raises(ValueError, match=r"same seed twice .* a\.json, b\.json"):
        scores(runs)


def test_costs_are_those_of_the_paper_size_model():
    runs = [evaluation("lemore", 0.3)]
    row = row_of(tables.build("ade20k", runs, [profile("lemore", 803_212_345)], []), "lemore")
    assert row["dataset"] == "ade20k_scenes"
    assert (row["gmacs"], row["gmacs_fvcore"], row["params_m"]) == ("0.8032", "0.8132", "1.6")
    assert (row["latency_ms_p50"], row["latency_ms_p95"]) == ("20.25", "24.5")
    assert (row["profile_size"], row["train_crop"]) == ("512x512", "128x128")
    assert (row["miou_paper"], row["gflops_paper"], row["latency_ms_paper"]) == (
        "33.5",
        "0.8",
        "24",
    )
    assert row["params_m_with_aux"] == ""
    assert "counted with 150 classes" in row["note"]


def test_costs_of_another_dataset_are_not_shown():
    profiles = [profile("lemore", 8e8)]  # counted for ADE20K only
    row = row_of(tables.build("cityscapes", [], profiles, []), "lemore")
    assert row["gmacs"] == row["profile_size"] == row["device"] == ""
    assert tables.build("cityscapes", [], profiles, []) == tables.build("cityscapes", [], [], [])


def test_a_model_that_the_paper_lacks_has_its_own_source():
    runs = [evaluation("topformer_t", 0.3), evaluation("lemore_tfl_ca_na", 0.31)]
    rows = tables.build("ade20k", runs, [], [])
    assert len(rows) == 22  # ablation rows are not in Table 1
    row = row_of(rows, "topformer_t")
    assert (row["miou"], row["miou_paper"]) == ("30", "33.6")
    assert "TopFormer README" in row["source_paper"] and "not in the paper's table" in row["note"]
    ablation = tables.build("ablation", runs, [], [])
    assert [row["miou"] for row in ablation] == [""] * 7 + ["31"]


def test_views_match_by_what_a_dataset_stands_for():
    runs = [
        evaluation("lemore", 0.2, dataset="pascal_context_60", stands_for=None),
        evaluation(
            "lemore", 0.3, dataset="pascal_context_59_scenes", stands_for="pascal_context_59"
        ),
    ]
    rows = tables.build("pascal_context", runs, [], [])
    pairs = [(r["dataset"], r["miou"], r["miou_paper"]) for r in rows if r["model"] == "lemore"]
    assert pairs == [
        ("pascal_context_59_scenes", "30", "35.76"),
        ("pascal_context_60", "20", "31.48"),
    ]
    assert tables.build("coco_stuff", runs, [], []) == tables.build("coco_stuff", [], [], [])


def test_dataset_table_has_its_own_results_only():
    runs = [
        evaluation("lemore", 0.5, dataset="camvid", stands_for=None),
        evaluation("lemore", 0.4, dataset="camvid", stands_for=None, test_mode="slide"),
        evaluation("lemore", 0.3),
    ]
    rows = tables.build("camvid", runs, [profile("lemore", 8e8)], [])
    assert [row["miou"] for row in rows] == ["50", "40"]
    assert [row["miou_paper"] for row in rows] == ["", ""]
    assert rows[0]["gmacs"] == "0.8" and "test mode slide" in rows[1]["note"]
    assert "scenes" not in rows[0]["note"]
    with pytest.raises(ValueError, match="table 'camvidd' is neither"):
        tables.build("camvidd", runs, [], [])


def test_imagenet_and_efficiency():
    profiles = [profile("lemore", 8e8, dataset="imagenet_1k", size=(224, 224))]
    row = row_of(tables.build("imagenet", [], profiles, [pretraining("lemore", 0.5)]), "lemore")
    assert (row["top1"], row["top1_paper"], row["params_m_paper"]) == ("50", "64.1", "1.67")
    assert row["profile_size"] == "224x224" and row["note"].startswith("scenes")
    assert "; recipe reconstructed" in row["note"]
    rows = tables.build("efficiency", [], [*profiles, profile("lemore", 8e8)], [])
    assert [(r["profile_size"], r["gflops_paper"]) for r in rows] == [
        ("224x224", ""),
        ("512x512", "0.8"),
    ]
    assert rows[1]["miou_paper"] == ""


def test_the_papers_input_size_chooses_the_cell():
    cells = profile("x", 1)["cells"] + profile("x", 2, size=(448, 448))["cells"]
    both = {"cells": cells}
    assert cell_for(both, ["ade20k"], "448x448") == cells[1]
    assert cell_for(both, ["camvid", "ade20k"], "") == cells[0]
    assert cell_for(both, ["camvid"], "") is None and cell_for(None, ["ade20k"], "") is None


# printed forms


def laid_out(rows, name="ade20k"):
    return printed.lay_out(name, "", rows, {}, "scenes")


def test_scenes_are_marked_in_every_format():
    rows = tables.build("ade20k", [evaluation("lemore", 0.3)], [profile("lemore", 8e8)], [])
    assert "scenes: measured on scenes" in writers.csv_text(rows)
    markdown, latex = writers.markdown(laid_out(rows)), writers.latex(laid_out(rows))
    assert "scenes" in markdown.splitlines()[0] and "30.00<sup>†</sup>" in markdown
    caption = next(line for line in latex.splitlines() if line.startswith(r"\caption"))
    assert "drawn scenes" in caption and r"30.00\textsuperscript{$\dagger$}" in latex
    real = tables.build("ade20k", [evaluation("lemore", 0.3, stands_for=None)], [], [])
    for text in map(str, (writers.csv_text(real), writers.markdown(laid_out(real)))):
        assert "†" not in text and "drawn scenes" not in text


def test_best_and_second_only_among_comparable_values():
    runs = [
        evaluation("lemore", 0.3),
        evaluation("segformer_b0", 0.4),
        evaluation("topformer_t", 0.35),
        evaluation("lemore", 0.9, dataset="ade20k", stands_for=None),
    ]
    profiles = [profile("lemore", 8e8), profile("segformer_b0", 8e9)]
    profiles.append(profile("topformer_t", 5e8, size=(448, 448)))
    rows = tables.build("ade20k", runs, profiles, [])
    marks = printed.best_marks(rows)
    named = {(rows[i]["model"], rows[i]["dataset"], c): mark for (i, c), mark in marks.items()}
    assert named["segformer_b0", "ade20k_scenes", "miou"] == "best"
    assert named["topformer_t", "ade20k_scenes", "miou"] == "second"
    assert ("lemore", "ade20k", "miou") not in named
    assert named["lemore", "ade20k_scenes", "gmacs"] == "best"
    assert named["segformer_b0", "ade20k_scenes", "gmacs"] == "second"
    assert ("topformer_t", "ade20k_scenes", "gmacs") not in named
    table = printed.lay_out("ade20k", "", rows, {}, "scenes")
    assert "**40.00**<sup>†</sup>" in writers.markdown(table)
    assert r"\textbf{40.00}" in writers.latex(table)
    assert r"\underline{35.00}" in writers.latex(table)


def test_latex_escapes_and_is_balanced():
    assert writers.latex_escape(r"a&b_50%$#{}~^\±<") == (
        r"a\&b\_50\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}$\pm$\textless{}"
    )
    runs = [evaluation("my_model", v, seed=s) for s, v in enumerate((0.3, 0.4))]
    for name in tables.VIEWS:
        rows = tables.build(name, runs, [profile("my_model", 8e8)], [pretraining("x_y", 0.1)])
        text = writers.latex(laid_out(rows, name))
        bare = re.sub(r"\\[{}&%$#_]|^%.*", "", text, flags=re.M)
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
        assert all(r"\toprule" in text and word not in bare for word in "_#%")
        lines = [line for line in bare.splitlines() if line.endswith(r"\\")]
        kinds = re.search(r"\\begin{tabular}{([lr]+)}", text)
        assert kinds and all(line.count("&") == len(kinds[1]) - 1 for line in lines)
        assert text.isascii()


def test_markdown_is_a_table_and_empty_cells_are_empty():
    table = laid_out(tables.build("ade20k", [evaluation("lemore", 0.3)], [], []))
    lines = [line for line in writers.markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 21 and len({line.count("|") for line in lines}) == 1
    hrnas = next(line for line in lines if "HR-NAS-B" in line)
    assert [cell.strip() for cell in hrnas.strip("|").split("|")][2:] == [
        "", "34.9", "2.2", "3.9", "",
    ]  # fmt: skip
    assert r"LeMoRe\*" in writers.markdown(table)


def test_labels_are_those_of_each_table():
    label = {row["model"]: printed.label(row, {}) for row in tables.build("cityscapes", [], [], [])}
    assert label["fcn_mobilenet_v2"] == "FCN" and label["lraspp_mobilenet_v2"] == "L-ASPP"
    label = {row["model"]: printed.label(row, {}) for row in tables.build("ade20k", [], [], [])}
    assert label["fcn_mobilenet_v2"] == "FCN-8s"
    rows = tables.build("camvid", [evaluation("new", 0.5, dataset="camvid")], [], [])
    assert printed.label(rows[0], {"new": "New Net"}) == "New Net"


# figures


def texts(figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(Text))


def test_cost_figure_has_measured_and_published_points():
    runs = [evaluation("lemore", 0.3), evaluation("segformer_b0", 0.4)]
    profiles = [profile("lemore", 8e8), profile("segformer_b0", 8e9, params=3_750_000)]
    rows = tables.build("ade20k", runs, profiles, [])
    points = cost.points(rows, {})
    assert [p.measured for p in points] == [True] * 2 + [False] * 21
    assert (points[0].label, points[0].miou, points[0].macs, points[0].latency) == (
        "LeMoRe", 30.0, 0.8, "20",
    )  # fmt: skip
    assert "scenes" in texts(cost.draw(rows, {}))
    assert "scenes" not in texts(cost.draw(tables.build("ade20k", [], [], []), {}))
    with pytest.raises(ValueError, match="nothing to draw"):
        cost.draw(tables.build("imagenet", [], [], []), {})


def test_labels_of_the_cost_figure_do_not_overlap():
    figure = cost.draw(tables.build("ade20k", [], [], []), {})
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    assert len(boxes) == 21
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(a.overlaps(b) for a, b in pairs)


def test_classes_figure():
    runs = [evaluation("lemore", 0.2), evaluation("lemore", 0.4, seed=1)]
    runs.append(evaluation("segformer_b0", 0.5))
    figure = classes.draw(runs)
    axes = figure.axes[0]
    assert [bar.get_width() for bars in axes.containers for bar in bars] == pytest.approx(
        [30, 30, 0, 50, 50, 0]
    )
    assert "absent" in texts(figure) and "scenes" in texts(figure)
    assert [t.get_text() for t in axes.get_yticklabels()] == CLASSES  # by share of pixels
    with pytest.raises(ValueError, match="one dataset, found ade20k_scenes, camvid"):
        classes.draw([*runs, evaluation("lemore", 0.1, dataset="camvid")])


def test_image_miou_is_the_mean_over_classes_of_the_image():
    label = np.array([[0, 0, 1, 255]], np.uint8)
    assert comparison.image_miou(np.array([[0, 1, 1, 2]], np.uint8), label, 3) == 0.5
    assert comparison.image_miou(np.array([[0, 0, 1, 2]], np.uint8), label, 3) == 1.0
    wrong = np.array([[0, 255, 1, 2]], np.uint8)  # outside the classes is wrong
    assert comparison.image_miou(wrong, label, 3) == pytest.approx((0.5 + 1) / 2)
    assert comparison.image_miou(label, np.full((1, 4), 255, np.uint8), 3) is None


def test_overlay_stripes_what_is_ignored():
    image = np.full((40, 40, 3), 100, np.uint8)
    label = np.zeros((40, 40), np.uint8)
    label[:, 20:] = 255
    pixels = comparison.overlay(image, label, [(255, 0, 0)])
    assert (pixels[:, :20] == [212, 28, 28]).all()
    assert set(np.unique(pixels[:, 20:])) == {20, 235}
    with pytest.raises(ValueError, match="do not belong together"):
        comparison.overlay(image, label[:10], [(255, 0, 0)])


class FakeStore:
    """Two images of 24 x 32; stands for lemore.data.store.Store."""

    def __init__(self, folder, split):
        assert split == "val"

    classes = CLASSES

    def colors(self):
        return [(0, 0, 255), (90, 90, 90), (255, 0, 0)]

    def find(self, name):
        return ["a.jpg", "b.jpg"].index(name)

    def read(self, i):
        label = np.full((24, 32), i, np.uint8)
        label[:4] = 255
        return np.full((24, 32, 3), 90, np.uint8), label


def test_comparison_command(tmp_path, monkeypatch):
    monkeypatch.setattr(figure_task, "Store", FakeStore)
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(tmp_path / "0.png")
    kept = {"a.jpg": "0.png", "b.jpg": "0.png"}
    runs = [evaluation(m, 0.3, predictions=kept) for m in ("segformer_b0", "lemore")]
    paths = write_results(tmp_path, runs)
    command = ["figure", "comparison", "--data", "d", "--split", "val"]
    command += ["--images", "a.jpg", "b.jpg", "--evaluations", *paths]
    prefix = tmp_path / "out" / "comparison"
    assert main([*command, "--models", "segformer_b0", "lemore", "--output", str(prefix)]) == 0
    assert prefix.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    with Image.open(prefix.with_suffix(".png")) as image:
        assert "SegFormer, LeMoRe" in image.info["Description"]
        assert "drawn scenes" in image.info["Description"]
    assert main([*command, "--models", "lemorre", "--output", str(prefix)]) == 2


def test_comparison_names_present_classes_only():
    image, label = FakeStore("", "val").read(1)
    example = comparison.Example("a.jpg", image, label, (np.zeros_like(label),))
    figure = comparison.draw([example], ["LeMoRe"], CLASSES, [(0, 0, 255)] * 3, True)
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == ["sky", "road & path", "ignored"]
    shown = texts(figure)
    assert "Ground Truth" in shown and "mIoU of this image 0.0 %" in shown and "scenes" in shown


# commands and report


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
    assert headers and all("aria-sort" in values for values in headers)
    assert sum(tag == "caption" for tag, _ in page.tags) == 2


def test_report_says_scenes_and_how_numbers_were_made(results):
    text = (results / "report.html").read_text()
    assert 'class="banner"' in text and "Results on ADE20K &lt;scenes&gt;" in text
    assert "lemore evaluate &lt;x&gt;" in text and "not used" not in text
    chain = re.search(r'<ol class="chain">.*?e0lemore.*?</ol>', text)
    assert chain and re.findall(r"<code>(\w+)</code>", chain[0].split("<ol")[-1]) == [
        "p0", "f0lemore", "e0lemore",
    ]  # fmt: skip
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
