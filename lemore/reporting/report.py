"""The report of a run: one self-contained HTML file, made from tables, figures and result files."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from PIL import Image

from lemore.reporting.printed import Printed, lay_out
from lemore.reporting.results import Result, by, labels
from lemore.reporting.writers import caption, csv_text, is_text, read_csv

FOLDER = Path(__file__).parent
TEMPLATE = "report.html.j2"
KINDS = {"best": "best measured", "second": "second best measured"}


@dataclass(frozen=True)
class Picture:
    """A figure: PNG as a data URI, its size in pixels, what it shows."""

    name: str
    title: str
    description: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Step:
    """How one result was made. `runs` links the MLflow runs that led to it, oldest first."""

    stage: str
    what: str
    scenes: bool
    settings: tuple[tuple[str, str], ...]
    runs: tuple[tuple[str, str], ...]
    command: str
    code: str


def render(
    run: str,
    tables: Iterable[Path | str],
    figures: Iterable[Path | str],
    results: Mapping[str, list[Result]],
    titles: Mapping[str, str],
    audits: Mapping[str, str],
) -> str:
    """The report as HTML text.

    results: result files by stage (pretrain, evaluate, profile). titles: printed names of datasets.
    audits: their audit pages, relative to the report.
    """
    steps = [_step(result) for stage in results.values() for result in stage]
    names = labels([*results["profile"], *results["evaluate"]])
    printed = [(_table(Path(path), titles, names, run), _data_csv(Path(path))) for path in tables]
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        run=run,
        tables=printed,
        figures=[_picture(Path(path)) for path in figures],
        steps=steps,
        stages=list(dict.fromkeys(step.stage for step in steps)),
        scenes=any(table.scenes for table, _ in printed) or any(step.scenes for step in steps),
        audits=audits,
        caption=caption,
        is_text=is_text,
        kinds=KINDS,
    )


def _table(path: Path, titles: Mapping[str, str], names: Mapping[str, str], run: str) -> Printed:
    return lay_out(path.stem, titles.get(path.stem, ""), read_csv(path), names, run)


def _data_csv(path: Path) -> str:
    return _uri("text/csv", csv_text(read_csv(path)).encode())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _picture(path: Path) -> Picture:
    """A PNG with the title and description that `style.save` left in it."""
    with Image.open(path) as image:
        width, height = image.size
        texts = dict(image.info)
    return Picture(
        name=path.stem,
        title=texts.get("Title", path.stem),
        description=texts.get("Description", texts.get("Title", path.stem)),
        uri=_uri("image/png", path.read_bytes()),
        width=width,
        height=height,
    )


def _step(result: Result) -> Step:
    describe = {"pretrain": _pretrain, "evaluate": _evaluate, "profile": _profile}
    what, settings, links = describe[result["stage"]](result)
    own = (result["stage"], result["mlflow_run_id"])
    return Step(
        stage=result["stage"],
        what=what,
        scenes=result.get("scenes", False),
        settings=tuple((name, str(value)) for name, value in settings.items()),
        runs=tuple((name, run) for name, run in (*links, own) if run),
        command=result["command"],
        code=result["code"],
    )


def _pretrain(result: Result):
    settings = {
        "input size": by(result["input_size"]),
        "iterations": result["iterations"],
        "weights (SHA-256)": result["weights_sha256"],
    }
    return f"{result['backbone']} on {result['dataset']}", settings, ()


def _evaluate(result: Result):
    what = f"{_full_label(result)} on {result['dataset']} {result['split']}, seed {result['seed']}"
    settings = {
        "images": result["images"],
        "classes": result["num_classes"],
        "train crop": by(result["train_crop"]),
        "iterations": result["iterations"],
        "recipe": result["recipe"],
        "test mode": result["test_mode"],
        "device": result["device"],
    }
    if result.get("mean_boundary_iou") is not None:
        settings["mean Boundary IoU"] = f"{100 * result['mean_boundary_iou']:.2f} %"
    links = (("pretrain", result["pretrain_run_id"]), ("finetune", result["finetune_run_id"]))
    links = tuple((name, run) for name, run in links if ":" not in run)  # a page is there
    return what, settings, links


def _profile(result: Result):
    cells = [f"{cell['dataset']} {by(cell['size'])}" for cell in result["cells"]]
    protocols = dict.fromkeys(c["latency"]["protocol"] for c in result["cells"] if c["latency"])
    settings = {"cells": ", ".join(cells), "device": result["device"], "torch": result["torch"]}
    if protocols:
        settings["latency protocol"] = "; ".join(protocols)
    return _full_label(result), settings, ()


def _full_label(result: Result) -> str:
    """The printed name and the key, as several models share a name: LeMoRe (lemore)."""
    return f"{result['label']} ({result['model']})"
