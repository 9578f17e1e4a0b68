"""The faithful preset against closed forms, and a loop that survives being killed."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lemore.config.recipe import Group
from lemore.config.recipe_files import load_recipe
from lemore.runtime.checkpoint import Checkpoints, hash_tensors, load
from lemore.runtime.files import read_json
from lemore.runtime.process import Stopped
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.training import loop, losses, optim
from lemore.training.loop import TrainingLoop

RECIPES = Path(__file__).parents[2] / "config/recipes"


def paper(dataset="ade20k", model="lemore"):
    return load_recipe(RECIPES / "paper", dataset, model, {})[0]


# mmcv 0.x: i < 1500: base (1 - i/T) (1 - (1 - i/1500)(1 - 1e-6)); else base (1 - i/T)
@pytest.mark.parametrize("i", [0, 1, 700, 1499, 1500, 80_000, 159_999])
def test_learning_rate_is_mmcv_0_x(i):
    rate = optim.compute_learning_rate(i, paper())
    expected = 1.2e-4 * (1 - i / 160_000)
    if i < 1500:
        expected *= 1 - (1 - i / 1500) * (1 - 1e-6)
    assert rate == pytest.approx(expected, rel=1e-12)


def test_the_newer_curve_is_higher_by_its_late_start():
    """It is 0.95 % higher from the warm-up on (1500 of 160,000 iterations)."""
    from dataclasses import replace

    new = replace(paper(), schedule="mmseg1")
    ratio = optim.compute_learning_rate(1500, new) / optim.compute_learning_rate(1500, paper())
    assert ratio == pytest.approx(1 / (1 - 1500 / 160_000), rel=1e-9)
    assert 100 * (ratio - 1) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("dataset", "model", "crop", "batch", "iterations", "lr"),
    [
        ("ade20k", "lemore", (512, 512), 16, 160_000, 1.2e-4),
        ("ade20k", "topformer_t", (512, 512), 16, 160_000, 3e-4),
        ("cityscapes", "lemore", (512, 1024), 8, 160_000, 3e-4),
        ("pascal_context_59", "lemore", (480, 480), 16, 80_000, 1.2e-4),
        ("pascal_context_60", "lemore", (480, 480), 16, 80_000, 1.2e-4),
        ("coco_stuff_10k", "lemore", (512, 512), 16, 80_000, 1.2e-4),
    ],
)
def test_recipes_are_the_supplements(dataset, model, crop, batch, iterations, lr):
    recipe = paper(dataset, model)
    assert (recipe.crop_size, recipe.batch_size, recipe.iterations) == (crop, batch, iterations)
    assert (recipe.lr, recipe.weight_decay, recipe.poly_power) == (lr, 0.01, 1.0)


def test_detection_is_trained_as_mmdetection_trains_retinanet():
    """Its 1x schedule: 12 epochs of 16 images, those of train2017 that have boxes; the rate falls
    after 8 and 11; warm-up of 500 iterations from a thousandth; no clipping."""
    recipe, test = load_recipe(RECIPES / "paper", "coco", "retinanet_lemore", {})
    epoch = math.ceil((118_287 - 1_021) / 16)
    assert (recipe.iterations, recipe.steps) == (12 * epoch, (8 * epoch, 11 * epoch))
    assert (recipe.img_scale, test.img_scale, recipe.clip_norm) == ((1333, 800), (1333, 800), 0)
    rates = [
        optim.compute_learning_rate(i, recipe) / recipe.lr
        for i in (0, 250, 500, 8 * epoch - 1, 8 * epoch, 11 * epoch, 12 * epoch - 1)
    ]
    assert rates == pytest.approx([0.001, 0.5005, 1, 1, 0.1, 0.01, 0.01])
    for changes in ({"steps": []}, {"schedule": "mmcv0"}):
        with pytest.raises(ValueError, match="steps is"):
            load_recipe(RECIPES / "paper", "coco", "retinanet_lemore", {"train": changes})


def test_loss_divides_by_all_pixels():
    """Uniform logits cost log K a pixel; the ignored quarter is in the divisor."""
    logits = torch.zeros(2, 150, 8, 8)
    label = torch.full((2, 16, 16), 7, dtype=torch.uint8)
    label[:, :4] = 255
    every = losses.compute_segmentation_loss(logits, label, "all_pixels")
    valid = losses.compute_segmentation_loss(logits, label, "valid_pixels")
    assert float(every) == pytest.approx(0.75 * math.log(150), rel=1e-5)
    assert float(valid) == pytest.approx(math.log(150), rel=1e-5)


def test_weighted_loss_divides_by_the_number_of_pixels():
    torch.manual_seed(0)
    logits, label = torch.randn(2, 5, 6, 6), torch.randint(0, 5, (2, 6, 6))
    label[:, :2] = 255
    weight = torch.tensor([0.5, 1.0, 2.0, 0.0, 3.0])
    every = torch.nn.functional.cross_entropy(
        logits, label, weight=weight, ignore_index=255, reduction="none"
    )
    for average, divisor in (("all_pixels", 72), ("valid_pixels", 48)):
        loss = losses.compute_segmentation_loss(logits, label, average, weight)
        torch.testing.assert_close(loss, every.sum() / divisor)


def test_class_weights_follow_the_frequencies():
    weight = losses.compute_class_weight([0.5, 0.45, 0.05, 0.0])
    plain = [1 / math.log(1.02 + p) for p in (0.5, 0.45, 0.05, 0.0)]
    mean = 0.5 * plain[0] + 0.45 * plain[1] + 0.05 * plain[2]
    assert weight.tolist() == pytest.approx([w / mean for w in plain], rel=1e-6)
    assert losses.compute_class_weight([0.25] * 4).tolist() == pytest.approx([1.0] * 4)


@pytest.mark.parametrize("num_classes", [5, 40])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_loss_and_gradient_are_those_of_the_whole_batch_at_once(num_classes, memory):
    torch.manual_seed(0)
    logits = torch.randn(3, num_classes, 5, 7, dtype=torch.float64).contiguous(memory_format=memory)
    label = torch.randint(0, num_classes, (3, 40, 56), dtype=torch.uint8)
    label[1, :9] = 255
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    losses.compute_segmentation_loss(ours, label, "valid_pixels").backward()
    full = nn.functional.interpolate(plain, size=(40, 56), mode="bilinear", align_corners=False)
    nn.functional.cross_entropy(full, label.long(), ignore_index=255).backward()
    assert ours.grad is not None and plain.grad is not None
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-9, atol=1e-12)


def test_an_image_of_ignored_pixels_costs_nothing():
    label = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    for average in ("all_pixels", "valid_pixels"):
        assert (
            float(losses.compute_segmentation_loss(torch.randn(1, 5, 4, 4), label, average)) == 0.0
        )


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.2))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.head(self.body(x))


def test_the_reference_decays_norms_and_speeds_up_the_head():
    """TopFormer's "no decay for norm" never matches its BatchNorm layers, named `bn`."""
    head = {"head": Group(lr_mult=10.0)}
    reference = optim.group_parameters(Tiny(), 0.01, head)
    assert {(g["lr_mult"], g["weight_decay"], len(g["params"])) for g in reference} == {
        (1.0, 0.01, 4),
        (10.0, 0.01, 2),
    }


