"""What only the data or the networks can tell is said before the first training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lemore.cli import main
from lemore.config.jobs import EvaluateJob, FinetuneJob, PretrainJob, read_job
from lemore.config.read import dump
from lemore.data.store import PIXELS, PackWriter, pack_label
from tests.conftest import NUM_CLASSES, tiny_digest


def run_check(data: Path, output: Path, **jobs: Path) -> int:
    options = [str(word) for stage, path in jobs.items() for word in (f"--{stage}", path)]
    return main(["check", "--data", str(data), *options, "--output", str(output)])


def write(path: Path, job: object) -> Path:
    path.write_text(dump(job))
    return path


def make_data(folder: Path, sizes: dict[str, list[tuple[int, int]]]) -> Path:
    """A store whose splits hold photos of these sizes (H, W)."""
    folder.mkdir(parents=True)
    for split, shapes in sizes.items():
        writer = PackWriter(folder, split, "segmentation")
        for i, (height, width) in enumerate(shapes):
            label = pack_label(np.zeros((height, width), np.uint8))
            photo = bytes(3 * height * width)
            writer.add(f"{split}_{i}", (height, width), photo, PIXELS, label)
        writer.close()
    tiny_digest(folder, "segmentation")
    return folder


def test_sound_jobs_are_listed(tiny, tmp_path):
    finetune, evaluate = tiny.finetune_job(), tiny.evaluate_job("val_1")
    output = tmp_path / "checked.json"
    assert run_check(tiny.data, output, finetune=finetune, evaluate=evaluate) == 0
    assert json.loads(output.read_text())["checked"] == [str(finetune), str(evaluate)]
    assert run_check(tiny.images, output, pretrain=tiny.pretrain_job()) == 0


def refuse(capsys, tmp_path: Path, data: Path, **jobs: Path) -> str:
    output = tmp_path / "checked.json"
    assert run_check(data, output, **jobs) == 2
    assert not output.exists()
    return capsys.readouterr().err


def test_images_that_are_not_there_are_named(tiny, tmp_path, capsys):
    said = refuse(capsys, tmp_path, tiny.data, evaluate=tiny.evaluate_job("val_1", "val_l"))
    assert "comparisons.tiny.images has 'val_l', which is not in split 'val'" in said


def test_splits_without_an_image_are_named(tiny, tmp_path, capsys):
    data = make_data(tmp_path / "tiny", {"train": [(64, 64)], "val": []})
    said = refuse(capsys, tmp_path, data, evaluate=tiny.evaluate_job())
    assert "split 'val' holds no image" in said
    lost = read_job(EvaluateJob, tiny.evaluate_job())
    job = write(tmp_path / "job.yaml", replace(lost, test=replace(lost.test, split="test")))
    assert "no split 'test'; it has train, val" in refuse(capsys, tmp_path, tiny.data, evaluate=job)


@pytest.mark.parametrize("stage", ["finetune", "evaluate"])
def test_photos_that_vanish_are_named(tiny, tmp_path, capsys, stage):
    narrow = [(64, 64), (1, 2000), (1200, 1)]
    data = make_data(tmp_path / "tiny", {"train": narrow, "val": narrow})
    job = tiny.finetune_job() if stage == "finetune" else tiny.evaluate_job()
    said = refuse(capsys, tmp_path, data, **{stage: job})
    split = "train" if stage == "finetune" else "val"
    assert f"'{split}_1' of 2000 x 1 pixels vanishes" in said and "img_scale is" in said


def test_photos_of_one_line_that_are_left_are_taken(tiny, tmp_path):
    """At the smallest ratio, half of 112, a photo of 55 by 1 keeps its line."""
    data = make_data(tmp_path / "tiny", {"train": [(1, 55)], "val": [(1, 55)]})
    assert run_check(data, tmp_path / "checked.json", finetune=tiny.finetune_job()) == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_size": 1}, "batch_size is 1 and micro_batch 0"),
        ({"batch_size": 3, "micro_batch": 2}, "batch_size is 3 and micro_batch 2"),
        ({"batch_size": 4, "micro_batch": 1}, "batch_size is 4 and micro_batch 1"),
    ],
)
def test_a_part_of_one_image_is_refused_where_it_cannot_train(
    tiny, tmp_path, capsys, values, words
):
    job = tiny.finetune_job("lemore", **values)
    assert words in refuse(capsys, tmp_path, tiny.data, finetune=job)
    assert main([*map(str, tiny.finetune_command(job, tmp_path / "out"))]) == 2
    assert words in capsys.readouterr().err
    # a network without BatchNorm on single values takes it
    other = tiny.finetune_job("segformer_b0", **values)
    assert run_check(tiny.data, tmp_path / "checked.json", finetune=other) == 0


def test_a_wrong_argument_is_named(tiny, tmp_path, capsys):
    job = read_job(FinetuneJob, tiny.finetune_job())
    model = replace(job.model, arguments={**job.model.arguments, "wdith": 8})
    path = write(tmp_path / "job.yaml", replace(job, model=model))
    assert "has no argument 'wdith'" in refuse(capsys, tmp_path, tiny.data, finetune=path)


def test_a_pretraining_is_checked(tiny, tmp_path, capsys):
    job = read_job(PretrainJob, tiny.pretrain_job())
    path = write(tmp_path / "a.yaml", replace(job, recipe=replace(job.recipe, split="test")))
    assert "no split 'test'" in refuse(capsys, tmp_path, tiny.images, pretrain=path)
    assert job.num_classes == NUM_CLASSES
