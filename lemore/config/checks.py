"""The checks of a run before its first job: what its files say of one another. Torch-free."""

import ast
from functools import cache, partial
from pathlib import Path
from typing import Any

from lemore.config.checkpoints import HUB, find_checkpoint
from lemore.config.losses import CROSS_ENTROPY
from lemore.config.model import TORCHVISION, find_init_file, get_start
from lemore.config.read import check_gpus, did_you_mean, plain
from lemore.config.recipe import Train
from lemore.config.recipe_files import check_changes, override_names
from lemore.config.run import PAPER_TABLES
from lemore.config.unread import check_measure, check_unread
from lemore.runtime.shipped import PACKAGE

# tables that are no dataset's: they have these names in results/<run>/tables
VIEWS = tuple(name for name in PAPER_TABLES if name not in ("ade20k", "cityscapes"))
VIEWS += ("deploy",)


def check_run(experiment: Any) -> None:
    """Raises ValueError with file and key for what is not there or does not fit together.

    experiment: an `Experiment`, which calls this once it has its values.
    """
    config = experiment.config
    check_changes(config.recipe_changes, experiment.source, "recipe_changes.")
    for model in dict.fromkeys([*(model for _, model in experiment.pairs), *experiment.profiles]):
        _check_model(experiment, model)
    for dataset in config.trainings:
        _check_training(experiment, dataset)
    for model, places in experiment.profiles.items():
        for place in places:
            cell = experiment.profile_cell(model, place)
            if cell.task != "classification":  # any backbone can classify
                _check_pair(experiment, f"profiles.{model}", cell.dataset, model)
    for dataset in config.comparisons:
        _check_comparison(experiment, dataset)
    for model in config.seeds_of:
        _check_trained(experiment, f"seeds_of.{model}", model, {m for _, m in experiment.pairs})
    for key in config.deployments:
        _check_deployment(experiment, key)
    _check_pretraining(experiment)
    _check_workers(experiment)


def _check_training(experiment: Any, dataset: str) -> None:
    if dataset in VIEWS:
        raise ValueError(
            f"{experiment.source}: trainings has '{dataset}', which is the name of another "
            "table; give the dataset another name"
        )
    _check_dataset(experiment, dataset, ("segmentation", "detection"), f"trainings.{dataset}")
    for model in experiment.config.trainings[dataset]:
        _check_pair(experiment, f"trainings.{dataset}", dataset, model)
    _check_splits(experiment, dataset)
    folder = experiment.root / experiment.config.recipes
    for model in override_names(folder, experiment.recipe_name(dataset)):
        experiment.model(model)


def _check_comparison(experiment: Any, dataset: str) -> None:
    trainings, key = experiment.config.trainings, f"comparisons.{dataset}"
    _check_trained(experiment, key, dataset, trainings)
    for model in experiment.config.comparisons[dataset].models:
        if model not in trainings[dataset]:
            raise ValueError(
                f"{experiment.source}: {key}.models names '{model}', which is not trained on "
                f"{dataset}{did_you_mean(model, trainings[dataset])}"
            )


def _check_deployment(experiment: Any, key: str) -> None:
    model, _, dataset = key.partition("@")
    datasets = [d for d, m in experiment.pairs if m == model]
    name = f"deployments.{key}"
    _check_trained(experiment, name, model, {m for _, m in experiment.pairs})
    if dataset and dataset not in datasets:
        near = did_you_mean(dataset, datasets)
        raise ValueError(f"{experiment.source}: {name} is not trained on {dataset}{near}")
    task = experiment.model(model).task
    if task != "segmentation":
        raise ValueError(
            f"{experiment.source}: {name} is a model for {task}, expected one for segmentation"
        )


def _check_trained(experiment: Any, key: str, name: str, trained: Any) -> None:
    if name not in trained:
        raise ValueError(f"{experiment.source}: {key} is not trained{did_you_mean(name, trained)}")