@pytest.mark.parametrize(
    "decayed, spared",
    [
        ("all", set()),
        ("all_but_norms", {"body.1.weight", "body.1.bias"}),
        ("matrices", {"body.0.bias", "body.1.weight", "body.1.bias", "head.bias"}),
    ],
)
def test_a_pretraining_says_what_it_decays(decayed, spared):
    groups = optim.spare_undecayed(Tiny(), decayed)
    made = optim.group_parameters(Tiny(), 0.01, groups)
    assert {n for g in made if g["weight_decay"] == 0 for n in g["names"]} == spared
    assert {g["weight_decay"] for g in made} <= {0.0, 0.01}
    assert sum(len(g["names"]) for g in made) == 6


def batches(start, stop):
    for i in range(start, stop):
        generator = torch.Generator().manual_seed(i)
        yield {"x": torch.randn(4, 3, 8, 8, generator=generator)}


def make_loop(folder, *, iterations=12, stop=lambda: False, seed=3):
    torch.manual_seed(seed)
    model = Tiny()
    groups = optim.group_parameters(model, 0.01, {})
    return TrainingLoop(
        name="tiny",
        model=model,
        optimizer=optim.make_adamw(groups, (0.9, 0.999)),
        learning_rate=lambda i: 0.01 * (1 - i / iterations),
        batches=lambda start: batches(start, iterations),
        loss=lambda network, batch: network(batch["x"]).square().mean(),
        iterations=iterations,
        seed=seed,
        checkpoints=Checkpoints(folder),
        checkpoint_every=4,
        record=MetricsFile(folder / "metrics.jsonl").append,
        stop=stop,
    )


