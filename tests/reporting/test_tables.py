"""Rows of the tables and their printed forms, from made-up results and the published numbers."""

import re
import shutil
import subprocess
from math import isnan

import pandas as pd
import pytest

from lemore.reporting.figures import confusion
from lemore.reporting.figures.classes import stack_by_model
from lemore.reporting.tables import printed, writers
from lemore.reporting.tables.build import build_table
from lemore.reporting.tables.columns import read_csv
from lemore.reporting.tables.paper import VIEWS
from lemore.reporting.tables.results import find_cell, label_models, name_models, read_results
from lemore.reporting.tables.writers import escape_latex, format_latex
from tests.made_up import evaluation, pretraining, profile, row_of, write_results

MINUS = "\N{MINUS SIGN}"
DESIGN_COLUMNS = [
    "dataset", "model", "encoder", "seeds", "miou", "miou_sd", "miou_paper", "ap", "ap_sd",
    "ap_paper", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "top1", "top1_paper", "top5", "gmacs",
    "gmacs_fvcore", "gflops_paper", "params_m", "params_m_with_aux", "params_m_paper",
    "latency_ms_p50", "latency_ms_p95", "latency_ms_paper", "profile_size", "train_crop",
    "num_classes", "device", "source_paper", "note",
]  # fmt: skip


def is_empty(cells) -> bool:
    return bool((cells.isna() | (cells == "").fillna(False)).all())


@pytest.mark.parametrize(
    "change", [{"classes": ["sky", "person", "road & path"]}, {"data_sha256": "b"}]
)
def test_results_of_two_states_of_a_dataset_are_not_mixed(tmp_path, change):
    results = [evaluation("lemore", 0.5, data_sha256="a"), evaluation("topformer_t", 0.4)]
    other = evaluation("lemore", 0.5, seed=1, data_sha256="a")
    assert len(read_results(write_results(tmp_path, [*results, other]), "evaluate")) == 3
    with pytest.raises(ValueError, match=r"evaluate2\.json: measured on other .*evaluate0"):
        read_results(write_results(tmp_path, [*results, other | change]), "evaluate")
    elsewhere = other | change | {"dataset": "camvid"}
    assert len(read_results(write_results(tmp_path, [*results, elsewhere]), "evaluate")) == 3


@pytest.mark.parametrize(
    ("view", "rows"),
    [
        ("ade20k", 21 + 7),
        ("ablation", 8),
        ("cityscapes", 7 + 4),
        ("pascal_context", 8 + 4),
        ("coco_stuff", 5 + 2),
        ("detection", 3),
        ("imagenet", 1),
        ("efficiency", 0),
    ],
)
def test_without_results_a_view_is_the_papers_table_and_the_rivals(view, rows):
    made = build_table(view, [], [], [])
    assert len(made) == rows
    text = writers.format_csv(made)
    assert text.splitlines()[0].split(",") == DESIGN_COLUMNS
    measured = ("seeds", "miou", "top1", "gmacs", "params_m", "latency_ms_p50", "device")
    assert all(is_empty(made[column]) for column in measured)
    assert not re.search(r"\b(nan|None|null)\b", text)


def test_seeds_give_mean_and_sample_deviation():
    runs = [evaluation("lemore", v, seed=s) for s, v in enumerate((0.30, 0.33, 0.36))]
    row = row_of(build_table("ade20k", runs, [], []), "lemore")
    assert (row["seeds"], row["miou"], row["miou_sd"]) == (3, 33, 3)
    one = row_of(build_table("ade20k", runs[:1], [], []), "lemore")
    assert (one["seeds"], one["miou"]) == (1, 30) and isnan(one["miou_sd"])


def test_the_same_seed_twice_is_refused():
    runs = [evaluation("lemore", 0.3) | {"file": f"{name}.json"} for name in "ab"]
    with pytest.raises(ValueError, match=r"same seed twice .* a\.json, b\.json"):
        build_table("ade20k", runs, [], [])


