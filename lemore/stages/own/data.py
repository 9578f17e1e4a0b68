"""Looks at photos with masks or boxes that nobody has described, and describes them as a dataset's
YAML."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lemore.config.checks import VIEWS
from lemore.config.dataset import NOT_STATED, DatasetConfig
from lemore.config.read import build, plain, read_yaml
from lemore.config.run import PAPER_TABLES
from lemore.config.values import MAX_NAME
from lemore.data.archives.members import Member, list_members
from lemore.data.archives.source import Source
from lemore.data.guess.classes import find_coding
from lemore.data.guess.layout import find_layout
from lemore.data.prepare.audit import find_problem
from lemore.data.prepare.explain import explain
from lemore.data.prepare.samples import list_splits, prepare_sample

SHARES = {"train": 0.8, "val": 0.2}  # of drawn splits
SEEDS = 100  # that are tried until no split is empty
COMPARED = 4  # photos in the report's visual comparison
FAULTY = 10  # one in so many photos may be faulty; they are named and left out
# whose recipe is used, by task
RECIPES = {
    "segmentation": Path("config/recipes/camvid/camvid.yaml"),
    "detection": Path("config/recipes/scenes/coco_scenes.yaml"),
}
PLAIN_FOLDERS = {"image", "images", "img", "imgs", "photo", "photos", "train", "data"}


@dataclass(frozen=True)
class OwnData:
    """A dataset as it was found. `values`: its YAML. `links`: where its folders lie, by their names
    below the dataset's ("" for all of it). `classes`: their names. `counts`: photos of each split.
    `compared`: some that are tested. `size`: the median photo's (H, W). `assumed`: in words."""

    name: str
    values: dict[str, Any]
    links: dict[str, Path]
    classes: list[str]
    counts: dict[str, int]
    compared: list[str]
    size: tuple[int, int]
    assumed: list[str]

    @property
    def task(self) -> str:
        return self.values["task"]

    @property
    def test_split(self) -> str:
        return "test" if "test" in self.counts else "val"


def look(
    data: Path | None, images: Path | None, masks: Path | None, task: str, exif: str | None = None
) -> OwnData:
    """Looks at a folder, at two, or at those that a dataset's YAML names; writes nothing.

    task: what is learned from data without a YAML: segmentation from masks and polygons, detection
    from boxes. exif: `files.exif` of the YAML that will describe them. ValueError if a class or a
    pair cannot be found, or prepare would refuse them.
    """
    if (data is None) == (images is None or masks is None) or (data and (images or masks)):
        raise ValueError("name the data: one folder or YAML, or both --images and --masks")
    if data is not None and data.is_file():
        if exif:
            raise ValueError(f"--exif {exif}: say it in {data}, as `files.exif`")
        return _look_at_described(data)
    links = {"": data} if data else {"images": images, "masks": masks}
    found = {name: path.expanduser().resolve() for name, path in links.items() if path}
    for path in found.values():
        if not path.exists():
            raise ValueError(f"{path}: no such folder")
    if "masks" in found and found["masks"].is_file():
        found["annotations.json"] = found.pop("masks")
    name = choose_name(next(iter(found.values())))
    source = LinkedSource(found) if "" not in found else Source((found[""],))
    layout = find_layout(source, boxes=task == "detection")
    coding = find_coding(source, layout)
    turned = {"exif": exif} if exif else {}
    values: dict[str, Any] = {
        "title": name,
        "task": task,
        "num_classes": len(coding.classes),
        "licence": NOT_STATED,
        "recipe": RECIPES[task].stem,
        "files": {"images": layout.images, "masks": layout.masks} | coding.files | turned,
    }
    if task == "segmentation":
        values["classes"] = coding.classes
    assumed = [*coding.assumed, *_choose_splits(values, layout.splits, source)]
    splits = list_splits(build(DatasetConfig, values, "the data"), source)
    values["quarantine_limit"] = sum(map(len, splits.values())) // FAULTY
    return _examine(name, values, found, source, assumed)


