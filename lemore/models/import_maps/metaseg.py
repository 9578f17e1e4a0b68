"""MetaSeg's published weights (its fork of MMSegmentation)."""

from lemore.models.import_maps._mit import HEAD, UNUSED, count_from_zero
from lemore.models.import_maps._mscan import ENCODER
from lemore.models.key_map import KeyMap

KEY_MAPS = {
    "mmseg": KeyMap(
        (
            *ENCODER,
            count_from_zero(r"^decode_head\.attn(\d)\.", "decode_head.blocks.{}.", first=2),
            (r"\.norm3\.", ".norm2."),
            (r"\.attn\.q\.", ".attention.query."),
            (r"\.attn\.k\.", ".attention.key."),
            (r"\.attn\.v\.", ".attention.value."),
            (r"\.attn\.proj\.", ".attention.output."),
            (r"\.attn\.sr\.", ".attention.reduce."),
            (r"\.attn\.norm\.", ".attention.norm."),
            (r"\.mlp\.fc1\.", ".expand."),
            (r"\.mlp\.fc2\.", ".reduce."),
            *HEAD,
        ),
        UNUSED,
    )
}