def test_models_and_configurations_are_not_seeds_of_one_another():
    """Two models of the user's own with one label and encoder; one of them also trained longer."""
    twins = [evaluation("a", 0.2, label="Net"), evaluation("b", 0.4, label="Net", seed=1)]
    runs = [*twins, evaluation("b", 0.6, label="Net", seed=0, iterations=200)]
    rows = build_table("ade20k_scenes", runs, [], [])
    assert rows[["model", "miou", "seeds"]].values.tolist() == [
        ["a", 20, 1], ["b", 40, 1], ["b", 60, 1],
    ]  # fmt: skip
    assert ["iterations" in note for note in rows["note"]] == [False, True, True]
    sizes = [evaluation("a", 0.2, test_size=[w, 512]) for w in (512, 2048)]
    notes = build_table("ade20k_scenes", sizes, [], [])["note"]
    assert "tested in 512x512" in notes[0] and "tested in 2048x512" in notes[1]
    assert [r[0].text for r in printed.lay_out("x", "", rows, label_models(runs), "r").rows] == [
        "Net (a)", "Net (b)", "Net (b)",
    ]  # fmt: skip
    means = {name: values.tolist() for name, values in stack_by_model(runs).items()}
    assert {name: values[0][0] for name, values in means.items()} == {
        "Net (a)": 20, "Net (b), 100 iterations": 40, "Net (b), 200 iterations": 60,
    }  # fmt: skip
    assert len(confusion.describe(runs).split("Net (b)")) == 3
    other = evaluation("c", 0.1, label="Net", encoder="Other")
    assert name_models([*twins, other]) == {"a": "Net (a)", "b": "Net (b)", "c": "Net (Other)"}


def test_costs_are_those_of_the_paper_size_model():
    runs = [evaluation("lemore", 0.3)]
    row = row_of(build_table("ade20k", runs, [profile("lemore", 803_212_345)], []), "lemore")
    assert row["dataset"] == "ade20k_scenes"
    assert (row["gmacs"], row["gmacs_fvcore"], row["params_m"]) == (0.8032, 0.8132, 1.6)
    assert (row["latency_ms_p50"], row["latency_ms_p95"]) == (20.25, 24.5)
    assert (row["profile_size"], row["train_crop"]) == ("512x512", "128x128")
    assert (row["miou_paper"], row["gflops_paper"], row["latency_ms_paper"]) == (
        "33.5",
        "0.8",
        "24",
    )
    assert isnan(row["params_m_with_aux"])
    assert "counted with 150 classes" in row["note"]


def test_costs_of_another_dataset_are_not_shown():
    profiles = [profile("lemore", 8e8)]  # counted for ADE20K only
    row = row_of(build_table("cityscapes", [], profiles, []), "lemore")
    assert isnan(row["gmacs"]) and row["profile_size"] == row["device"] == ""
    without = build_table("cityscapes", [], [], [])
    pd.testing.assert_frame_equal(build_table("cityscapes", [], profiles, []), without)


def test_a_model_that_the_paper_lacks_has_its_own_source():
    runs = [evaluation("topformer_t", 0.3), evaluation("lemore_tfl_ca_na", 0.31)]
    rows = build_table("ade20k", runs, [], [])
    assert len(rows) == 28  # ablation rows are not in Table 1
    row = row_of(rows, "topformer_t")
    assert (row["miou"], row["miou_paper"]) == (30, "33.6")
    assert "TopFormer README" in row["source_paper"] and "not in the paper's table" in row["note"]
    ablation = build_table("ablation", runs, [], [])
    assert is_empty(ablation["miou"][:7]) and ablation["miou"][7] == 31


def test_views_match_by_what_a_dataset_stands_for():
    runs = [
        evaluation("lemore", 0.2, dataset="pascal_context_60", stands_for=None),
        evaluation(
            "lemore", 0.3, dataset="pascal_context_59_scenes", stands_for="pascal_context_59"
        ),
    ]
    rows = build_table("pascal_context", runs, [], [])
    mine = rows[rows["model"] == "lemore"][["dataset", "miou", "miou_paper"]]
    assert mine.values.tolist() == [
        ["pascal_context_59_scenes", 30, "35.76"],
        ["pascal_context_60", 20, "31.48"],
    ]
    without = build_table("coco_stuff", [], [], [])
    pd.testing.assert_frame_equal(build_table("coco_stuff", runs, [], []), without)


