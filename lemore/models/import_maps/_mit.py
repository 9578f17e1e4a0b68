"""Names of MiT in the layout of MMSegmentation's lineage, and of the heads built on it."""

import re

from lemore.models.key_map import Rename


def count_from_zero(pattern: str, path: str, first: int = 1) -> Rename:
    """Makes a rename of parts numbered from `first` on to `path`, which counts from 0."""

    def replace(match: re.Match[str]) -> str:
        return path.format(int(match[1]) - first)

    return pattern, replace


# the classifier, as decode heads in MMSegmentation name it
CLASSIFIER = (r"^decode_head\.conv_seg\.", "decode_head.classifier.")
ENCODER = (
    count_from_zero(
        r"^backbone\.patch_embed(\d)\.proj\.", "backbone.stages.{}.embedding.projection."
    ),
    count_from_zero(r"^backbone\.patch_embed(\d)\.norm\.", "backbone.stages.{}.embedding.norm."),
    count_from_zero(r"^backbone\.block(\d)\.", "backbone.stages.{}.blocks."),
    count_from_zero(r"^backbone\.norm(\d)\.", "backbone.stages.{}.norm."),
)
ATTENTION = (
    (r"\.attn\.(?:to_)?q\.", ".attention.query."),
    (r"\.attn\.(?:to_)?k\.", ".attention.key."),
    (r"\.attn\.(?:to_)?v\.", ".attention.value."),
    (r"\.attn\.kv\.", ".attention.key_value."),
    (r"\.attn\.proj\.", ".attention.output."),
    (r"\.attn\.sr\.", ".attention.reduce."),
    (r"\.attn\.norm\.", ".attention.norm."),
)
FEED_FORWARD = (
    (r"\.mlp\.fc1\.", ".feed_forward.expand."),
    (r"\.mlp\.dwconv\.(?:dwconv\.)?", ".feed_forward.depthwise."),
    (r"\.mlp\.fc2\.", ".feed_forward.reduce."),
)
BLOCKS = (*ATTENTION, *FEED_FORWARD)
# MiT in MMSegmentation itself (MixVisionTransformer)
ENCODER_MMSEG = (
    (r"^backbone\.layers\.(\d)\.0\.projection\.", r"backbone.stages.\1.embedding.projection."),
    (r"^backbone\.layers\.(\d)\.0\.norm\.", r"backbone.stages.\1.embedding.norm."),
    (r"^backbone\.layers\.(\d)\.1\.", r"backbone.stages.\1.blocks."),
    (r"^backbone\.layers\.(\d)\.2\.", r"backbone.stages.\1.norm."),
    (r"\.attn\.attn\.out_proj\.", ".attention.output."),
    (r"\.ffn\.layers\.0\.", ".feed_forward.expand."),
    (r"\.ffn\.layers\.1\.", ".feed_forward.depthwise."),
    (r"\.ffn\.layers\.4\.", ".feed_forward.reduce."),
)
SPLITS_MMSEG = (
    (
        r"\.attn\.attn\.in_proj_(weight|bias)$",
        (r".attention.query.\1", r".attention.key_value.\1#0", r".attention.key_value.\1#1"),
    ),
)
HEAD = (
    (r"^decode_head\.linear_fuse\.", "decode_head.fuse."),
    (r"^decode_head\.linear_pred\.", "decode_head.classifier."),
)
UNUSED = (r"decode_head\.conv_seg\.",)  # a classifier that these heads' forward never calls
CITYSCAPES_HEAD = (
    (
        r"decode_head\.attn_c\w+\.attn\.sr1\.",
        "this is the head that its authors use on Cityscapes alone, another network: its queries "
        "are reduced too",
    ),
)
