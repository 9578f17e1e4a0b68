"""config/paper.yaml and config/efficiency.yaml against the published rows and all models."""

import re
from pathlib import Path

import pytest

from lemore.config.experiment import Experiment
from lemore.config.job_files import write_profile_job
from lemore.config.model import ModelConfig
from lemore.config.read import load, read_yaml
from lemore.reporting.tables import paper

ROOT = Path(__file__).parents[2]
MODELS = {
    path.stem
    for path in (ROOT / "config/models").glob("*.yaml")
    if load(ModelConfig, path).task == "segmentation"
}
DATASETS = {path.stem for path in (ROOT / "config/datasets").glob("*.yaml")}
ROWS = [row for row in paper.load_rows() if row.model in MODELS and row.dataset in DATASETS]
SEGMENTATION = [row for row in ROWS if row.dataset != "imagenet_1k"]


BACKBONES = sorted(path.stem for path in (ROOT / "config/backbones").glob("*.yaml"))
IMAGES = 1_281_167  # ImageNet-1K's training split
PRETRAININGS = {  # epochs, those of the warm-up, images in a step, optimiser, rate, weight decay
    "lemore": (600, 10, 1024, "rmsprop", 0.064, 2e-5),
    "topformer_t": (600, 10, 1024, "rmsprop", 0.064, 2e-5),
    "seaformer_s": (600, 40, 1024, "rmsprop", 0.064, 2e-5),
    "mit_b0": (300, 5, 1024, "adamw", 5e-4 * 1024 / 512, 0.05),
    "mscan_b": (300, 5, 1024, "adamw", 1e-3, 0.05),
    "convmlp_s": (300, 5, 1024, "adamw", 5e-4, 0.05),
    "mobilenet_v3_large": (600, 3, 1024, "rmsprop", 0.064, 1e-5),
    "efficientnet_b0": (450, 3, 768, "rmsprop", 0.048, 1e-5),
    "mobilenet_v2_os8": (300, 0, 256, "sgd", 0.045, 4e-5),
    "hrnet_w18_small": (100, 0, 128, "sgd", 0.05, 1e-4),
    "resnet18_deep_stem": (100, 0, 256, "sgd", 0.1, 1e-4),
}


def experiment(name: str) -> Experiment:
    return Experiment(read_yaml(ROOT / f"config/{name}.yaml"), ROOT)


@pytest.fixture(scope="module", params=["paper", "efficiency"])
def cells(request, tmp_path_factory) -> dict[str, set[tuple[str, str]]]:
    """model -> (dataset, "HxW") of what is profiled, as the jobs are told."""
    made = experiment(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("jobs"))
        jobs = {model: read_yaml(write_profile_job(made, model)) for model in made.profiles}
    return {
        model: {(cell["dataset"], "x".join(map(str, cell["size"]))) for cell in told["cells"]}
        for model, told in jobs.items()
    }


def test_every_model_is_profiled(cells):
    assert set(cells) == MODELS


def test_costs_are_counted_where_others_publish_them(cells):
    sizes = [(row, re.match(r"\d+x\d+", row.input)) for row in ROWS]
    missing = {
        (row.model, row.dataset, size[0])
        for row, size in sizes
        if size and (row.dataset, size[0]) not in cells[row.model]
    }
    assert not missing
    assert sum(size is not None for _, size in sizes) > 80


def test_every_published_model_is_trained_where_it_is_published():
    pairs = set(experiment("paper").pairs)
    assert {(row.dataset, row.model) for row in SEGMENTATION} <= pairs
    ablation = {row.model for row in paper.list_rows("2")}
    assert len(ablation) == 8 and {("ade20k", model) for model in ablation} <= pairs


def test_efficiency_trains_nothing():
    made = experiment("efficiency")
    assert not made.pairs and not made.datasets and "efficiency" in made.tables