def test_dataset_table_has_its_own_results_only():
    runs = [
        evaluation("lemore", 0.5, dataset="camvid", stands_for=None),
        evaluation("lemore", 0.4, dataset="camvid", stands_for=None, test_mode="slide"),
        evaluation("lemore", 0.3),
    ]
    rows = build_table("camvid", runs, [profile("lemore", 8e8)], [])
    assert rows["miou"].tolist() == [50, 40] and rows["miou_paper"].tolist() == ["", ""]
    assert rows["gmacs"][0] == 0.8 and "test mode slide" in rows["note"][1]
    assert "scenes" not in rows["note"][0]
    with pytest.raises(ValueError, match="table 'camvidd' is neither"):
        build_table("camvidd", runs, [], [])


def test_imagenet_and_efficiency():
    profiles = [profile("lemore", 8e8, dataset="imagenet_1k", size=(224, 224))]
    row = row_of(build_table("imagenet", [], profiles, [pretraining("lemore", 0.5)]), "lemore")
    assert (row["top1"], row["top1_paper"], row["params_m_paper"]) == (50, "64.1", "1.67")
    assert row["profile_size"] == "224x224" and row["note"].startswith("scenes")
    assert row["top5"] == 90 and "; recipe reconstructed" in row["note"]
    segformer = profile("segformer_b0", 8e9, backbone="mit_b0", encoder="MiT-B0")
    rows = build_table("imagenet", [], [segformer], [pretraining("mit_b0", 0.5)])
    assert row_of(rows, "mit_b0")["encoder"] == "MiT-B0"
    rows = build_table("efficiency", [], [*profiles, profile("lemore", 8e8)], [])
    assert rows["profile_size"].tolist() == ["224x224", "512x512"]
    assert rows["gflops_paper"].tolist() == ["", "0.8"] and rows["miou_paper"][1] == ""


def test_counts_stand_where_nothing_was_profiled():
    profiles = [profile("lemore", 803_212_345)]
    counted = [profile(name, 5e8, device="") for name in ("lemore", "lemore_448")]
    for one in counted:
        one["cells"][0]["latency"] = None
    rows = build_table("ade20k", [], profiles, [], counts=counted)
    assert row_of(rows, "lemore")["gmacs"] == 0.8032  # the profile's own
    row = row_of(rows, "lemore_448")
    assert (row["gmacs"], row["params_m"], row["device"]) == (0.5, 1.6, "")
    assert isnan(row["latency_ms_p50"]) and len(rows) == 28
    marks = printed.mark_best(rows)["gmacs"]
    assert marks[row_of(rows.reset_index(), "lemore_448")["index"]] == "best"
    assert len(build_table("efficiency", [], profiles, [], counts=counted)) == 1


def test_the_papers_input_size_chooses_the_cell():
    cells = profile("x", 1)["cells"] + profile("x", 2, size=(448, 448))["cells"]
    both = {"cells": cells}
    assert find_cell(both, ["ade20k"], "448x448") == cells[1]
    assert find_cell(both, ["camvid", "ade20k"], "") == cells[0]
    assert find_cell(both, ["camvid"], "") is None and find_cell(None, ["ade20k"], "") is None


# printed forms


def laid_out(rows, name="ade20k"):
    return printed.lay_out(name, "", rows, {}, "scenes")


def test_scenes_are_marked_in_every_format():
    rows = build_table("ade20k", [evaluation("lemore", 0.3)], [profile("lemore", 8e8)], [])
    assert "scenes: measured on scenes" in writers.format_csv(rows)
    markdown, text = writers.format_markdown(laid_out(rows)), format_latex(laid_out(rows))
    assert "scenes" in markdown.splitlines()[0] and "30.00<sup>†</sup>" in markdown
    caption = next(line for line in text.splitlines() if line.startswith(r"\caption"))
    assert "drawn scenes" in caption and r"30.00\textsuperscript{$\dagger$}" in text
    real = build_table("ade20k", [evaluation("lemore", 0.3, stands_for=None)], [], [])
    for text in map(str, (writers.format_csv(real), writers.format_markdown(laid_out(real)))):
        assert "†" not in text and "drawn scenes" not in text


