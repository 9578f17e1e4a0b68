"""Fills in the templates of all pages, and puts files inside a page."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from PIL import Image

FOLDER = Path(__file__).parent


def fill_template(name: str, /, **values: Any) -> str:
    """Fills in a template of this folder; escapes the values in HTML."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(["html.j2", "css.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=name.endswith(".md.j2"),
    )
    return environment.get_template(name).render(**values)


def encode_uri(kind: str, data: bytes) -> str:
    """Encodes `data` as a data URI. kind: its media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def encode_image(image: Image.Image, kind: str, **options: Any) -> str:
    """An image as such an address. kind: jpeg, png or webp; options: of Pillow's encoder."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return encode_uri(f"image/{kind}", content.getvalue())
