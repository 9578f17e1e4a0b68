"""Names that TopFormer's and SeaFormer's published code share."""

import re

from lemore.models.import_maps._mit import BLOCKS

LAYERS = ((r"\.c\.", ".conv."), *BLOCKS)
HEAD = (
    (r"^decode_head\.linear_fuse\.", "decode_head.fuse."),
    (r"^decode_head\.conv_seg\.", "decode_head.classifier."),
)


def rename_inner(match: re.Match[str]) -> str:
    """Renames convolutions of an inverted residual, numbered there with the activations."""
    return f"layers.{int(match[1]) // 2}."