def choose_name(folder: Path) -> str:
    """Returns a dataset's name by its folder, or the one above if that says only what is in it."""
    named = folder.parent if folder.name.lower() in PLAIN_FOLDERS else folder
    name = re.sub(r"[^\w.+-]+", "_", named.name).strip("_.+-") or "own"
    return f"own_{name}"[:MAX_NAME] if name in (*PAPER_TABLES, *VIEWS) else name[:MAX_NAME]


def _look_at_described(path: Path) -> OwnData:
    values = read_yaml(path)
    config = build(DatasetConfig, values, str(path))
    if config.files is None:
        raise ValueError(f"{path}: describes no folder by `files`; `snakemake` runs such datasets")
    if absent := {"train", "val"} - config.splits.keys():
        raise ValueError(
            f"{path}: splits has {', '.join(config.splits)} alone, expected train and val: add "
            f"`{min(absent)}: null` there, and what is in it: a folder (files.split_folders if "
            "it has another name), a list (files.lists) or a share (files.draw)"
        )
    folder = Path(config.folder or f"resources/archives/{path.stem}").expanduser().resolve()
    if not folder.is_dir():
        raise ValueError(f"{path}: folder {folder} is not there")
    if config.task not in RECIPES:
        raise ValueError(f"{path}: task is {config.task}, expected one of {', '.join(RECIPES)}")
    values = {"recipe": RECIPES[config.task].stem} | values | {"folder": str(folder)}
    return _examine(path.stem, values, {}, Source((folder,)), [])


@dataclass(frozen=True, slots=True)
class LinkedMember(Member):
    """A file below a link that the project will hold: its name begins with the link's, and its
    container is where the link leads."""

    @property
    def place(self) -> str:
        return str(Path(self.container, self.name.partition("/")[2]))

    def read(self) -> bytes:
        return Path(self.place).read_bytes()


class LinkedSource(Source):
    """Folders, or files, with the names that they will have below the project's archives."""

    def __init__(self, links: dict[str, Path]) -> None:
        super().__init__(tuple(links.values()))
        self._listing = [member for link in links.items() for member in _list_linked(*link)]


def _list_linked(link: str, path: Path) -> Iterator[Member]:
    if path.is_file():
        yield LinkedMember(link, str(path), "file", path.stat().st_size)
        return
    for member in list_members(path):
        yield LinkedMember(f"{link}/{member.name}", str(path), "file", member.size)


def _choose_splits(values: dict[str, Any], splits: dict[str, str], source: Source) -> list[str]:
    """Adds the splits to a dataset's YAML: those of its folders, else drawn ones."""
    if splits and "val" not in splits:
        splits = {"train": splits["train"], "val": splits["test"]}
    values["splits"] = dict.fromkeys(splits or SHARES)
    if splits:
        others = {split: folder for split, folder in splits.items() if split != folder}
        values["files"] |= {"split_folders": others} if others else {}
        return []
    for seed in range(SEEDS):
        values["files"]["draw"] = {"seed": seed, "shares": SHARES}
        found = list_splits(build(DatasetConfig, values, "the data"), source)
        if all(found.values()):
            break
    return ["there are no splits: about a fifth of the photos, drawn by name, tests the model"]


def _examine(
    name: str, values: dict[str, Any], links: dict[str, Path], source: Source, assumed: list[str]
) -> OwnData:
    """Makes the checks of prepare's dry run; ValueError if it would refuse the data."""
    config = build(DatasetConfig, values, "the data")
    audit = explain(name, config, source)
    problem = find_problem(audit, False, config.quarantine_limit)
    if problem is not None:
        raise ValueError(problem)
    splits = list_splits(config, source)
    counts = {split: len(samples) for split, samples in splits.items()}
    tested = splits["test" if "test" in splits else "val"]
    usable = (s.name for s in tested if prepare_sample(config, s).problem is None)
    compared = list(islice(usable, COMPARED))
    height, width = audit["splits"]["train"]["sizes"]["median"]
    size = (int(height), int(width))
    return OwnData(name, plain(values), links, audit["classes"], counts, compared, size, assumed)
