"""Says what a run will need before it starts: jobs, hours, memory and disk."""

import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from lemore.config.experiment import Experiment
from lemore.config.job_files import write_finetune_job, write_pretrain_job
from lemore.config.jobs import FinetuneJob, PretrainJob
from lemore.config.placed import find_folder
from lemore.config.read import load, read_yaml
from lemore.config.recipe_files import merge
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import list_splits
from lemore.data.store import Store
from lemore.runtime.device import DeviceName
from lemore.runtime.files import walk_files
from lemore.runtime.process import count_cores, read_processor_name
from lemore.runtime.progress import show_progress

DEFAULT = Path("config/config.yaml")
GIB = 2**30
STATES = 4  # in a checkpoint: weights, the optimiser's two moments, the weights' average
KEPT = 2  # checkpoints of a training
REPORTING = {
    "audit", "significance", "table", "figure", "result_figures", "detector_figures", "diagram",
    "report", "summary", "all", "project",
}  # fmt: skip


def plan(configfiles: list[Path], seconds: float, device: DeviceName, file: Path | None) -> str:
    """Returns the text to print. seconds: of measuring each model, 0 for none; device: auto is as
    `ray.gpus` says; file: JSON with the numbers."""
    source = " + ".join(map(str, configfiles))
    experiment = Experiment(merge_configuration(configfiles), source=source)
    left = list_jobs_left(configfiles)
    needs = [need for job in left for need in list_needs(experiment, job)]
    if device == "auto":
        device = "cuda" if experiment.config.ray.gpus else "cpu"
    if seconds:
        calibrate(experiment, needs, device, seconds)
    if file:
        values = {"device": device, "jobs": left, "trainings": [asdict(need) for need in needs]}
        file.write_text(json.dumps(values, indent=1) + "\n")
    return "\n".join(describe(experiment, left, needs, device, seconds))


def merge_configuration(paths: list[Path]) -> dict[str, Any]:
    """Merges as Snakemake does: later files win; the default is the base if none names a run."""
    values: dict[str, Any] = reduce(merge, map(read_yaml, paths), {})
    return values if "run" in values else merge(read_yaml(DEFAULT), values)


def list_jobs_left(configfiles: list[Path]) -> list[dict[str, Any]]:
    """Lists the jobs that Snakemake would run now, each as {"rule", wildcards...}."""
    if not Path("Snakefile").exists():
        raise ValueError("Snakefile: no such file; `lemore init DIR` lays out a folder with one")
    command = [str(Path(sys.executable).with_name("snakemake")), "-n", "--nocolor"]
    done = subprocess.run(
        [*command, "--configfile", *map(str, configfiles)], capture_output=True, text=True
    )
    text = done.stdout + done.stderr
    if done.returncode:
        raise ValueError(f"snakemake -n failed: {text.strip()[-1000:]}")
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule )", text)[1:]:
        head = re.match(r"(?:local)?rule (\w+):", block)
        assert head is not None
        found = re.search(r"^    wildcards: (.*)$", block, re.M)
        wildcards = dict(re.findall(r"(\w+)=([^,]+)", found[1])) if found else {}
        jobs.append({"rule": head[1], **wildcards})
    return jobs


@dataclass
class Need:
    """A training and, once it is measured, its cost (`problem`: why there is none)."""

    stage: str
    dataset: str
    name: str  # model or backbone
    seed: str
    iterations: int
    threads: int
    images: int  # to be evaluated: those of val at each validation, then those of the test split
    batch_size: int
    loader_workers: int
    step: float = 0.0
    image: float = 0.0
    memory: int = 0
    parameters: int = 0
    sample: float = 0.0
    problem: str = ""

    @property
    def hours(self) -> float:
        return (self.iterations * self.step + self.images * self.image) / 3600

    @property
    def loader_cores(self) -> float:
        """Cores that must load while a device takes steps, so that it never waits."""
        return self.batch_size * self.sample / self.step if self.step else 0.0


