"""U-MixFormer's published weights (its fork of MMSegmentation 1.0, with that library's MiT)."""

import re

from lemore.models.import_maps._mit import (
    BLOCKS,
    CITYSCAPES_HEAD,
    ENCODER_MMSEG,
    HEAD,
    SPLITS_MMSEG,
    UNUSED,
    count_from_zero,
)
from lemore.models.key_map import KeyMap


def _rename_mixture(match: re.Match[str]) -> str:
    """Renames a mixture, which like its projections is numbered from the coarsest stage."""
    return f"decode_head.mixtures.{4 - int(match[1])}.projections.{2 - int(match[2])}."


KEY_MAPS = {
    "mmseg": KeyMap(
        (
            *ENCODER_MMSEG,
            (r"^(decode_head\.attn_c\d\.attn)\.sr\.", r"\1.unused_reduce."),
            (r"^(decode_head\.attn_c\d\.attn)\.norm\.", r"\1.unused_norm."),
            (r"\.attn\.unused", ".attention.unused"),
            *BLOCKS,
            count_from_zero(r"^decode_head\.attn_c(\d)\.", "decode_head.blocks.{}."),
            (r"^(decode_head\.blocks\.\d)\.norm2\.", r"\1.norm_source."),
            (r"^(decode_head\.blocks\.\d)\.norm3\.", r"\1.norm2."),
            (r"^decode_head\.cat_key(\d)\.sr_list\.(\d)\.", _rename_mixture),
            *HEAD,
        ),
        UNUSED,
        SPLITS_MMSEG,
        CITYSCAPES_HEAD,
    )
}
