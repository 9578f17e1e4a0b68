"""Names that TopFormer's and SeaFormer's published code share."""

import re

ATTENTION = (
    (r"\.c\.", ".conv."),
    (r"\.attn\.to_q\.", ".attention.query."),
    (r"\.attn\.to_k\.", ".attention.key."),
    (r"\.attn\.to_v\.", ".attention.value."),
    (r"\.mlp\.fc1\.", ".feed_forward.expand."),
    (r"\.mlp\.dwconv\.", ".feed_forward.depthwise."),
    (r"\.mlp\.fc2\.", ".feed_forward.reduce."),
)
HEAD = (
    (r"^decode_head\.linear_fuse\.", "decode_head.fuse."),
    (r"^decode_head\.conv_seg\.", "decode_head.classifier."),
)


def rename_inner(match: re.Match[str]) -> str:
    """Renames convolutions of an inverted residual, numbered there with the activations."""
    return f"layers.{int(match[1]) // 2}."
