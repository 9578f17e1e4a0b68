"""MetaSeg's published weights (its fork of MMSegmentation)."""

from lemore.models.import_maps._mit import ATTENTION, HEAD, UNUSED, count_from_zero
from lemore.models.import_maps._mscan import ENCODER
from lemore.models.key_map import KeyMap

KEY_MAPS = {
    "mmseg": KeyMap(
        (
            *ENCODER,
            count_from_zero(r"^decode_head\.attn(\d)\.", "decode_head.blocks.{}.", first=2),
            (r"\.norm3\.", ".norm2."),
            *ATTENTION,
            (r"^(decode_head\..*)\.feed_forward\.", r"\1."),
            *HEAD,
        ),
        UNUSED,
    )
}
