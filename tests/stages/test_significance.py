"""The command that compares models, from counts by image, and its remarks in the tables."""

import csv
import re

import numpy as np
import pytest

from lemore.cli import main
from lemore.reporting.tables import printed, writers
from lemore.reporting.tables.build import build_table
from lemore.reporting.tables.significance import read_pairs
from lemore.runtime.files import hash_file
from tests.made_up import evaluation, row_of, write_results

NAMES = [f"a_{i:03}" for i in range(40)]
COUNTS = ("intersection", "predicted", "labelled")


def counted(folder, model, seed, share, names=NAMES):
    """An evaluation on CamVid with counts by image; share: of each image's pixels, all classes."""
    labelled = np.full((len(names), 3), 1000)
    hits = np.round(labelled * np.asarray(share)[:, None]).astype(np.int64)
    path = folder / f"{model}_{seed}.npz"
    np.savez(path, names=np.array(names), intersection=hits, predicted=hits, labelled=labelled)
    return evaluation(
        model,
        float(hits.sum() / labelled.sum()),
        seed=seed,
        dataset="camvid",
        stands_for=None,
        per_image={"file": path.name, "sha256": hash_file(path)},
    )


@pytest.fixture
def runs(tmp_path):
    """lemore clearly better than topformer_t, three seeds each; segformer_b0 has two."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.4, 0.6, len(NAMES))
    made = []
    for model, gap, seeds in (("lemore", 0.1, 3), ("topformer_t", 0, 3), ("segformer_b0", 0, 2)):
        for seed in range(seeds):
            share = hard + gap + rng.normal(0, 0.01, len(NAMES)) + rng.normal(0, 0.003)
            made.append(counted(tmp_path, model, seed, share))
    return made


def compare(folder, runs, *options):
    output = folder / "camvid_significance.csv"
    paths = write_results(folder, runs)
    code = main(["significance", "--evaluations", *paths, *options, "--output", str(output)])
    return code, output


def rows_of(path):
    return list(csv.DictReader(path.open()))


def test_configurations_of_one_model_are_no_seeds(tmp_path, runs, capsys):
    runs[2]["iterations"] += 100
    code, _ = compare(tmp_path, runs)
    assert code == 2
    error = capsys.readouterr().err
    assert "'lemore' was evaluated in several configurations" in error and "iterations" in error


def test_a_better_model_is_found_and_noted(tmp_path, runs):
    code, output = compare(tmp_path, runs)
    assert code == 0
    (row,) = rows_of(output)  # segformer_b0 has another number of seeds
    assert (row["model"], row["than"], row["better"]) == ("lemore", "topformer_t", "yes")
    assert (row["seeds"], row["images"], row["blocks"]) == ("3", "40", "40")
    means = [100 * np.mean([r["miou"] for r in runs if r["model"] == m]) for m in
             ("lemore", "topformer_t")]  # fmt: skip
    assert float(row["difference"]) == pytest.approx(means[0] - means[1], abs=1e-3)
    assert 8 < float(row["low"]) < float(row["difference"]) < float(row["high"]) < 12
    assert float(row["p"]) < 0.001

    made = build_table("camvid", runs, [], [], read_pairs([output]))
    note = made["note"][0]
    found = re.search(r"better than TopFormer-T: \+(\d+\.\d+) points \[\+(.*), \+(.*)\]", note)
    assert found and float(found[1]) == pytest.approx(float(row["difference"]), abs=0.006)
    assert "paired bootstrap over 40 images and 3 seeds each" in note
    assert "better" not in made["note"][1] and "better" not in made["note"][2]
    table = printed.lay_out("camvid", "CamVid", made, {}, "camvid")
    cell = table.rows[0][list(table.columns).index("miou")]
    assert note.split("; ")[-1] in [dict(table.footnotes)[s] for s in cell.symbols]
    assert "better than TopFormer-T" in writers.format_markdown(table)


def test_the_same_run_with_more_pairs_is_corrected(tmp_path, runs):
    others = [r | {"model": "other", "label": "Other"} for r in runs if r["model"] == "lemore"]
    _, output = compare(tmp_path, [*runs, *others])
    rows = rows_of(output)
    assert len(rows) == 3 and all(float(r["p_holm"]) >= float(r["p"]) for r in rows)
    same = next(r for r in rows if {r["model"], r["than"]} == {"lemore", "other"})
    assert (same["difference"], same["better"]) == ("0.0000", "no")
    made = build_table("camvid", [*runs, *others], [], [], read_pairs([output]))
    best = row_of(made, same["model"])
    assert "not significantly better than" in best["note"]
    assert "after Holm's correction for 3 pairs" in best["note"]


def test_frames_go_in_blocks(tmp_path, runs):
    _, output = compare(tmp_path, runs, "--sequence", "[^_]+", "--block", "10")
    assert rows_of(output)[0]["blocks"] == "4"
    note = build_table("camvid", runs, [], [], read_pairs([output]))["note"][0]
    assert "over 4 blocks of neighbouring frames" in note


def test_no_counts_or_one_seed_means_no_test(tmp_path, runs):
    single = [r for r in runs if r["seed"] == 0]
    without = [{k: v for k, v in r.items() if k != "per_image"} for r in runs]
    for given in (single, without):
        code, output = compare(tmp_path, given)
        assert code == 0 and rows_of(output) == []
        made = build_table("camvid", given, [], [], read_pairs([output]))
        assert not made["note"].str.contains("better").any()


def test_wrong_counts_are_refused_by_name(tmp_path, runs, capsys):
    other = counted(tmp_path, "topformer_t", 2, [0.5] * 39 + [0.4], [*NAMES[:39], "b_000"])
    mixed = [r for r in runs if (r["model"], r["seed"]) != ("topformer_t", 2)] + [other]
    assert compare(tmp_path, mixed)[0] == 2
    assert "different images" in capsys.readouterr().err
    (tmp_path / "lemore_0.npz").write_bytes(b"cut")
    assert compare(tmp_path, runs)[0] == 2
    assert "lemore_0.npz: missing, or not as" in capsys.readouterr().err


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match=r"x\.csv: not a table of `lemore significance`"):
        read_pairs([path])