def test_imagenet_has_top5_and_says_that_it_is_ours():
    table = laid_out(build_table("imagenet", [], [], [pretraining("lemore", 0.5)]), "imagenet")
    notes = dict(table.footnotes)
    top5 = cell(table, "LeMoRe", "top5")
    assert [notes[s].split(":")[0] for s in top5.symbols] == [
        "scenes", "top-5 as measured here",
    ]  # fmt: skip
    symbols = ",".join(top5.symbols)
    assert f"90.00<sup>{symbols}</sup>" in writers.format_markdown(table)
    assert "Top-5 (\\%)" in format_latex(table) and "the paper publishes none" in format_latex(
        table
    )
    published = laid_out(build_table("imagenet", [], [], []), "imagenet")
    assert "top5" not in published.columns and "top-5" not in format_latex(published)


def test_models_from_scratch_are_called_so():
    runs = [evaluation(m, 0.3, init=i) for m, i in (("lemore", "none"), ("other", "pretrain"))]
    rows = build_table("ade20k_scenes", runs, [], [])
    assert ["; from scratch: trained without ImageNet" in note for note in rows["note"]] == [
        True,
        False,
    ]
    table = laid_out(rows)
    for text in (writers.format_csv(rows), writers.format_markdown(table), format_latex(table)):
        assert text.count("from scratch") == 1


def test_best_and_second_only_among_comparable_values():
    runs = [
        evaluation("lemore", 0.3),
        evaluation("segformer_b0", 0.4),
        evaluation("topformer_t", 0.35),
        evaluation("lemore", 0.9, dataset="ade20k", stands_for=None),
    ]
    profiles = [profile("lemore", 8e8), profile("segformer_b0", 8e9)]
    profiles.append(profile("topformer_t", 5e8, size=(448, 448)))
    rows = build_table("ade20k", runs, profiles, [])
    marks = printed.mark_best(rows)
    named = {
        (rows["model"][i], rows["dataset"][i], column): mark
        for column in marks
        for i, mark in marks[column].items()
        if mark
    }
    assert named["segformer_b0", "ade20k_scenes", "miou"] == "best"
    assert named["topformer_t", "ade20k_scenes", "miou"] == "second"
    assert ("lemore", "ade20k", "miou") not in named
    assert named["lemore", "ade20k_scenes", "gmacs"] == "best"
    assert named["segformer_b0", "ade20k_scenes", "gmacs"] == "second"
    assert ("topformer_t", "ade20k_scenes", "gmacs") not in named
    table = printed.lay_out("ade20k", "", rows, {}, "scenes")
    assert "**40.00**<sup>†</sup>" in writers.format_markdown(table)
    assert r"\textbf{40.00}" in format_latex(table)
    assert "<ins>35.00</ins>" in writers.format_markdown(table)
    assert r"\underline{35.00}" in format_latex(table)


def test_latex_escapes_and_is_balanced():
    assert escape_latex(r"a&b_50%$#{}~^\±<" + MINUS) == (
        r"a\&b\_50\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}$\pm$\textless{}$-$"
    )
    for name, text in written().items():
        bare = re.sub(r"\\[{}&%$#_]|^%.*|%$", "", text, flags=re.M)
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
        assert r"\toprule" in text and text.isascii(), name
        kinds = re.search(r"\\begin{tabular}{([lr]+)}", text)
        lines = [line for line in bare.splitlines() if line.endswith(r"\\")]
        for line in lines:
            spans = re.findall(r"\\multicolumn{(\d+)}", line)
            cells = line.count("&") + 1 + sum(int(span) - 1 for span in spans)
            assert kinds and cells == len(kinds[1]), line


