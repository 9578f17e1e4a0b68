"""FeedFormer's published weights (its fork of MMSegmentation)."""

from lemore.models.import_maps._mit import (
    BLOCKS,
    CITYSCAPES_HEAD,
    ENCODER,
    HEAD,
    UNUSED,
    count_from_zero,
)
from lemore.models.key_map import KeyMap

KEY_MAPS = {
    "mmseg": KeyMap(
        (
            *ENCODER,
            *BLOCKS,
            count_from_zero(r"^decode_head\.attn_c(\d)_c1\.", "decode_head.blocks.{}.", first=2),
            (r"^(decode_head\.blocks\.\d)\.norm2\.", r"\1.norm_source."),
            (r"^(decode_head\.blocks\.\d)\.norm3\.", r"\1.norm2."),
            *HEAD,
        ),
        UNUSED,
        foreign=CITYSCAPES_HEAD,
    )
}
