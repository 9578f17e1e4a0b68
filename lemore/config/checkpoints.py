"""Finds the files of a trained model by path or name, before any of them is read. Torch-free."""

from pathlib import Path

from lemore.config.read import did_you_mean
from lemore.runtime import shipped

RESULTS, WEIGHTS = Path("results"), "weights.pt"
SHARED_WEIGHTS, SHARED_CONFIG = "model.safetensors", "config.json"  # of a shared model folder
HUB = "hf://"


def find_checkpoint(name: str) -> Path:
    """Finds weights.pt or the shared model folder that a path, a model that comes with the package
    or a training below results/ stands for; ValueError if there is none."""
    path = Path(name)
    if path.name == SHARED_WEIGHTS:
        path = path.parent
    if path.is_file() or (path / SHARED_CONFIG).is_file():
        return path
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    if path.is_dir():
        raise ValueError(
            f"{path}: holds neither {SHARED_CONFIG} and {SHARED_WEIGHTS} of a shared model nor "
            f"{WEIGHTS} of a training"
        )
    if path.exists():
        raise ValueError(f"{name}: neither a file nor a folder")
    if name in list_published():
        return shipped.WEIGHTS / name
    return _find_training(name)


def list_published() -> list[str]:
    """Lists the names of the models that come with the package."""
    return sorted(path.parent.name for path in shipped.WEIGHTS.glob(f"*/{SHARED_CONFIG}"))


def list_files(checkpoint: Path) -> list[Path]:
    """Lists the files that a found checkpoint is read from."""
    if checkpoint.is_dir():
        return [checkpoint / SHARED_WEIGHTS, checkpoint / SHARED_CONFIG]
    parts = [checkpoint, checkpoint.with_suffix(".bin")]  # weights of an OpenVINO file
    return parts if checkpoint.suffix == ".xml" else parts[:1]


def _find_training(name: str) -> Path:
    """Finds weights.pt of the only training whose name has these parts, in this order."""
    trainings = {
        "/".join(path.relative_to(RESULTS).parts[i] for i in (0, 2, 3, 4)): path
        for path in sorted(RESULTS.glob(f"*/finetune/*/*/*/{WEIGHTS}"))
    }
    found = [key for key in trainings if _has_parts(key.split("/"), name.split("/"))]
    if len(found) > 1:
        raise ValueError(
            f"'{name}' may be {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}; say which"
        )
    if not found:
        known = [*list_published(), *trainings]
        near = did_you_mean(name, known) if known else ""
        none = "" if trainings else f"; nothing is trained in {RESULTS}/"
        raise ValueError(f"{name}: no such file, folder or training{none}{near}")
    return trainings[found[0]]


def _has_parts(key: list[str], wanted: list[str]) -> bool:
    left = iter(key)
    return all(part in left for part in wanted)