def written() -> dict[str, str]:
    """Every view in LaTeX, with results in it and names that LaTeX would stumble over."""
    runs = [
        evaluation("my_model", v, seed=s, label="A_b & 100% #1") for s, v in enumerate((0.3, 0.4))
    ]
    runs += [evaluation("pspnet_mobilenet_v2", 0.35, stands_for=None, dataset="ade20k")]
    profiles = [profile("my_model", 8e8), profile("pspnet_mobilenet_v2", 52.688e9)]
    views = {}
    for name in VIEWS:
        rows = build_table(name, runs, profiles, [pretraining("x_y", 0.1)])
        views[name] = format_latex(
            printed.lay_out(name, "", rows, {"my_model": "A_b & 100% #1"}, "r_1")
        )
    return views


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_every_table_compiles(tmp_path):
    """In one column and in two, with the packages that the first line of each file names."""
    for name, text in written().items():
        (tmp_path / f"{name}.tex").write_text(text)
    inputs = "".join(rf"\input{{{name}}}\clearpage" for name in VIEWS)
    for options in ("", "[twocolumn]"):
        document = rf"\documentclass{options}{{article}}\usepackage{{booktabs,graphicx}}"
        text = rf"{document}\begin{{document}}{inputs}\end{{document}}"
        (tmp_path / "all.tex").write_text(text)
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            errors="replace",
        )
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Overfull" not in done.stdout and "Missing character" not in done.stdout
        assert f"({len(VIEWS)} pages" in done.stdout