def list_needs(experiment: Experiment, job: dict[str, Any]) -> Iterator[Need]:
    config = experiment.config
    if job["rule"] == "finetune":
        train, test = experiment.recipe(job["dataset"], job["model"])
        images = count_images(experiment, job["dataset"], test.split)
        if train.validate_every:
            times = train.iterations // train.validate_every
            images += times * count_images(experiment, job["dataset"], "val")
        loading = (train.batch_size, train.loader_workers)
        numbers = (train.iterations, train.threads, images, *loading)
        yield Need("finetune", job["dataset"], job["model"], job["seed"], *numbers)
    if job["rule"] == "pretrain":
        dataset, recipe = config.pretrain or "", experiment.pretrain_recipe(job["backbone"])
        images = count_images(experiment, dataset, recipe.split)
        loading = (recipe.batch_size, recipe.loader_workers)
        numbers = (recipe.iterations, recipe.threads, images, *loading)
        yield Need("pretrain", dataset, job["backbone"], "0", *numbers)


def count_images(experiment: Experiment, dataset: str, split: str) -> int:
    """Counts a split's images: those that the dataset's YAML expects, else the prepared ones, else
    those in the folder of an own dataset; 0 if none of these is there."""
    folder, config = Path(experiment.data_dir, dataset), experiment.dataset(dataset)
    if expected := config.splits.get(split):
        return expected
    if (folder / f"{split}.npy").exists():
        return len(Store(folder, split))
    archives = find_folder(dataset, config, Path(experiment.archives_dir))
    if config.files is None or not archives.is_dir():
        return 0
    return len(list_splits(config, Source((archives,))).get(split, ()))


