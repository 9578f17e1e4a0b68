"""The page of prepare's findings in a dataset."""

from pathlib import Path

from lemore.reporting.pages.audit import render
from lemore.runtime.files import read_json, write_atomic


def write_audit_page(data: Path, output: Path) -> None:
    """Writes the page from prepare's files in the folder `data`."""
    audit, colors = read_json(data / "audit.json"), read_json(data / "colors.json")
    sheets = [data / "thumbnails" / f"{split}.jpg" for split in audit["splits"]]
    write_atomic(output, render(audit, colors, [path for path in sheets if path.exists()]))
