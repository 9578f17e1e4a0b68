"""The report of a run: one self-contained HTML file, made from tables, figures and result files."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from PIL import Image

from lemore.reporting.pages.steps import step
from lemore.reporting.pages.uri import data_uri
from lemore.reporting.pages.viewer import Viewer
from lemore.reporting.tables import class_table
from lemore.reporting.tables.printed import Printed, lay_out
from lemore.reporting.tables.results import Result, labels
from lemore.reporting.tables.writers import caption, csv_text, facts, is_text, printed_csv, read_csv

FOLDER = Path(__file__).parent
TEMPLATE = "report.html.j2"
KINDS = {"best": "best measured", "second": "second best measured"}
LARGE = 500_000  # bytes of a PNG above which a WebP stands for it


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI, its size in pixels, what it shows."""

    name: str
    title: str
    description: str
    uri: str
    width: int
    height: int


def render(
    run: str,
    tables: Iterable[Path | str],
    figures: Iterable[Path | str],
    results: Mapping[str, list[Result]],
    titles: Mapping[str, str],
    audits: Mapping[str, str],
    viewers: Sequence[Viewer] = (),
) -> str:
    """The report as HTML text.

    results: result files by stage (pretrain, finetune, evaluate, profile). titles: printed names
    of datasets. audits: their audit pages, relative to the report. viewers: the chosen images.
    """
    steps = [step(result) for stage in results.values() for result in stage]
    names = labels([*results["profile"], *results["evaluate"]])
    printed = [(_table(Path(path), titles, names, run), _data_csv(Path(path))) for path in tables]
    classes = [
        (table, data_uri("text/csv", printed_csv(table).encode()))
        for table in _classes(results["evaluate"], titles, run)
    ]
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
        classes=classes,
        viewers=viewers,
        figures=[_picture(Path(path)) for path in figures],
        steps=steps,
        stages=list(dict.fromkeys(step.stage for step in steps)),
        scenes=any(table.scenes for table, _ in printed) or any(step.scenes for step in steps),
        audits=audits,
        caption=caption,
        facts=facts,
        is_text=is_text,
        kinds=KINDS,
    )


def _table(path: Path, titles: Mapping[str, str], names: Mapping[str, str], run: str) -> Printed:
    return lay_out(path.stem, titles.get(path.stem, ""), read_csv(path), names, run)


def _classes(evaluations: list[Result], titles: Mapping[str, str], run: str) -> list[Printed]:
    """One table of classes for each dataset."""
    datasets = dict.fromkeys(result["dataset"] for result in evaluations)
    return [
        class_table.lay_out([r for r in evaluations if r["dataset"] == d], titles.get(d, ""), run)
        for d in datasets
    ]


def _data_csv(path: Path) -> str:
    return data_uri("text/csv", csv_text(read_csv(path)).encode())


def _picture(path: Path) -> Picture:
    """A PNG with the title and description that `style.save` left in it."""
    with Image.open(path) as image:
        width, height = image.size
        texts = dict(image.info)
        uri = _webp(image) if path.stat().st_size > LARGE else ""
    return Picture(
        name=path.stem,
        title=texts.get("Title", path.stem),
        description=texts.get("Description", texts.get("Title", path.stem)),
        uri=uri or data_uri("image/png", path.read_bytes()),
        width=width,
        height=height,
    )


def _webp(image: Image.Image) -> str:
    content = io.BytesIO()
    image.convert("RGB").save(content, format="WEBP", quality=90)
    return data_uri("image/webp", content.getvalue())