def _check_pretraining(experiment: Any) -> None:
    config = experiment.config
    for name, init in config.init.items():
        (experiment.model if get_start(init) else experiment.backbone)(name)
    for dataset, model in experiment.pairs:
        _check_init(experiment, dataset, model)
        _check_teacher(experiment, dataset, model)
    if experiment.pretrained and config.pretrain is None:
        first = experiment.pretrained[0]
        raise ValueError(
            f"{experiment.source}: pretrain is empty, but backbone '{first}' wants pretraining; "
            f"name a dataset, or set init: {{{first}: none}}"
        )
    if config.pretrain is None:
        return
    _check_dataset(experiment, config.pretrain, ("classification",), "pretrain")
    recipe = experiment.recipe_name(config.pretrain)
    for backbone in override_names(experiment.root / config.recipes, recipe, True):
        experiment.backbone(backbone)
    for backbone in experiment.pretrained:
        split = experiment.pretrain_recipe(backbone).split
        _check_split(experiment, config.pretrain, "split", split)
        _check_split(experiment, config.pretrain, "training", "train")


def _check_workers(experiment: Any) -> None:
    ray, source = experiment.config.ray, experiment.source
    check_gpus(ray.gpus, ray.workers, source, "ray.gpus")
    if ray.mode == "none" and ray.workers > 1:
        raise ValueError(f"{source}: ray.workers is {ray.workers}, expected 1 (ray.mode is none)")
    recipes = {f"{m} on {d}": experiment.recipe(d, m)[0] for d, m in experiment.pairs}
    paired = {f"pretraining {b}": experiment.pretrain_recipe(b) for b in experiment.pretrained}
    for what, recipe in (recipes | paired).items():
        share, rest = divmod(recipe.batch_size, ray.workers)
        if rest:
            raise ValueError(
                f"{source}: ray.workers is {ray.workers}, which does not divide the batch_size "
                f"{recipe.batch_size} of {what}"
            )
        if what in paired and paired[what].pairs_images and share % 2:
            raise ValueError(
                f"{source}: ray.workers is {ray.workers}, which leaves an odd share of batch_size "
                f"{recipe.batch_size} of {what}, but mixup and cutmix pair images"
            )


def _check_model(experiment: Any, name: str) -> None:
    config = experiment.model(name)
    for head in config.heads:
        folder, module = head.split(".")
        file = experiment.name_file("models", name)
        _check_module(f"models/{folder}", module, f"{file}: {folder.removesuffix('s')}")
    file = experiment.name_file("backbones", config.backbone)
    _check_module(
        "models/backbones", experiment.backbone(config.backbone).module, f"{file}: module"
    )


def _check_pair(experiment: Any, key: str, dataset: str, model: str) -> None:
    """Raises ValueError unless the model does what the dataset is for."""
    does, wanted = experiment.model(model).task, experiment.dataset(dataset).task
    if does != wanted:
        raise ValueError(
            f"{experiment.source}: {key} pairs '{model}', a model for {does}, with '{dataset}', a "
            f"dataset of {wanted}"
        )


def _check_init(experiment: Any, dataset: str, model: str) -> None:
    init, backbone = experiment.init(model), experiment.model(model).backbone
    if init == "none" and experiment.recipe(dataset, model)[0].freeze == "backbone":
        raise ValueError(
            f"{_name_key(experiment, dataset, 'freeze')} is backbone, but {model} starts from "
            f"random weights; name others under init in {experiment.source}"
        )
    if name := get_start(init):
        key = f"{experiment.source}: init.{model} is 'checkpoint:{name}'"
        _check_checkpoint(experiment, key, name)
    named = backbone in experiment.config.init
    own = f"{experiment.name_file('backbones', backbone)}: init"
    key = f"{experiment.source}: init.{backbone}" if named else own
    file, module = find_init_file(init), experiment.backbone(backbone).module
    if file is not None and not file.is_file():
        raise ValueError(f"{key} is '{init}', but there is no file {file}")
    if init.startswith("torchvision:") and module not in TORCHVISION:
        raise ValueError(
            f"{key} is '{init}', but torchvision has no weights of {module}; expected pretrain, "
            "none or file:<path>"
        )


