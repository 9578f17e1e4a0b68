"""The training curves, and the command that draws the figures of a dataset's results."""

import json

import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from lemore.cli import main
from lemore.reporting.figures import classes, curves
from tests.made_up import evaluation, write_results


def training(name, seed, losses, validated=(), key="val/mIoU"):
    rows = [{"step": 10 * (i + 1), "metrics": {"train/loss": v}} for i, v in enumerate(losses)]
    rows += [{"step": 20 * (i + 1), "metrics": {key: v}} for i, v in enumerate(validated)]
    return curves.RecordedTraining(name, seed, rows)


def test_curves_have_a_line_per_seed_and_their_mean():
    given = [training("A", 0, [3, 2, 1], [0.1, 0.3]), training("A", 1, [5, 4, 3], [0.3, 0.5])]
    given.append(training("B", 0, [2, 2, 2], [0.5, 0.6]))
    figure = curves.draw(given, False)
    loss, miou = figure.axes
    assert [line.get_ydata().tolist() for line in miou.lines] == [
        pytest.approx(v) for v in ([50, 60], [10, 30], [30, 50], [20, 40])
    ]  # B ends highest and comes first
    assert [line.get_ydata().tolist() for line in loss.lines][1:] == [
        [3, 2, 1],
        [5, 4, 3],
        [4, 3, 2],
    ]
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == ["B", "A, 2 seeds"]
    words = curves.describe(given, "camvid", True)
    assert "A loss 4.00 to 2.00, validation mIoU 40.0 % at the end" in words
    assert "Trained on drawn scenes" in words
    assert len(curves.draw([training("A", 0, [3, 2])], False).axes) == 1  # never validated
    with pytest.raises(ValueError, match="no training recorded a loss"):
        curves.draw([training("A", 0, [])], False)


def test_curves_of_detectors_are_of_loss_and_ap50():
    given = [training("A", seed, [3, 2], [0.125, 0.25], "val/AP50") for seed in (0, 1)]
    given[0].rows.append({"step": 40, "metrics": {"val/AP": 0.1}})  # one of its other measures
    loss, ap50 = curves.draw(given, False).axes
    assert (loss.get_ylabel(), ap50.get_ylabel()) == (
        "training loss", "AP50 on the validation split (%)",
    )  # fmt: skip
    assert [line.get_ydata().tolist() for line in ap50.lines] == [[12.5, 25]] * 3
    words = curves.describe(given, "coco", False)
    assert "A loss 3.00 to 2.00, validation AP50 25.0 % at the end." in words


def test_a_model_has_one_colour_in_curves_and_classes():
    """Though curves list the best first."""
    models = ("lemore", "topformer_t")
    bars = classes.draw([evaluation(model, 0.3) for model in models]).legends[0]
    by_class = {
        text.get_text(): patch.get_facecolor()
        for text, patch in zip(bars.get_texts(), bars.get_patches(), strict=True)
    }
    ends = zip(by_class, (0.2, 0.6), strict=True)
    trainings = [training(name, 0, [3, 2], [miou]) for name, miou in ends]
    (lines,) = curves.draw(trainings, False).legends
    assert [text.get_text() for text in lines.get_texts()] == list(by_class)[::-1]
    for text, line in zip(lines.get_texts(), lines.get_lines(), strict=True):
        assert to_rgba(line.get_color()) == by_class[text.get_text()]


def test_a_long_line_is_means_by_iterations():
    steps = [*range(10, 1001, 10), 1001]
    rows = [{"step": s, "metrics": {"train/loss": 1.0}} for s in steps]
    rows[-1]["metrics"]["train/loss"] = 101.0  # of a single iteration
    (found,) = curves.group_by_model([curves.RecordedTraining("A", 0, rows)], "train/loss")["A"]
    assert len(found[0]) == 50 and found[0][-1] == 1001
    assert found[1][:-1].tolist() == [1.0] * 49
    assert found[1][-1] == pytest.approx(1 + 100 / 21)  # rows 990, 1000, 1001: 10 + 10 + 1


def test_results_command_draws_what_there_is(tmp_path):
    runs = [evaluation(m, 0.3, seed=s) for m in ("lemore", "topformer_t") for s in (0, 1)]
    paths = write_results(tmp_path, runs)
    command = ["figure", "results", "--evaluations", *paths, "--output", str(tmp_path / "out")]
    assert main(command) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        f"{k}_ade20k_scenes.{s}" for k in ("classes", "confusion") for s in ("png", "pdf")
    }
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"stage": "finetune", "model": "lemore", "seed": 0}))
    assert main([*command, "--trainings", str(run)]) == 2  # no metrics.jsonl beside it
    rows = training("", 0, [2, 1]).rows
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([*command, "--trainings", str(run)]) == 0
    with Image.open(tmp_path / "out/curves_ade20k_scenes.png") as image:
        assert "LeMoRe loss 2.00 to 1.00" in image.info["Description"]


def test_results_command_draws_the_curves_of_a_detector(tmp_path, capsys):
    """Its results have no label maps to draw."""
    run = evaluation("retinanet_lemore", 0.0, dataset="dots")
    run = {k: v for k, v in run.items() if k not in ("miou", "iou", "acc", "confusion")}
    (path,) = write_results(tmp_path, [run | {"ap": 0.25, "ap50": 0.5}])
    command = ["figure", "results", "--output", str(tmp_path / "out"), "--evaluations", path]
    assert main(command) == 2
    assert "of a detector only the curves" in capsys.readouterr().err
    training_file = tmp_path / "run.json"
    training_file.write_text(json.dumps({"model": "retinanet_lemore", "seed": 0}))
    rows = training("", 0, [2, 1], [0.25], "val/AP50").rows
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command += ["--trainings", str(training_file)]
    assert main(command) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "curves_dots.png", "curves_dots.pdf",
    }  # fmt: skip
    (tmp_path / "other").mkdir()
    (other,) = write_results(tmp_path / "other", [run | {"dataset": "squares"}])
    assert main([*command, "--evaluations", path, other]) == 2
    assert "one dataset, found dots, squares" in capsys.readouterr().err
