"""Renders the findings of a self-test as one self-contained HTML page."""

from typing import Any

from lemore.reporting.pages.page import fill_template

FACTS = {
    "devices": "GPUs",
    "memory_gib": "its memory, GiB",
    "capability": "capability",
    "architectures": "torch is built for",
    "driver": "driver",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "cores": "CPU cores",
    "threads": "CPU threads",
    "system": "system",
    "code": "commit",
}


def render(record: dict[str, Any]) -> str:
    """Renders the page. record: as `lemore.stages.selftest.run` writes it."""
    facts = [(label, record[key]) for key, label in FACTS.items() if record.get(key)]
    lists = [(label, " ".join(v) if isinstance(v, list) else v) for label, v in facts]
    return fill_template("selftest.html.j2", record=record, facts=lists)
