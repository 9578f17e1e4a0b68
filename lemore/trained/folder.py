"""A trained model as a folder to share: model.safetensors, config.json, README.md.

config.json says all that is needed to rebuild the model and to read its predictions. Nothing in the
folder is executed, and no name in it is used as a path.
"""

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from lemore.config.checkpoints import HUB, SHARED_CONFIG, SHARED_WEIGHTS
from lemore.config.jobs import FinetuneJob
from lemore.config.read import build, plain
from lemore.config.recipe import Test
from lemore.config.values import Note
from lemore.runtime import checkpoint
from lemore.runtime.files import write_atomic, write_json
from lemore.trained.checkpoint import Classes, Record, Trained, select_tensors

FILES = WEIGHTS, CONFIG, CARD = SHARED_WEIGHTS, SHARED_CONFIG, "README.md"
MAX_JSON = 1 << 20  # bytes of config.json and of the weights' header; both need some thousands
HUB_NAME = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*?)(@(?P<revision>\w[\w.-]*))?")


@dataclass(frozen=True)
class Description:
    """The content of config.json. licence: of the weights, "" if it is not known."""

    format: Literal["lemore-1"]
    config: FinetuneJob
    training: Record
    test: Test
    classes: Classes
    licence: Note = ""


def write_folder(folder: Path, trained: Trained, classes: Classes, card: str) -> None:
    """Writes the folder's files, last config.json, without which a folder is no model."""
    values = describe(trained, classes)
    tensors = {name: tensor.contiguous() for name, tensor in trained.state_dict.items()}
    write_atomic(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_atomic(folder / CARD, card)
    write_json(folder / CONFIG, plain(values))


def describe(trained: Trained, classes: Classes) -> Description:
    digest = checkpoint.hash_tensors(trained.state_dict)
    record = replace(trained.record, weights_sha256=digest)
    return Description("lemore-1", trained.job, record, trained.test, classes, trained.licence)


def read_folder(folder: Path) -> Trained:
    """Reads the model in a folder, in float32; ValueError names file and key of any fault."""
    description = build(Description, _read_json(folder / CONFIG), str(folder / CONFIG))
    if not (folder / WEIGHTS).exists():
        raise ValueError(f"{folder / WEIGHTS}: no such file; the model folder is incomplete")
    stored = read_tensors(folder / WEIGHTS)
    state = select_tensors(stored, description.config, str(folder))
    if checkpoint.hash_tensors(stored) != description.training.weights_sha256:
        raise ValueError(f"{folder}: {WEIGHTS} holds other weights than {CONFIG} records")
    return Trained(
        source=str(folder),
        job=description.config,
        state_dict=state,
        record=description.training,
        test=description.test,
        classes=description.classes,
        licence=description.licence,
    )


def download_folder(name: str) -> Path:
    """Downloads `hf://owner/name[@revision]` from the Hugging Face hub, without its card.

    ValueError if the optional package huggingface_hub is missing.
    """
    match = HUB_NAME.fullmatch(name.removeprefix(HUB))
    if match is None:
        raise ValueError(f"{name}: expected {HUB}owner/name or {HUB}owner/name@revision")
    try:
        from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            f"{name}: needs the package huggingface_hub; pip install 'lemore[hub]', or download "
            "the model folder and give its path"
        ) from None
    repository, revision = match["repository"], match["revision"]
    files = [WEIGHTS, CONFIG]
    return Path(snapshot_download(repository, revision=revision, allow_patterns=files))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; a header that claims too much is refused."""
    with open(path, "rb") as file:
        length = file.read(8)
    if len(length) == 8 and (size := int.from_bytes(length, "little")) > MAX_JSON:
        raise ValueError(f"{path}: its header claims {size:,} bytes")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from None


def _read_json(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        data = file.read(MAX_JSON + 1)
    values = parse_json(data, str(path))
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected an object")
    return values


def parse_json(data: bytes, source: str) -> Any:
    """Parses strict JSON of bounded size: no NaN, no key twice. source: for messages."""
    if len(data) > MAX_JSON:
        raise ValueError(f"{source}: larger than {MAX_JSON:,} bytes")
    try:
        return json.loads(
            data, parse_constant=_refuse, parse_float=_parse_float, object_pairs_hook=_parse_object
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: not valid JSON ({error})") from None


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _parse_float(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse(text)


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is given twice")
    return values