def _check_teacher(experiment: Any, dataset: str, model: str) -> None:
    if teacher := experiment.recipe(dataset, model)[0].teacher:
        key = f"{_name_key(experiment, dataset, 'teacher')}.checkpoint"
        _check_checkpoint(experiment, f"{key} is '{teacher.checkpoint}'", teacher.name)


def _check_checkpoint(experiment: Any, key: str, name: str) -> None:
    """Raises ValueError for a model that is not there, or that this run itself would make."""
    if name.startswith(HUB):
        return
    try:
        found = find_checkpoint(name)
    except ValueError as mistake:
        raise ValueError(f"{key}: {mistake}") from None
    if found.resolve().is_relative_to(experiment.results.resolve()):
        raise ValueError(f"{key}, which this run makes itself; give the run another name")


def _check_dataset(experiment: Any, name: str, tasks: tuple[str, ...], key: str) -> None:
    config, file = experiment.dataset(name), experiment.name_file("datasets", name)
    if config.task not in tasks:
        raise ValueError(
            f"{experiment.source}: {key} is '{name}', a dataset of {config.task}, expected one of "
            f"{' or '.join(tasks)}"
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
        task = experiment.model(model).task
        for part, recipe in {"train": train, "test": test}.items():
            check_unread(task, part, recipe, partial(_name_key, experiment, dataset, part=part))
        check_measure(task, train, partial(_name_key, experiment, dataset))
        if task == "segmentation":
            _check_class_weight(experiment, dataset, train)
            _check_own_loss(experiment, dataset, model, train)
        if train.validate_every:
            _check_split(experiment, dataset, "train.validate_every (0: never)", "val")
        if test.split != tested:
            raise ValueError(
                f"{experiment.source}: test.split is '{test.split}' for {model} on {dataset}, but "
                f"'{tested}' for {experiment.config.trainings[dataset][0]}; they must be equal"
            )


def _check_class_weight(experiment: Any, dataset: str, train: Train) -> None:
    classes, named = experiment.classes(dataset), train.class_weight
    for name in named if isinstance(named, dict) else ():
        if name not in classes:
            raise ValueError(
                f"{_name_key(experiment, dataset, 'class_weight')}.{name} is no class of "
                f"{dataset}{did_you_mean(name, classes)}"
            )


def _check_own_loss(experiment: Any, dataset: str, model: str, train: Train) -> None:
    """Raises ValueError if a recipe describes the loss of a model that has one of its own. Weights
    of classes by their frequencies are a default of recipes, and have no effect there."""
    head = experiment.model(model).decode_head
    if not has_own_loss(head):
        return
    if train.losses != CROSS_ENTROPY:
        key, expected = "losses", "cross_entropy alone, the default"
        value = {name: value for name, value in plain(train.losses).items() if value}
    elif isinstance(train.class_weight, dict):
        key, expected, value = "class_weight", "none or auto", train.class_weight
    else:
        return
    raise ValueError(
        f"{_name_key(experiment, dataset, key)} is {value}, but {head}, the decode head of "
        f"{model}, has a loss of its own; expected {expected}. What is for other models alone "
        "stands under `overrides` of a recipe"
    )


@cache
def has_own_loss(head: str) -> bool:
    """Returns whether the module of a decode head has a method `loss`."""
    tree = ast.parse(Path(PACKAGE, f"models/decode_heads/{head}.py").read_text("utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "loss" for node in ast.walk(tree))


def _name_key(experiment: Any, dataset: str, key: str, part: str = "train") -> str:
    """Names a key of a recipe with its file: the run's, if its changes hold it."""
    if key in experiment.config.recipe_changes.get(part, {}):
        return f"{experiment.source}: recipe_changes.{part}.{key}"
    return f"{experiment.name_recipe(dataset)}: {part}.{key}"


def _check_split(experiment: Any, dataset: str, key: str, split: str) -> None:
    splits = experiment.dataset(dataset).splits
    if split not in splits:
        raise ValueError(
            f"{experiment.name_recipe(dataset)}: {key} needs the split '{split}', which "
            f"{experiment.name_file('datasets', dataset)} does not have"
            f"{did_you_mean(split, splits)}"
        )