def digest(job):
    return hash_tensors(job.model.state_dict())


def test_resume_is_bit_exact(tmp_path):
    whole = make_loop(tmp_path / "whole")
    whole.train()
    calls = iter(range(100))
    cut = make_loop(tmp_path / "cut", stop=lambda: next(calls) == 6)  # stops after the 7th step
    with pytest.raises(Stopped, match="after iteration 7"):
        cut.train()
    again = make_loop(tmp_path / "cut", seed=3)
    assert again.train().resumed_at == 7
    assert digest(again) == digest(whole)


def test_workers_compare_where_they_begin(tmp_path, monkeypatch):
    compared = []
    monkeypatch.setattr(loop, "check_alike", lambda *args: compared.append(args))
    cut = make_loop(tmp_path, stop=lambda: True)
    with pytest.raises(Stopped):
        cut.train()
    again = make_loop(tmp_path)
    again.train()
    assert [(folder, start) for folder, start, _ in compared] == [(tmp_path, 0), (tmp_path, 1)]
    assert all(state.keys() == again.model.state_dict().keys() for *_, state in compared)


def test_a_kill_between_checkpoints_repeats_at_most_one_interval(tmp_path):
    whole = make_loop(tmp_path / "whole")
    whole.train()

    class Killed(BaseException):
        pass

    killed = make_loop(tmp_path / "cut")
    calls = iter(range(100))

    def loss(network, batch):
        if next(calls) == 6:
            raise Killed
        return network(batch["x"]).square().mean()

    with pytest.raises(Killed):
        replace(killed, loss=loss).train()
    again = make_loop(tmp_path / "cut")
    assert again.train().resumed_at == 4
    assert digest(again) == digest(whole)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage, caplog):
    checkpoints = Checkpoints(tmp_path)
    for iteration in (4, 8):
        checkpoints.save(iteration, {"model": {"w": torch.full((3,), float(iteration))}})
    newest = checkpoints.list_paths()[0]
    data = bytearray(newest.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    newest.write_bytes({"flip": data, "truncate": data[: len(data) // 2], "empty": b""}[damage])
    state = checkpoints.load_newest()
    assert state is not None and state["iteration"] == 4
    assert "checksum differs" in caplog.text
    checkpoints.list_paths()[1].write_bytes(b"x")
    with pytest.raises(ValueError, match="every checkpoint is damaged"):
        checkpoints.load_newest()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for iteration in (1, 2, 3):
        checkpoints.save(iteration, {})
    hashes = [path.with_suffix(".json") for path in checkpoints.list_paths()]
    assert [read_json(path)["iteration"] for path in hashes] == [3, 2]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    path = tmp_path / "evil.pt"
    torch.save({"model": Tiny()}, path)
    with pytest.raises(ValueError, match="plain tensors"):
        load(path)


def test_a_loss_that_is_never_finite_stops_the_training(tmp_path):
    broken = make_loop(tmp_path)

    def loss(network, batch):
        return network(batch["x"]).mean() * float("nan")

    with pytest.raises(FloatingPointError, match="not finite for 12 steps in a row"):
        replace(broken, loss=loss).train()


def test_the_metrics_forget_what_will_be_written_again(tmp_path):
    metrics_file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        metrics_file.append(step, {"train/loss": 1 / step})
    with open(metrics_file.path, "a") as file:
        file.write('{"step": 40, "ti')  # cut off by a kill
    metrics_file.rewind(20)
    assert [row["step"] for row in metrics_file.read()] == [10, 20]


def test_the_digest_tells_names_types_shapes_and_values():
    base = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    same = {"b": torch.ones(1), "a": torch.zeros(2, 3)}
    assert hash_tensors(base) == hash_tensors(same)
    for other in (
        {**base, "a": torch.zeros(3, 2)},
        {**base, "a": torch.zeros(2, 3, dtype=torch.float64)},
        {**base, "a": base["a"] + 1e-7},
        {"c": base["a"], "b": base["b"]},
    ):
        assert hash_tensors(other) != hash_tensors(base)
