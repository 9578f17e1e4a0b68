"""Lays out a project folder, in which Snakemake runs the workflow that comes with the package."""

from pathlib import Path

from lemore.runtime.files import write_atomic
from lemore.runtime.shipped import SHIPPED

SNAKEFILE = """\
# The workflow that comes with lemore, on the configurations in config/. A file there takes the
# place of the package's own of the same path: of a model, a dataset, a recipe.
from lemore.runtime.shipped import SHIPPED


include: SHIPPED / "Snakefile"


rule project:
    default_target: True
    input:
        rules.all.input,
"""
FIRST_RUN = Path("config/config.yaml")
DEFAULT_PROFILE = Path("profiles/default/config.yaml")  # Snakemake looks for it here


def lay_out(folder: Path) -> None:
    """Writes the Snakefile, the package's run files, of which config.yaml is run by itself, and its
    profiles and script for clusters.

    ValueError if the folder holds one of them already.
    """
    texts = {"Snakefile": SNAKEFILE}
    wanted = ("config/*.yaml", "profiles/*/*", "workflow/slurm.sh")
    copied = [path for pattern in wanted for path in SHIPPED.glob(pattern)]
    texts |= {str(path.relative_to(SHIPPED)): path.read_text("utf-8") for path in copied}
    if there := [name for name in texts if (folder / name).exists()]:
        raise ValueError(f"{folder / min(there)}: is there already; choose another folder")
    write_project(folder, texts)


def write_project(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        write_atomic(folder / name, text)