def test_both_say_the_same_of_profiles():
    first, second = experiment("paper").config, experiment("efficiency").config
    assert first.profiles == second.profiles
    assert set(first.latency_backends) == {"eager", "compiled", "onnxruntime", "cuda"}


@pytest.mark.parametrize("place", ["cityscapes@1024", "cityscapes@32x2048", "cityscapes@x"])
def test_a_wrong_size_is_named(place):
    values = read_yaml(ROOT / "config/efficiency.yaml") | {"profiles": {"lemore": [place]}}
    with pytest.raises(
        ValueError, match=rf"profiles\.lemore\[0\] is '{place}', expected a dataset"
    ):
        Experiment(values, ROOT)


def test_a_model_file_alone_makes_a_profile(tmp_path):
    (tmp_path / "config").mkdir()
    for folder in ("datasets", "recipes", "backbones"):
        (tmp_path / "config" / folder).symlink_to(ROOT / "config" / folder)
    (tmp_path / "config/models").mkdir()
    for name in MODELS:
        (tmp_path / f"config/models/{name}.yaml").symlink_to(ROOT / f"config/models/{name}.yaml")
    text = (ROOT / "config/models/lemore.yaml").read_text()
    (tmp_path / "config/models/mine.yaml").write_text(text.replace("LeMoRe", "Mine"))
    made = Experiment(read_yaml(ROOT / "config/efficiency.yaml"), tmp_path)
    assert made.profiles["mine"] == ("ade20k",)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_pretrainings_last_whole_epochs(backbone):
    """Some drop the last batch of an epoch, which is smaller, and some do not."""
    recipe = experiment("paper").pretrain_recipe(backbone)
    per_epoch = IMAGES / recipe.batch_size
    assert any(abs(recipe.iterations / epochs - per_epoch) < 1 for epochs in (100, 300, 450, 600))


@pytest.mark.parametrize("backbone", PRETRAININGS)
def test_pretrainings_are_the_published_ones(backbone):
    recipe = experiment("paper").pretrain_recipe(backbone)
    epochs, warmup, batch, optimizer, rate, decay = PRETRAININGS[backbone]
    assert (recipe.batch_size, recipe.optimizer) == (batch, optimizer)
    assert (recipe.lr, recipe.weight_decay) == pytest.approx((rate, decay))
    assert abs(recipe.iterations / epochs - IMAGES / batch) < 1
    assert abs(recipe.warmup_iterations - warmup * IMAGES / batch) <= warmup


def test_the_short_pretraining_has_smaller_photos_and_the_papers_does_not():
    files = [ROOT / "config" / name for name in ("paper.yaml", "short_pretraining.yaml")]
    short = read_yaml(files[0]) | read_yaml(files[1])
    made = Experiment(short, ROOT)
    small, full = made.dataset("imagenet_1k_small"), made.dataset("imagenet_1k")
    assert made.config.pretrain == "imagenet_1k_small" and small.short_side == 320
    assert small.archives == full.archives
    assert made.pretrain_recipe("lemore").iterations == 125_100
    assert experiment("paper").config.pretrain == "imagenet_1k" and full.short_side is None


def test_the_detectors_of_table_6_are_trained_by_their_schedule():
    """12 epochs of 16 of train2017's 117,266 images with boxes, the rate falling after 8 and 11."""
    experiment = Experiment(read_yaml(ROOT / "config/paper.yaml"), ROOT)
    models = experiment.config.trainings["coco"]
    named = [row.model for row in paper.load_rows() if row.table == "6"]
    assert len(named) == 3 and set(models) == {*named, "retinanet_topformer_t"}
    epoch = -(-117_266 // 16)
    for model in models:
        train, test = experiment.recipe("coco", model)
        assert (train.batch_size, train.iterations) == (16, 12 * epoch)
        assert train.steps == (8 * epoch, 11 * epoch)
        assert train.img_scale == test.img_scale == (1333, 800)
