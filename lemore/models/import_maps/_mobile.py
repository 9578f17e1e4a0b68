"""Names that TopFormer's and SeaFormer's published code share."""

import re

from lemore.models.import_maps._mit import BLOCKS, CLASSIFIER

LAYERS = ((r"\.c\.", ".conv."), *BLOCKS)
HEAD = (
    (r"^decode_head\.linear_fuse\.", "decode_head.fuse."),
    CLASSIFIER,
)


def rename_inner(match: re.Match[str]) -> str:
    """Renames convolutions of an inverted residual, numbered there with the activations."""
    return f"layers.{int(match[1]) // 2}."