def calibrate(experiment: Experiment, needs: list[Need], device: str, seconds: float) -> None:
    """Fills in the costs of trainings; those that differ only by their seed are measured once."""
    from lemore.stages.workers import costs

    measured: dict[tuple[str, str, str], Any] = {}
    distinct = {(need.stage, need.dataset, need.name): need for need in needs}
    for key, need in show_progress(list(distinct.items()), "calibrate", unit="model"):
        size = None
        if need.stage == "finetune":
            path = write_finetune_job(experiment, need.dataset, need.name)
            job = load(FinetuneJob, path)
            _, test = experiment.recipe(need.dataset, need.name)
            short = min(test.img_scale)
            size = (short, min(max(test.img_scale), short * 4 // 3))
        else:
            job = load(PretrainJob, write_pretrain_job(experiment, need.name))
        threads = min(need.threads, count_cores())
        folder = Path(experiment.data_dir) / need.dataset
        data = folder if (folder / "digest.json").exists() else None
        measured[key] = costs.measure(costs.Subject(job, size, device, threads, seconds, data))
    for need in needs:
        cost = measured[need.stage, need.dataset, need.name]
        vars(need).update({"problem": cost} if isinstance(cost, str) else asdict(cost))


def describe(
    experiment: Experiment,
    left: list[dict[str, Any]],
    needs: list[Need],
    device: str,
    calibrated: float,
) -> Iterator[str]:
    counts = Counter(job["rule"] for job in left if job["rule"] not in REPORTING)
    jobs = ", ".join(f"{count} {rule}" for rule, count in counts.items()) or "nothing"
    others = sum(job["rule"] in REPORTING for job in left)
    yield f"run {experiment.config.run}: {jobs} to do, and {others} jobs of reporting"
    if needs and calibrated:
        yield from _describe_hours(needs, device)
        yield from _describe_sharing(experiment, needs)
    yield from _describe_disk(experiment, left, needs)


def _describe_hours(needs: list[Need], device: str) -> Iterator[str]:
    unit = "GPU" if device == "cuda" else "CPU"
    where = "this GPU" if device == "cuda" else f"{read_processor_name()}, batches of 2 scaled up"
    yield f"measured on {where}; loading is in `load ms`, of one core for a sample:"
    yield (
        f"  {'':<44}{'iterations':>10}{'s/step':>9}{'hours':>9}{'GiB':>7}{'params M':>10}"
        f"{'load ms':>9}"
    )
    rows: dict[tuple[str, str, str], list[Need]] = {}
    for need in needs:
        rows.setdefault((need.stage, need.dataset, need.name), []).append(need)
    for (stage, dataset, name), same in rows.items():
        need, times = same[0], f" x{len(same)}" * (len(same) > 1)
        title = f"{stage} {name} on {dataset}{times}"
        if need.problem:
            yield f"  {title:<44}{need.iterations:>10}  {need.problem}"
            continue
        hours, memory = sum(n.hours for n in same), need.memory / GIB
        yield (
            f"  {title:<44}{need.iterations:>10}{need.step:>9.3f}{hours:>9.2f}{memory:>7.1f}"
            f"{need.parameters / 1e6:>10.2f}"
            + (f"{need.sample * 1000:>9.2f}" if need.sample else f"{'?':>9}")
        )
    if device == "cuda":
        yield from describe_loading([same[0] for same in rows.values()])
    for stage in ("pretrain", "finetune"):
        hours = sum(need.hours for need in needs if need.stage == stage)
        if hours:
            yield f"  {stage}: {_name_time(hours, unit)}"
    together = _name_time(sum(need.hours for need in needs), unit)
    uncounted = dict.fromkeys(need.dataset for need in needs if not need.images)
    without = f", but for {', '.join(uncounted)}: its images are not counted yet" * bool(uncounted)
    yield f"  together {together} (evaluations included{without}), beside preparation and reporting"


def _name_time(hours: float, unit: str) -> str:
    return f"{hours:.1f} {unit} hours" if hours >= 1 else f"{60 * hours:.1f} {unit} minutes"


def describe_loading(needs: list[Need]) -> Iterator[str]:
    """Describes the cores that loading takes beside each GPU."""
    for need in needs:
        if not need.sample or not need.step:
            continue
        wanted = math.ceil(need.loader_cores)
        text = f"  {need.stage} {need.name} on {need.dataset}: each GPU takes "
        text += f"{need.batch_size / need.step:.0f} samples/s, which {wanted} core(s) load"
        if need.loader_workers < wanted:
            text += f"; loader_workers is {need.loader_workers}, so the GPU will wait"
        yield text
    if any(not need.sample for need in needs):
        yield "  loading is not known (?) before the data are prepared"


def _describe_sharing(experiment: Experiment, needs: list[Need]) -> Iterator[str]:
    """Describes what would be saved if backbones of one module shared a pretraining."""
    groups: dict[str, list[Need]] = {}
    for need in needs:
        if need.stage == "pretrain":
            groups.setdefault(experiment.backbone(need.name).module, []).append(need)
    for module, same in groups.items():
        if len(same) > 1 and (saved := sum(n.hours for n in same[1:])) > 0.05:
            yield (
                f"  {len(same)} backbones of '{module}' are pretrained apart; `init: {{<name>: "
                f"none}}` for all but {same[0].name} would save {saved:.1f} of these hours"
            )


def _describe_disk(
    experiment: Experiment, left: list[dict[str, Any]], needs: list[Need]
) -> Iterator[str]:
    weights = sum(4 * need.parameters for need in needs)
    largest = max((need.parameters for need in needs), default=0)
    if largest:
        each = 4 * STATES * KEPT * largest
        yield (
            f"disk: {weights / GIB:.2f} GiB of weights, and at most {each / GIB:.2f} GiB of "
            "checkpoints for each training while it runs"
        )
    for job in left:
        if job["rule"] == "prepare":
            yield f"disk: {job['dataset']}: {_describe_data(experiment, job['dataset'])}"


def _describe_data(experiment: Experiment, dataset: str) -> str:
    """Describes the data; prepared, they take at most three times their archives."""
    config = experiment.dataset(dataset)
    folder = find_folder(dataset, config, Path(experiment.archives_dir))
    if config.files is not None and folder.is_dir():
        held = sum((folder / name).stat().st_size for name in walk_files(folder)) / GIB
        return f"{held:.2f} GiB of photos and annotations, up to three times as much prepared"
    sizes = {archive.file: archive.bytes for archive in config.archives}
    there = {name: folder / name for name in sizes if (folder / name).is_file()}
    sizes |= {name: path.stat().st_size for name, path in there.items()}
    unknown = [name for name, size in sizes.items() if not size]
    if len(unknown) == len(sizes):
        return "unknown before it is fetched; prepared, up to three times its archives"
    known = sum(size or 0 for size in sizes.values()) / GIB
    least = f"at least {known:.2f}" if unknown else f"{known:.2f}"
    note = f" ({', '.join(unknown)}: not known before the download)" if unknown else ""
    return f"{least} GiB of archives{note}, up to three times as much prepared"
