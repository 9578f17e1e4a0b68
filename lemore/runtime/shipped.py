"""Finds the files that come with the package: configurations, workflow and published weights.

A wheel has them in lemore/shipped, a clone beside the package.
"""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
INSTALLED = (PACKAGE / "shipped").is_dir()  # from a wheel, not from a clone
SHIPPED = PACKAGE / "shipped" if INSTALLED else PACKAGE.parent
CONFIG, WEIGHTS = SHIPPED / "config", SHIPPED / "weights"


def find_file(path: Path | str) -> Path:
    """Returns `path`, or the package's own file in place of config/... that is not there."""
    path = Path(path)
    own = SHIPPED / path
    return own if path.parts[:1] == ("config",) and not path.exists() and own.exists() else path


def list_names(folder: Path | str) -> list[str]:
    """Lists the names of the YAML files in a folder config/... here and in the package's own."""
    places = (Path(folder), SHIPPED / folder)
    return sorted({path.stem for place in places for path in place.glob("*.yaml")})
