"""What only the data can tell is said before the first training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_digest

from lemore.cli import main
from lemore.config.jobs import EvaluateJob, FinetuneJob, PretrainJob, read_job
from lemore.config.read import dump
from lemore.data.photo import PIXELS
from lemore.data.store import PackWriter, pack_label
from lemore.stages.check import check_evaluation, check_pretraining, check_training


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


@pytest.fixture
def refuse(tiny, tmp_path, capsys):
    """Fine-tunes with the evaluation that is to follow; returns why that is refused."""

    def run(data: Path, finetune: Path, evaluate: Path) -> str:
        command = ["finetune", "--config", finetune, "--data", data, "--evaluation", evaluate]
        command += ["--output", tmp_path / "out", "--checkpoints", tmp_path / "checkpoints"]
        assert main([*map(str, command)]) == 2
        assert not (tmp_path / "out").exists() and not list(tmp_path.rglob("*.pt"))
        return capsys.readouterr().err

    return run


def test_sound_jobs_pass(tiny):
    check_training(read_job(FinetuneJob, tiny.finetune_job()).train, tiny.data)
    check_evaluation(read_job(EvaluateJob, tiny.evaluate_job("val_1")), tiny.data)
    check_pretraining(read_job(PretrainJob, tiny.pretrain_job()).recipe, tiny.images)


def test_images_that_are_not_there_are_named(tiny, refuse):
    said = refuse(tiny.data, tiny.finetune_job(), tiny.evaluate_job("val_1", "val_l"))
    assert "comparisons.tiny.images has 'val_l', which is not in split 'val'" in said


def test_splits_without_an_image_are_named(tiny, tmp_path, refuse):
    data = make_data(tmp_path / "tiny", {"train": [(64, 64)], "val": []})
    unwatched = tiny.finetune_job(validate_every=0)
    assert "split 'val' holds no image" in refuse(data, unwatched, tiny.evaluate_job())
    job = read_job(EvaluateJob, tiny.evaluate_job())
    path = tmp_path / "job.yaml"
    path.write_text(dump(replace(job, test=replace(job.test, split="test"))))
    assert "no split 'test'; it has train, val" in refuse(tiny.data, unwatched, path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_photos_that_vanish_are_named(tiny, tmp_path, refuse, split):
    other = {"train": "val", "val": "train"}[split]
    narrow = {split: [(64, 64), (1, 2000), (1200, 1)], other: [(64, 64)]}
    data = make_data(tmp_path / "tiny", narrow)
    said = refuse(data, tiny.finetune_job(validate_every=0), tiny.evaluate_job())
    part = "train" if split == "train" else "test"
    assert f"{part}.img_scale is" in said
    assert f"'{split}_1' of 2000 x 1 pixels vanishes" in said and "1 other" in said


def test_the_narrowest_photo_that_is_left_is_taken(tiny, tmp_path):
    """Half of 112 pixels is left of the long side: with 112 by 1, half a pixel, which is one."""
    job = read_job(FinetuneJob, tiny.finetune_job(validate_every=0))
    assert job.train.scale_range[0] == 0.5
    check_training(job.train, make_data(tmp_path / "fits", {"train": [(1, 112)]}))
    with pytest.raises(ValueError, match="vanishes"):
        check_training(job.train, make_data(tmp_path / "not", {"train": [(1, 113)]}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_size": 1}, "batch_size is 1 and micro_batch 0"),
        ({"batch_size": 3, "micro_batch": 2}, "batch_size is 3 and micro_batch 2"),
    ],
)
def test_a_part_of_one_image_is_refused_where_it_cannot_train(tiny, tmp_path, values, words):
    done = tiny.lemore(*tiny.finetune_command(tiny.finetune_job(**values), tmp_path), check=False)
    assert done.returncode == 2 and words in done.stderr.split("\n")[-2]


def test_a_pretraining_needs_its_splits(tiny):
    recipe = read_job(PretrainJob, tiny.pretrain_job()).recipe
    with pytest.raises(ValueError, match="no split 'test'"):
        check_pretraining(replace(recipe, split="test"), tiny.images)