def test_markdown_is_a_table_and_empty_cells_are_empty():
    table = laid_out(build_table("ade20k", [evaluation("lemore", 0.3)], [], []))
    lines = [line for line in writers.format_markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 28 + 3 and len({line.count("|") for line in lines}) == 1
    hrnas = next(line for line in lines if "HR-NAS-B" in line)
    assert [cell.strip() for cell in hrnas.strip("|").split("|")][2:] == [
        "", "34.9", "2.2", "3.9", "", "Table 1 row 16",
    ]  # fmt: skip
    assert r"LeMoRe\*" in writers.format_markdown(table)


def test_rows_stand_under_the_papers_headings_and_the_rivals_below():
    table = laid_out(build_table("ade20k", [], [], []))
    models = [row[0].text for row in table.rows]
    assert table.sections == (
        (0, "Heavyweight models"),
        (13, "Lightweight models"),
        (21, "Not in the paper's table"),
    )
    assert models[20] == "LeMoRe" and models[13] == "Lite-ASPP"
    assert [m.split("-")[0] for m in models[21:]] == ["TopFormer"] * 4 + ["SeaFormer"] * 3
    assert laid_out(build_table("ablation", [], [], []), "ablation").sections == ((0, ""),)
    efficiency = laid_out(build_table("efficiency", [], [profile("lemore", 8e8)], []), "efficiency")
    assert efficiency.sections == ((0, ""),)


def cell(table, model, column, place: int = 0):
    """place: among the rows of that model."""
    keys = list(table.columns)
    found = [row for row in table.rows if row[keys.index("model")].text == model]
    return found[place][keys.index(column)] if column in keys else None


def test_differences_are_measured_less_published():
    runs = [evaluation("lemore", 0.3, dataset="ade20k", stands_for=None)]
    runs += [evaluation("pspnet_mobilenet_v2", 0.3001, dataset="ade20k", stands_for=None)]
    aux = {"params_with_aux": 13_721_000}
    profiles = [profile("lemore", 803_212_345, params=1_599_862)]
    profiles += [profile("pspnet_mobilenet_v2", 52.688e9, params=13_461_000, cell=aux)]
    table = laid_out(build_table("ade20k", runs, profiles, []))
    assert cell(table, "LeMoRe", "miou_difference").text == f"{MINUS}3.50"
    assert cell(table, "LeMoRe", "miou_difference").value == -3.5
    assert cell(table, "LeMoRe", "gmacs_difference").text == "0.00"  # 0.8032 - 0.8
    assert cell(table, "LeMoRe", "params_difference").text == "0.00"
    assert cell(table, "PSPNet", "miou_difference").text == "+0.41"
    assert cell(table, "PSPNet", "gmacs_difference").text == "+0.49"
    assert cell(table, "PSPNet", "params_difference").text == "+0.02"  # both with the aux head
    assert "$-$3.50" in format_latex(table)


def test_unlike_things_have_no_difference():
    scenes = laid_out(build_table("ade20k", [evaluation("lemore", 0.3)], [], []))
    assert cell(scenes, "LeMoRe", "miou").text and "miou_difference" not in scenes.columns
    small = profile("pspnet_mobilenet_v2", 104.8e9, dataset="cityscapes", size=(512, 1024))
    full = profile("lraspp_mobilenet_v2", 12.5e9, dataset="cityscapes", size=(1024, 2048))
    table = laid_out(build_table("cityscapes", [], [small, full], []), "cityscapes")
    assert (
        cell(table, "PSPNet", "gmacs").text and not cell(table, "PSPNet", "gmacs_difference").text
    )
    assert cell(table, "L-ASPP", "gmacs_difference").text == f"{MINUS}0.10"


def test_an_unsteady_latency_is_remarked_on():
    steady = profile("a", 8e8)
    latency = {**steady["cells"][0]["latency"], "p95_ms": 31.0}
    rows = build_table("efficiency", [], [steady, profile("b", 8e8, cell={"latency": latency})], [])
    assert ["latency unsteady" in note for note in rows["note"]] == [False, True]


def test_remarks_stand_at_the_number_that_they_are_about():
    table = laid_out(build_table("ade20k", [], [], []))
    notes = dict(table.footnotes)
    said = {c: [notes[s] for s in cell(table, "PSPNet", c).symbols] for c in table.columns}
    assert "52.9 expected" in said["gflops_paper"][0]
    assert "auxiliary head" in said["params_m_paper"][0] and "device" in said["latency_ms_paper"][0]
    assert any("truncated" in text for text in said["miou_paper"]) and not said["model"]
    assert "not FCN-8s" in notes[cell(table, "FCN-8s", "model").symbols[0]]


def test_detection_shows_precision_beside_the_published_one():
    found = {"ap": 0.25, "ap50": 0.5, "ap75": 0.125, "ap_s": 0.0, "ap_m": 0.375, "ap_l": None}
    measured = []
    for seed, ap in enumerate((0.25, 0.35)):
        place = {"dataset": "coco", "stands_for": None, "seed": seed, "num_classes": 80}
        one = evaluation("retinanet_lemore", 0.0, **place) | found | {"ap": ap}
        measured.append({k: v for k, v in one.items() if k not in ("miou", "iou", "confusion")})
    counted = profile("retinanet_lemore", 161_210_000_000, dataset="coco", size=(800, 1333))
    rows = build_table("detection", measured, [], [], (), [counted])
    row = row_of(rows, "retinanet_lemore")
    assert (row["ap"], row["ap50"], row["ap_s"], row["ap_paper"]) == (30.0, 50.0, 0.0, "29.3")
    assert row["ap_sd"] == pytest.approx(7.0711) and row["gmacs"] == pytest.approx(161.21)
    assert rows[["miou", "miou_paper", "ap_l"]].apply(is_empty).all()
    table = laid_out(rows, "detection")
    assert cell(table, "RetinaNet", "ap_difference", 2).text == "+0.70"
    assert [cell(table, "RetinaNet", "ap_paper", i).text for i in range(3)] == [
        "25.9", "27.2", "29.3",
    ]  # fmt: skip
    assert row_of(build_table("coco", measured, [], []), "retinanet_lemore")["seeds"] == 2


def test_labels_are_those_of_each_table():
    def label(view):
        rows = build_table(view, [], [], [])
        return dict(zip(rows["model"], printed.label_rows(rows, {}), strict=True))

    cityscapes = label("cityscapes")
    assert (cityscapes["fcn_mobilenet_v2"], cityscapes["lraspp_mobilenet_v2"]) == ("FCN", "L-ASPP")
    assert label("ade20k")["fcn_mobilenet_v2"] == "FCN-8s"
    rows = build_table("camvid", [evaluation("new", 0.5, dataset="camvid")], [], [])
    assert printed.label_rows(rows, {"new": "New Net"}) == ["New Net"]


def test_a_table_file_is_read_as_it_was_written(tmp_path):
    runs = [evaluation("lemore", v, seed=s) for s, v in enumerate((0.30004567, 0.33))]
    table = build_table("ade20k", runs, [profile("lemore", 803_212_345)], [])
    path = tmp_path / "ade20k.csv"
    path.write_text(writers.format_csv(table))
    pd.testing.assert_frame_equal(read_csv(path), table)
    for text in ("", "a,b\n1,2\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"ade20k\.csv: not a table"):
            read_csv(path)
