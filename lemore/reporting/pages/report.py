"""The report of a run: one self-contained HTML file, made from tables, figures and result files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lemore.reporting.pages.page import encode_image, encode_uri, fill_template
from lemore.reporting.pages.steps import describe_step
from lemore.reporting.pages.viewer import Viewer
from lemore.reporting.tables import class_table, deploy, writers
from lemore.reporting.tables.columns import read_csv
from lemore.reporting.tables.printed import lay_out
from lemore.reporting.tables.results import Result, label_models

KINDS = {"best": "best measured", "second": "second best measured"}
LARGE = 500_000  # bytes of a PNG above which a WebP replaces it


def render(
    run: str,
    tables: Iterable[Path | str],
    figures: Iterable[Path | str],
    results: Mapping[str, list[Result]],
    titles: Mapping[str, str],
    audits: Mapping[str, str],
    viewers: Sequence[Viewer] = (),
) -> str:
    """Renders the report as HTML.

    results: result files by stage (pretrain, finetune, evaluate, profile, deploy). titles: printed
    names of datasets. audits: their audit pages, relative to the report. viewers: the chosen
    images.
    """
    steps = [describe_step(result) for stage in results.values() for result in stage]
    names = label_models([*results["profile"], *results["evaluate"]])
    printed = []  # with the CSV that readers can save
    for path in map(Path, tables):
        if path.stem == deploy.NAME:
            table = deploy.read_csv(path)
            laid_out = deploy.lay_out(table, label_models(results["deploy"]), run)
        else:
            table = read_csv(path)
            laid_out = lay_out(path.stem, titles.get(path.stem, ""), table, names, run)
        printed.append((laid_out, encode_uri("text/csv", writers.format_csv(table).encode())))
    classes = []
    by_class = [r for r in results["evaluate"] if "iou" in r or "ap_by_class" in r]
    for dataset in dict.fromkeys(result["dataset"] for result in by_class):
        mine = [result for result in by_class if result["dataset"] == dataset]
        table = class_table.lay_out(mine, titles.get(dataset, ""), run)
        text = writers.format_printed_csv(table)
        classes.append((table, encode_uri("text/csv", text.encode())))
    return fill_template(
        "report.html.j2",
        run=run,
        tables=printed,
        classes=classes,
        viewers=viewers,
        figures=[_read_picture(Path(path)) for path in figures],
        steps=steps,
        stages=list(dict.fromkeys(step.stage for step in steps)),
        scenes=any(table.scenes for table, _ in printed) or any(step.scenes for step in steps),
        audits=audits,
        caption=writers.write_caption,
        facts=writers.write_facts,
        kinds=KINDS,
    )


def _read_picture(path: Path) -> dict[str, Any]:
    """Reads a PNG as a data URI, with the title and description that `save_figure` put into it."""
    with Image.open(path) as image:
        width, height = image.size
        texts = dict(image.info)
        is_large = path.stat().st_size > LARGE
        uri = encode_image(image.convert("RGB"), "webp", quality=90) if is_large else ""
    title = texts.get("Title", path.stem)
    return {
        "title": title,
        "description": texts.get("Description", title),
        "uri": uri or encode_uri("image/png", path.read_bytes()),
        "width": width,  # in pixels
        "height": height,
    }
