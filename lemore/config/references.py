"""What the files of a run say of one another, checked before its first job. Torch-free."""

from pathlib import Path
from typing import Any

from lemore.config.code import PACKAGE
from lemore.config.model import find_init_file
from lemore.config.read import did_you_mean

# tables of the paper that are no dataset's: they have these names in results/<run>/tables
VIEWS = ("ablation", "pascal_context", "coco_stuff", "detection", "imagenet", "efficiency")


def check_references(experiment: Any) -> None:
    """Raises ValueError naming file and key for a module, class or split that is not there.

    experiment: an `Experiment`, which calls this once its files are read.
    """
    trainings, pretrain = experiment.config.trainings, experiment.config.pretrain
    for model in {model for _, model in experiment.pairs} | set(experiment.profiles):
        _check_model(experiment, model)
    for dataset in trainings:
        if dataset in VIEWS:
            raise ValueError(
                f"{experiment.source}: trainings has '{dataset}', which is the name of a table of "
                "the paper; give the dataset another name"
            )
        _check_dataset(experiment, dataset, "segmentation", f"trainings.{dataset}")
        _check_splits(experiment, dataset)
    for backbone in {experiment.model(model).backbone for _, model in experiment.pairs}:
        _check_init(experiment, backbone)
    if pretrain is not None:
        _check_dataset(experiment, pretrain, "classification", "pretrain")
    for backbone in experiment.pretrained:
        recipe = experiment.pretrain_recipe(backbone)
        assert pretrain is not None
        _check_split(experiment, pretrain, "split", recipe.split)
        _check_split(experiment, pretrain, "training", "train")
        if recipe.mixup and recipe.batch_size // experiment.config.ray.workers % 2:
            raise ValueError(
                f"{experiment.source}: ray.workers is {experiment.config.ray.workers}, which leaves"
                f" an odd share of batch_size {recipe.batch_size}, but mixup pairs images"
            )


def _check_model(experiment: Any, name: str) -> None:
    config = experiment.model(name)
    for head in config.decode_heads:
        file = experiment.name_file("models", name)
        _check_module("models/decode_heads", head, f"{file}: decode_head")
    file = experiment.name_file("backbones", config.backbone)
    _check_module(
        "models/backbones", experiment.backbone(config.backbone).module, f"{file}: module"
    )


def _check_init(experiment: Any, backbone: str) -> None:
    init = experiment.init(backbone)
    file = find_init_file(init)
    if file is not None and not file.is_file():
        named = backbone in experiment.config.init
        own = f"{experiment.name_file('backbones', backbone)}: init"
        key = f"{experiment.source}: init.{backbone}" if named else own
        raise ValueError(f"{key} is '{init}', but there is no file {file}")


def _check_dataset(experiment: Any, name: str, task: str, key: str) -> None:
    config, file = experiment.dataset(name), experiment.name_file("datasets", name)
    if config.task != task:
        raise ValueError(
            f"{experiment.source}: {key} is '{name}', a dataset of {config.task}, expected one of "
            f"{task}"
        )
    _check_module("data/readers", config.reader, f"{file}: reader")
    classes = experiment.classes(name)
    if classes and len(classes) != config.num_classes:
        raise ValueError(
            f"{file}: num_classes is {config.num_classes}, but label table '{config.labels}' has "
            f"{len(classes)}"
        )


def _check_module(folder: str, name: str, key: str) -> None:
    known = [path.stem for path in Path(PACKAGE, folder).glob("[!_]*.py")]
    if name not in known:
        there = f"expected a module of lemore/{folder}"
        raise ValueError(f"{key} is '{name}', {there}{did_you_mean(name, known)}")


def _check_splits(experiment: Any, dataset: str) -> None:
    _check_split(experiment, dataset, "training", "train")
    tested = experiment.test_split(dataset)
    for model in experiment.config.trainings[dataset]:
        train, test = experiment.recipe(dataset, model)
        _check_split(experiment, dataset, "test.split", test.split)
        if train.validate_every:
            _check_split(experiment, dataset, "train.validate_every (0: never)", "val")
        if test.split != tested:
            raise ValueError(
                f"{experiment.source}: test.split is '{test.split}' for {model} on {dataset}, but "
                f"'{tested}' for {experiment.config.trainings[dataset][0]}; they must be equal"
            )


def _check_split(experiment: Any, dataset: str, key: str, split: str) -> None:
    splits = experiment.dataset(dataset).splits
    if split not in splits:
        raise ValueError(
            f"{experiment.name_recipe(dataset)}: {key} needs the split '{split}', which "
            f"{experiment.name_file('datasets', dataset)} does not have"
            f"{did_you_mean(split, splits)}"
        )
