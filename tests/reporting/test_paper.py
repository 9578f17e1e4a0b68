"""The published numbers against their transcription, the paper's supplement and one another."""

import csv

import pytest

from lemore.reporting.tables import paper

DATASETS = {
    "ADE20K val": "ade20k",
    "Cityscapes val": "cityscapes",
    "PASCAL Context 59 classes": "pascal_context_59",
    "PASCAL Context 60 classes": "pascal_context_60",
    "COCO-Stuff 10K test": "coco_stuff_10k",
    "COCO detection (miou column holds mAP)": "coco",
}


def test_paper_csv_holds_the_published_rows(samples):
    published = samples / "../paper/published.csv"
    if not published.is_file():
        pytest.skip("the samples have no ../paper/published.csv")
    with open(published, newline="") as file:
        theirs = list(csv.DictReader(file))
    ours = [row for row in paper.load_rows() if row.table != "supplement"]
    assert len(ours) == len(theirs) == 107
    assert sum(row.table == paper.OWN for row in ours) == 55
    for mine, row in zip(ours, theirs, strict=True):
        columns = ("table", "miou", "gflops", "params_m", "latency_ms", "input", "source")
        assert [getattr(mine, column) for column in columns] == [row[c] for c in columns]
        assert mine.dataset == DATASETS[row["dataset"]]
        if mine.table != "2":  # there the parts are named, and the encoder is a legend
            assert (mine.label, mine.encoder) == (row["model"], row["encoder"])
        else:
            assert mine.label == row["model"].replace(" ablation", "").replace("NAttn", "NA")


def test_the_supplements_row(samples):
    supplement = samples / "../paper/supplement.txt"
    if not supplement.is_file():
        pytest.skip("the samples have no ../paper/supplement.txt")
    lines = supplement.read_text().splitlines()
    row = next(line for line in lines if line.startswith("LeMoRe\t"))
    mine = paper.list_rows("supplement")[0]
    size = mine.input.replace("x", "\N{MULTIPLICATION SIGN}")
    assert row == f"LeMoRe\t{size}\t{mine.top1}\t{mine.params_m}M"


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
    rows = [row for row in paper.list_rows(table) if row.model == model]
    assert len(rows) == 1
    row = rows[0]
    assert (row.miou, row.gflops, row.params_m, row.latency_ms, row.top1) == values


def test_number_of_published_rows():
    counts = {table: len(paper.list_rows(table)) for table in "123456"}
    assert counts == {"1": 21, "2": 8, "3": 7, "4": 8, "5": 5, "6": 3}
    assert [row.miou for row in paper.list_rows("4") if row.model == "lemore"] == ["35.76", "31.48"]


def test_the_papers_own_row_comes_before_other_sources():
    row = paper.find_row("lemore", "ade20k")
    assert row is not None and row.miou == "33.5"
    assert "32.7 (SiConMo paper)" in paper.quote_others("lemore", "ade20k", row)[0]
    assert paper.find_row("topformer_t", "ade20k").miou == "33.6"
    assert paper.find_row("metaseg_t", "ade20k") is None


def test_other_sources_are_quoted_only_where_they_differ():
    def said(model, dataset):
        return " ".join(paper.quote_others(model, dataset, paper.find_row(model, dataset)))

    assert said("segformer_b0", "ade20k") == ""  # 37.4 and 37.41
    assert "29.68" in said("pspnet_mobilenet_v2", "ade20k")  # printed as 29.6
    assert "41.5" in said("segnext_t", "ade20k") and "33.07" in said("hrnet_w18_small", "ade20k")


@pytest.mark.parametrize(
    ("table", "model", "words"),
    [
        ("1", "deeplabv3plus_mobilenet_v2", "paper's params include the training-only auxiliary"),
        ("1", "pem_stdc1", "16.0 is not at 512x512"),
        ("1", "pspnet_mobilenet_v2", "52.9 expected"),
        ("5", "pspnet_mobilenet_v2", "52.2 in Table 1"),
        ("1", "fcn_mobilenet_v2", "not FCN-8s"),
        ("3", "fcn_mobilenet_v2", "later corrected to 71.19"),
        ("1", "pspnet_mobilenet_v2", "29.68, truncated"),
        ("3", "pspnet_mobilenet_v2", "at 1024x2048, by their count with a 150-class head"),
        ("3", "segformer_b0", "at 512x1024 (at 1024x2048: 121)"),
        ("3", "lraspp_mobilenet_v3_small", "less than LeMoRe's 1.7"),
        ("3", "lraspp_mobilenet_v2", "not Table 1's Lite-ASPP"),
        ("3", "lraspp_mobilenet_v3_large_reduced", "not Table 1's full Large"),
        ("4", "deeplabv3plus_efficientnet_b0", "EfficientNet-B0, not ENet"),
        ("1", "hrnet_w18_small", "by its count HRNet-W18-Small with a plain FCN head"),
        ("1", "lemore", "pairs 32.7, here LeMoRe*'s, with these 0.8"),
        ("1", "lemore", "device not stated"),
        ("1", "feedformer_b0", "4.43 M"),
        ("1", "hr_nas_a", "published numbers only"),
    ],
)
def test_what_is_wrong_or_mixed_in_the_papers_tables_is_noted(table, model, words):
    rows = [row for row in paper.list_rows(table) if row.model == model]
    assert rows and all(words in row.note for row in rows)
