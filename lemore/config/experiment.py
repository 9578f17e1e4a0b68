"""A run's configuration, checked and expanded into its jobs and their code.

Torch-free: the Snakefile builds it at every start. `lemore.config.job_files` writes the jobs.
"""

import csv
import os
import re
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from lemore.config import labels
from lemore.config.checks import check_run
from lemore.config.code import list_by_model, list_by_recipe, write_fingerprints
from lemore.config.dataset import DatasetConfig
from lemore.config.formats import Format, explain_absences
from lemore.config.jobs import ProfileCell
from lemore.config.model import BackboneConfig, ModelConfig, get_start
from lemore.config.read import build, load
from lemore.config.recipe import Pretrain, Test, Train
from lemore.config.recipe_files import load_pretrain, load_recipe
from lemore.config.run import PAPER_TABLES, RunConfig, split_place
from lemore.runtime.shipped import PACKAGE, find_file, list_names

EVERY_OTHER = "*"
PUBLISHED = PACKAGE / "reporting/paper.csv"


class Experiment:
    """All jobs of a run. Every mistake in a configuration file is a ValueError here.

    source: the files that the values come from, for messages.
    """

    def __init__(
        self, values: Mapping[str, Any], root: Path = Path(), source: str = "configuration"
    ):
        self.config = build(RunConfig, values, source)
        self.root, self.source = root, source
        self.data_dir = _normalize(self.config.data_dir)
        self.archives_dir = _normalize(self.config.archives_dir)
        self._files: dict[tuple[str, str], Any] = {}
        self._recipes: dict[tuple[str, str], tuple[Train, Test]] = {}
        self._code: dict[tuple[str, ...], list[str]] = {}
        self.results = Path("results") / self.config.run
        check_run(self)

    # the jobs

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """(dataset, model) of every fine-tuning."""
        return [(d, m) for d, models in self.config.trainings.items() for m in models]

    @cached_property
    def datasets(self) -> dict[str, DatasetConfig]:
        """Every dataset that is trained on, with the pretraining one where it is needed."""
        names = list(self.config.trainings)
        if self.config.pretrain and self.pretrained:
            names.append(self.config.pretrain)
        return {name: self.dataset(name) for name in names}

    @cached_property
    def pretrained(self) -> list[str]:
        """Backbones that this run pretrains."""
        wanted = (m for _, m in self.pairs if self.init(m) == "pretrain")
        return list(dict.fromkeys(self.model(m).backbone for m in wanted))

    @cached_property
    def profiles(self) -> dict[str, tuple[str, ...]]:
        """The cells to profile of each model; "*" stands for all other models of
        config/models that segment."""
        named = dict(self.config.profiles)
        if others := named.pop(EVERY_OTHER, ()):
            for name in list_names(self.root / "config/models"):
                if self.model(name).task == "segmentation":
                    named.setdefault(name, others)
        return named

    @cached_property
    def counted(self) -> dict[str, tuple[str, ...]]:
        """The cells to count of each model for the paper's tables: at the published size of each
        dataset on which it is published and not profiled, and of the detectors that are trained."""
        if not self.config.paper_tables:
            return {}
        with open(PUBLISHED, newline="", encoding="utf-8") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["table"] == "own")
        places: dict[tuple[str, str], str] = {}
        for row in rows:  # the paper's own first
            model, dataset, size = row["model"], row["dataset"], row["input"].split(" ")[0]
            files = (f"models/{model}.yaml", f"datasets/{dataset}.yaml")
            if all(find_file(self.root / "config" / file).exists() for file in files):
                sized = re.fullmatch(r"\d+x\d+", size)
                places.setdefault((model, dataset), f"{dataset}@{size}" if sized else dataset)
        for name, model in self.pairs:
            if self.dataset(name).task == "detection":
                dataset = self.dataset(name).stands_for or name
                places.setdefault((model, dataset), dataset)
        counted: dict[str, tuple[str, ...]] = {}
        for (model, dataset), place in places.items():
            profiled = {place.partition("@")[0] for place in self.profiles.get(model, ())}
            if dataset not in profiled and self.dataset(dataset).task != "classification":
                counted[model] = (*counted.get(model, ()), place)
        return counted

    @cached_property
    def deployments(self) -> dict[tuple[str, str], tuple[Format, ...]]:
        """The formats of each (dataset, model) that is deployed."""
        found: dict[tuple[str, str], tuple[Format, ...]] = {}
        for key, formats in self.config.deployments.items():
            model, _, dataset = key.partition("@")
            found |= {(d, m): formats for d, m in self.pairs if m == model and dataset in ("", d)}
        return found

    def explain_absences(self) -> dict[Format, str]:
        """Says of each format of the deployments that cannot be made here what it needs."""
        return explain_absences(dict.fromkeys(f for fs in self.deployments.values() for f in fs))

    @cached_property
    def tables(self) -> list[str]:
        paper = list(PAPER_TABLES) if self.config.paper_tables else ["efficiency"]
        found = paper + [d for d in self.config.trainings if d not in paper]
        return found + ["deploy"] * bool(self.deployments)

    def dataset(self, name: str) -> DatasetConfig:
        return self._load(DatasetConfig, "datasets", name)

    def model(self, name: str) -> ModelConfig:
        return self._load(ModelConfig, "models", name)

    def backbone(self, name: str) -> BackboneConfig:
        return self._load(BackboneConfig, "backbones", name)

    def init(self, model: str) -> str:
        """Returns what a model starts from: checkpoint:<name> of a whole one, else its backbone's
        pretrain, none, torchvision:<weights> or file:<path>."""
        named, backbone = self.config.init, self.model(model).backbone
        if get_start(named.get(model, "")):
            return named[model]
        init = named.get(backbone, "")
        return self.backbone(backbone).init if not init or get_start(init) else init

    def recipe(self, dataset: str, model: str) -> tuple[Train, Test]:
        if (dataset, model) not in self._recipes:
            folder = self.root / self.config.recipes
            name, changes = self.recipe_name(dataset), self.config.recipe_changes
            self._recipes[dataset, model] = load_recipe(folder, name, model, changes)
        return self._recipes[dataset, model]

    def recipe_name(self, dataset: str) -> str:
        """Returns the name of a dataset's recipe: its own, or the one that its file names."""
        return self.dataset(dataset).recipe or dataset

    def classes(self, dataset: str) -> list[str]:
        config = self.dataset(dataset)
        return list(labels.find_table(config).names) if config.task != "classification" else []

    def seeds(self, model: str) -> tuple[int, ...]:
        return self.config.seeds_of.get(model, self.config.seeds)

    def title(self, table: str) -> str:
        """Returns the printed name of a dataset's table, "" for the paper's own."""
        return self.dataset(table).title if table in self.config.trainings else ""

    def test_split(self, dataset: str) -> str:
        _, test = self.recipe(dataset, self.config.trainings[dataset][0])
        return test.split

    def pretrain_recipe(self, backbone: str) -> Pretrain:
        folder, changes = self.root / self.config.recipes, self.config.recipe_changes
        return load_pretrain(
            folder, self.recipe_name(self.config.pretrain or ""), backbone, changes
        )

    def images(self, dataset: str) -> list[str]:
        """Returns the names of the images whose predictions are kept for the comparison."""
        chosen = self.config.comparisons.get(dataset)
        # Prepared names are in Unicode's composed form, whatever an editor or macOS has written.
        return [unicodedata.normalize("NFC", name) for name in chosen.images] if chosen else []

    def profile_cell(self, model: str, place: str) -> ProfileCell:
        """Returns a model at a dataset's class count and size, by the paper's recipe if it exists.

        place: a dataset, or "<dataset>@<H>x<W>" for another size.
        """
        found = split_place(place)
        assert found is not None, place
        dataset, other_size = found
        config = self.dataset(dataset)
        folder = find_file(self.root / "config/recipes/paper")
        name = self.recipe_name(dataset)
        if not (folder / f"{name}.yaml").exists():
            folder = self.root / self.config.recipes
        if config.task == "classification":
            size, head = load_pretrain(folder, name, self.model(model).backbone).crop_size, {}
        else:
            train, _ = load_recipe(folder, name, model, {})
            size, head = train.crop_size, train.decode_head or train.detection_head
        return ProfileCell(dataset, config.task, config.num_classes, other_size or size, head)

    def _load(self, cls: type, kind: str, name: str) -> Any:
        if (kind, name) not in self._files:
            self._files[kind, name] = load(cls, self.name_file(kind, name))
        return self._files[kind, name]

    def name_file(self, kind: str, name: str) -> Path:
        return find_file(self.root / "config" / kind / f"{name}.yaml")

    def name_recipe(self, dataset: str) -> Path:
        return find_file(self.root / self.config.recipes) / f"{self.recipe_name(dataset)}.yaml"

    # the code of each job

    def code(
        self,
        stage: str,
        *,
        dataset: str = "",
        model: str = "",
        backbone: str = "",
        recipe: Train | None = None,
    ) -> list[str]:
        """Returns the fingerprint files of a job's code, for use as input. recipe: of a
        fine-tuning."""
        named = []
        if dataset:
            named.append(f"lemore.data.readers.{self.dataset(dataset).reader}")
        if model:
            config = self.model(model)
            backbone = config.backbone
            named += list_by_model(config, stage)
        if backbone:
            named.append(f"lemore.models.backbones.{self.backbone(backbone).module}")
        named += list_by_recipe(recipe, self.model(model).task) if recipe else []
        if (stage, *named) not in self._code:
            files = write_fingerprints(stage, named, Path("resources/code"))
            self._code[stage, *named] = files
        return self._code[stage, *named]


def _normalize(folder: str) -> str:
    return os.path.normpath(os.path.expanduser(folder))
