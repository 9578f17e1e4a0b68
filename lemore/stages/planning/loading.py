"""Computes what the loader processes of a run's trainings need."""

import math
from dataclasses import dataclass
from pathlib import Path

from lemore.config.experiment import Experiment
from lemore.config.recipe import Pretrain, Train
from lemore.data.loader import AHEAD_PER_WORKER
from lemore.runtime.process import count_cores
from lemore.runtime.slots import count_gpus, count_slots


@dataclass(frozen=True)
class Loading:
    """The loading of one training. workers: data-parallel ones, each with loader processes of its
    own. gpus: of each."""

    name: str
    recipe: Train | Pretrain
    workers: int
    gpus: float

    @property
    def shared_bytes(self) -> int:
        """Bytes of the batches that loader processes keep ready in shared memory."""
        return self.recipe.loader_workers * AHEAD_PER_WORKER * self.batch_bytes

    @property
    def batch_bytes(self) -> int:
        """Bytes of a batch of all workers: images of 3 bytes a pixel, and their labels."""
        pixels = math.prod(self.recipe.crop_size)
        label = 8 if isinstance(self.recipe, Pretrain) else pixels
        return self.recipe.batch_size * (3 * pixels + label)

    @property
    def compiles(self) -> bool:
        return self.recipe.compile

    def describe(self) -> str:
        batch = self.batch_bytes / self.workers / 1e6
        processes = self.recipe.loader_workers * self.workers
        return f"{processes} processes, {AHEAD_PER_WORKER} batches of {batch:.0f} MB each"


def list_trainings(configfiles: list[Path]) -> tuple[list[Loading], int]:
    """Returns a run's trainings, but for their seeds, and how many of them run on this machine at
    once."""
    from lemore.stages.planning.plan import merge_configuration

    source = " + ".join(map(str, configfiles))
    experiment = Experiment(merge_configuration(configfiles), source=source)
    ray = experiment.config.ray
    recipes: list[tuple[str, Train | Pretrain]] = [
        (f"pretrain {name}", experiment.pretrain_recipe(name)) for name in experiment.pretrained
    ]
    recipes += [(f"finetune {m} on {d}", experiment.recipe(d, m)[0]) for d, m in experiment.pairs]
    found = [Loading(name, recipe, ray.workers, ray.gpus) for name, recipe in recipes]
    if ray.gpus:
        slots = count_slots([count_gpus()], ray.gpus)
    else:
        slots = count_cores() // min((recipe.threads for _, recipe in recipes), default=1)
    seeds = sum(len(experiment.seeds(model)) for _, model in experiment.pairs)
    jobs = len(experiment.pretrained) + seeds
    return found, max(1, min(jobs, slots // ray.workers))
