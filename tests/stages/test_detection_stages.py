"""Detection through the stages: what a training and an evaluation load, write and survive."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lemore.config import code
from lemore.config.jobs import EvaluateJob, FinetuneJob, read_job
from lemore.config.read import dump
from lemore.config.recipe_files import load_recipe
from lemore.data.augment.segmentation import resize_for_test
from lemore.data.detection_batches import take_labelled
from lemore.data.normalize import normalize
from lemore.data.store import Store
from lemore.evaluation import boxes
from lemore.models.detection_heads.retinanet import Detections
from lemore.models.network import make_network
from lemore.runtime.files import hash_file, read_json
from lemore.stages.check import check_evaluation
from lemore.stages.evaluate import list_metrics
from lemore.stages.finetune import list_named_modules
from lemore.stages.workers.detection import DetectionLoss, describe_anchors
from lemore.stages.workers.start import check_start, fit_start
from lemore.trained.checkpoint import Classes
from lemore.trained.find import read_trained
from tests.small_coco import (
    IDS,
    MODEL,
    NAMES,
    SIZE,
    make_coco_store,
    make_detection_job,
    make_objects,
)
from tests.trained_models import make_settings, write_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("detection")
    make_coco_store(made / "data/dots")
    return made


def write_config(folder: Path, **train: object) -> Path:
    train = {"validate_every": 4, "checkpoint_every": 2, **train}
    path = folder / f"finetune_{'_'.join(train)}.yaml"
    path.write_text(dump(make_detection_job("dots", 3, **train)))
    return path


def make_environment(folder: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    return clean | store | {"PYTHONPATH": str(ROOT)}


def run(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lemore.cli", *map(str, command)],
        cwd=folder,
        env=make_environment(folder),
        capture_output=True,
        text=True,
    )


def lemore(folder: Path, *command: object) -> str:
    done = run(folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def finetune_command(folder: Path, name: str, config: Path) -> list[object]:
    output = folder / "out" / name
    command: list[object] = ["finetune", "--config", config, "--data", folder / "data/dots"]
    return [*command, "--output", output, "--checkpoints", output.with_name(f"{name}_kept")]


@pytest.fixture(scope="module")
def plain(folder) -> Path:
    """A training in one piece."""
    lemore(folder, *finetune_command(folder, "plain", write_config(folder)))
    return folder / "out/plain"


def named(stage: str, config: Path) -> list[str]:
    job = read_job(FinetuneJob, config)
    backbone = f"lemore.models.backbones.{job.backbone.module}"
    return [backbone, *code.list_by_model(job.model, stage)]


def test_a_training_has_loaded_what_it_declares(folder, plain):
    config = write_config(folder)
    record, declared = read_json(plain / "run.json"), named("finetune", config)
    assert record["modules"] == code.declare_code("finetune", declared)
    assert list(list_named_modules(read_job(FinetuneJob, config))) == declared
    rows = [json.loads(line)["metrics"] for line in (plain / "metrics.jsonl").open()]
    assert {"val/AP", "val/AP50", "val/AP_S"} <= {name for row in rows for name in row}


def test_the_best_weights_may_be_kept_and_what_measures_them_counts(folder):
    changes = {"keep": "best", "keep_by": "AP50", "validate_every": 2}
    config = write_config(folder, **changes)
    lemore(folder, *finetune_command(folder, "best", config))
    record = read_json(folder / "out/best/run.json")
    chosen = record["chosen"]
    rows = [json.loads(line) for line in (folder / "out/best/metrics.jsonl").open()]
    scores = {row["step"]: row["metrics"].get("val/AP50") for row in rows}
    assert list(scores) == [2, 4] and chosen["iteration"] == max(scores, key=scores.__getitem__)
    assert chosen["measure"] == "val/AP50" and chosen["value"] == max(scores.values())
    assert list_named_modules(read_job(FinetuneJob, config))[-1] == "lemore.evaluation.boxes"


def test_settings_that_only_label_maps_have_are_refused(folder, plain):
    command = ("evaluate", "--checkpoint", plain / "weights.pt", "--dataset", "dots")
    command += (
        "--data-dir",
        folder / "data",
        "--json",
        folder / "never.json",
        "--test",
        "flip=true",
    )
    done = run(folder, *command)
    assert done.returncode == 2 and not (folder / "never.json").exists()
    assert "--test: flip is True, which detection does not have, expected False" in done.stderr


def test_an_evaluation_writes_average_precisions_and_the_boxes(folder, plain):
    """COCO's own reader finds the same numbers in the boxes' file."""
    path = folder / "evaluate.json"
    printed = lemore(
        folder,
        *("evaluate", "--checkpoint", plain / "weights.pt", "--dataset", "dots"),
        *("--data-dir", folder / "data", "--json", path),
    )
    record = read_json(path)
    assert record["modules"] == code.declare_code(
        "evaluate", named("evaluate", write_config(folder))
    )
    assert f"AP {100 * record['ap']:.2f} %" in printed and "miou" not in record
    assert np.mean(record["ap_by_class"]) == pytest.approx(record["ap"])
    table = read_json(folder / "evaluate/per_class.json")
    assert table["columns"] == ["class", "AP"]
    assert table["data"] == [*map(list, zip(NAMES, record["ap_by_class"], strict=True))]
    metrics = list_metrics(record)
    assert [metrics[f"val/AP by class/{name}"] for name in NAMES] == record["ap_by_class"]
    assert record["boxes"]["sha256"] == hash_file(folder / record["boxes"]["file"])
    found = read_json(folder / record["boxes"]["file"])
    assert found == [] or measure_by_file(folder, found) == pytest.approx(record["ap"])


def measure_by_file(folder: Path, found: list[dict]) -> float:
    rows = []
    for number in range(3):
        one = make_objects(number)
        for box, kind, crowd, area in zip(
            one.boxes, one.classes, one.crowd, one.areas, strict=True
        ):
            left, top, right, bottom = map(float, box)
            side = [left, top, right - left, bottom - top]
            rows.append(
                {"id": len(rows) + 1, "image_id": 1000 + number, "category_id": IDS[kind],
                 "bbox": side, "iscrowd": int(crowd), "area": float(area)}
            )  # fmt: skip
    truth = COCO()
    images, kinds = [{"id": 1000 + n} for n in range(3)], [{"id": number} for number in IDS]
    truth.dataset = {"images": images, "categories": kinds, "annotations": rows}
    truth.createIndex()
    tool = COCOeval(truth, truth.loadRes(found), "bbox")
    tool.evaluate(), tool.accumulate(), tool.summarize()
    return float(tool.stats[0])


class Oracle(torch.nn.Module):
    """A detector that recognises an image by its pixels and finds its objects, too far to the right
    by the share `miss` of their widths."""

    padding = 128

    def __init__(self, store: Store, scale: tuple[int, int], miss: float) -> None:
        super().__init__()
        self.images = [
            torch.from_numpy(resize_for_test(store.read_image(i), scale, None).copy())
            for i in range(len(store))
        ]
        self.store, self.miss = store, miss

    @property
    def detection_head(self):
        return self

    def forward(self, x: torch.Tensor) -> int:
        assert x.shape == (1, 3, 128, 128) and not x[:, :, 48:].any() and not x[..., 64:].any()
        planes = [normalize(image.permute(2, 0, 1)[None], None) for image in self.images]
        return next(i for i, known in enumerate(planes) if torch.equal(known, x[..., :48, :64]))

    def detect(self, outputs: int, size, valid, original) -> list[Detections]:
        assert (tuple(size), valid, original) == ((128, 128), [(48, 64)], [SIZE])
        found = self.store.read_label(outputs)
        shift = self.miss * found.sizes[:, :1] * np.float32([1, 0, 1, 0])
        moved = torch.from_numpy(found.boxes + shift)
        one = ~torch.from_numpy(found.crowd)
        return [
            Detections(moved[one], torch.from_numpy(found.classes)[one], torch.ones(int(one.sum())))
        ]


@pytest.mark.parametrize(
    ("miss", "expected", "at_50", "at_75"), [(0, 1, 1, 1), (50, 0, 0, 0), (38 / 162, 0.3, 1, 0)]
)
def test_perfect_and_missed_detections_have_known_precisions(folder, miss, expected, at_50, at_75):
    """A box that is moved by 38/162 of its width has an IoU of 0.62, right at 0.5, 0.55 and 0.6."""
    store = Store(folder / "data/dots", "val")
    results, found = boxes.evaluate(
        Oracle(store, (64, 48), miss), store, torch.device("cpu"), (64, 48)
    )
    by_iou = {"ap50": at_50, "ap75": at_75}
    assert results.pop("ap_by_class") == pytest.approx([expected] * 3)
    assert results == pytest.approx(dict.fromkeys(boxes.NAMES, expected) | by_iou)
    assert {row["category_id"] for row in found} == set(IDS)
    assert {row["image_id"] for row in found} == {1000, 1001, 1002}


class FirstOutputs(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x.mean()


class ListingHead:
    def loss(self, outputs, size, boxes, classes):
        self.told = size, boxes, classes
        return outputs


def test_the_loss_gets_each_images_own_boxes_and_normalised_pixels(folder):
    job = read_job(FinetuneJob, write_config(folder))
    head, network = ListingHead(), FirstOutputs()
    batch = {
        "image": torch.full((2, 3, 4, 6), 200, dtype=torch.uint8),
        "sizes": torch.tensor([[4, 3], [2, 6]]),
        "boxes": torch.arange(24.0).reshape(2, 3, 4),
        "classes": torch.tensor([[1, 2, 0], [2, 0, 0]]),
        "counts": torch.tensor([2, 1]),
    }
    DetectionLoss(job.train, head, torch.device("cpu"))(network, batch)
    size, found, kinds = head.told
    assert size == (4, 6) and [k.tolist() for k in kinds] == [[1, 2], [2]]
    assert [b.tolist() for b in found] == [
        batch["boxes"][0, :2].tolist(), batch["boxes"][1, :1].tolist(),
    ]  # fmt: skip
    assert not network.seen[0, :, :, 3:].any() and not network.seen[1, :, 2:].any()
    assert network.seen[0, :, :, :3].all() and network.seen[1, :, :2].all()


def test_a_comparison_of_an_image_that_is_not_there_stops_before_the_training(folder):
    _, test = load_recipe(ROOT / "config/recipes/scenes", "coco_scenes", MODEL, {})
    job = EvaluateJob("test", "dots", None, False, tuple(NAMES), ("val_0", "val_7"), test)
    with pytest.raises(
        ValueError, match=r"comparisons\.dots\.images has 'val_7', .*split 'val' of "
    ):
        check_evaluation(job, folder / "data/dots")


def test_a_frozen_backbone_stays(folder):
    network = make_network(read_job(FinetuneJob, write_config(folder)))
    network.freeze_backbone()
    network.train()
    assert not network.backbone.training
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad} == {
        "detection_head"
    }


def test_a_start_keeps_the_classifier_for_the_same_classes_alone(folder, plain):
    job, trained = read_job(FinetuneJob, write_config(folder)), read_trained(plain)
    check_start(job, trained)
    kept = fit_start(make_network(job), trained, NAMES)
    assert not kept["anew"]
    other = fit_start(make_network(job), trained, NAMES[::-1])
    assert kept["classes_kept"] == NAMES and not other["classes_kept"]
    assert len(other["anew"]) == 2 and all("cls_logits" in name for name in other["anew"])
    assert trained.classes == Classes(
        tuple(NAMES), tuple((10 * k, 0, 0) for k in range(3)), tuple(IDS)
    )


def test_a_detector_begins_with_the_backbone_of_a_model_that_segments(folder, tmp_path):
    path = write_checkpoint(tmp_path / "w.pt", make_settings("lemore"))
    job = make_detection_job("dots", 3, "retinanet_lemore")
    trained, network = read_trained(path), make_network(job)
    check_start(job, trained)
    record, state = fit_start(network, trained, NAMES), network.state_dict()
    assert all(name.startswith("detection_head.") for name in record["anew"])
    assert all(name.startswith("decode_head.") for name in record["left"])
    kept = state.keys() - record["anew"].keys() - set(record["carried"])
    assert not record["classes_kept"] and record["classes_new"] == NAMES
    assert kept and all(torch.equal(state[name], trained.state_dict[name]) for name in kept)
    other = make_detection_job("dots", 3)
    with pytest.raises(ValueError, match="whose backbone is lemore, but retinanet_shufflenet_v2"):
        check_start(other, trained)


def test_a_training_says_how_many_objects_an_anchor_can_overlap(folder):
    """There are three on each photo of 64x48 pixels: 50, 27 and 12 pixels large."""
    store = take_labelled(Store(folder / "data/dots", "train"))
    for anchor, words in ((32, "67% of 24 objects by half, "), (64, "33% of 24 objects by half, ")):
        job = make_detection_job("dots", 3, detection_head={"smallest_anchor": anchor})
        text = describe_anchors(job, store, make_network(job).detection_head)
        assert words in text, text
        assert ("a larger img_scale" in text) == (anchor == 64)


@pytest.mark.slow
def test_a_killed_training_goes_on_bit_equal(folder):
    config = write_config(folder, iterations=12)
    lemore(folder, *finetune_command(folder, "whole", config))
    command = [*map(str, finetune_command(folder, "killed", config))]
    process = subprocess.Popen(
        [sys.executable, "-m", "lemore.cli", *command],
        cwd=folder,
        env=make_environment(folder),
        stderr=subprocess.DEVNULL,
    )
    while not list((folder / "out/killed_kept").glob("*/iteration_*.json")):
        assert process.poll() is None, "it ended before it wrote a checkpoint"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    lemore(folder, *command)
    whole, killed = (read_json(folder / f"out/{name}/run.json") for name in ("whole", "killed"))
    assert killed["resumed_at"] >= 2 and whole["weights_sha256"] == killed["weights_sha256"]


@pytest.mark.slow
def test_two_workers_train_on_one_global_batch(folder):
    """The second loss follows from the first gradient; plain SGD does not enlarge rounding."""
    config = write_config(folder, iterations=2, warmup_iterations=0, optimizer="sgd")
    lemore(folder, *finetune_command(folder, "one", config))
    command = finetune_command(folder, "two", config)
    lemore(folder, *command, "--ray", "local", "--workers", "2")
    rows = [
        next(json.loads(line)["metrics"] for line in (folder / f"out/{name}/metrics.jsonl").open())
        for name in ("one", "two")
    ]
    assert rows[1]["train/loss"] == pytest.approx(rows[0]["train/loss"], rel=1e-4)
