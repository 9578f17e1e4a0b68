"""Model folders on the Hugging Face hub, if the optional package huggingface_hub is there."""

import re
from pathlib import Path

PREFIX = "hf://"
NAME = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*?)(@(?P<revision>\w[\w.-]*))?")


def download(name: str, files: list[str]) -> Path:
    """Folder with the `files` of `hf://owner/name` or `hf://owner/name@revision`."""
    match = NAME.fullmatch(name.removeprefix(PREFIX))
    if match is None:
        raise ValueError(f"{name}: expected {PREFIX}owner/name or {PREFIX}owner/name@revision")
    try:
        from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            f"{name}: needs the package huggingface_hub; pip install 'lemore[hub]', or download "
            "the model folder and give its path"
        ) from None
    repository, revision = match["repository"], match["revision"]
    return Path(snapshot_download(repository, revision=revision, allow_patterns=files))
