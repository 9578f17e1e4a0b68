"""SegFormer's weights: the original files and MMSegmentation 0.x, or Hugging Face's."""

from lemore.models.import_maps._mit import BLOCKS, ENCODER, HEAD, UNUSED, below
from lemore.models.key_map import KeyMap

ENCODER_HF = "backbone.stages."
KEY_MAPS = {
    "mmseg": KeyMap(
        (
            *ENCODER,
            *BLOCKS,
            below(r"^decode_head\.linear_c(\d)\.proj\.", "decode_head.projections.{}."),
            *HEAD,
        ),
        UNUSED,
    ),
    "hf": KeyMap(
        (
            (
                r"^segformer\.encoder\.patch_embeddings\.(\d)\.proj\.",
                ENCODER_HF + r"\1.embedding.projection.",
            ),
            (
                r"^segformer\.encoder\.patch_embeddings\.(\d)\.layer_norm\.",
                ENCODER_HF + r"\1.embedding.norm.",
            ),
            (r"^segformer\.encoder\.block\.(\d)\.", ENCODER_HF + r"\1.blocks."),
            (r"^segformer\.encoder\.layer_norm\.(\d)\.", ENCODER_HF + r"\1.norm."),
            (r"\.layer_norm_([12])\.", r".norm\1."),
            (r"\.attention\.self\.query\.", ".attention.query."),
            (r"\.attention\.self\.key\.(\w+)", r".attention.key_value.\1#0"),
            (r"\.attention\.self\.value\.(\w+)", r".attention.key_value.\1#1"),
            (r"\.attention\.self\.sr\.", ".attention.reduce."),
            (r"\.attention\.self\.layer_norm\.", ".attention.norm."),
            (r"\.attention\.output\.dense\.", ".attention.output."),
            (r"\.mlp\.dense1\.", ".feed_forward.expand."),
            (r"\.mlp\.dwconv\.dwconv\.", ".feed_forward.depthwise."),
            (r"\.mlp\.dense2\.", ".feed_forward.reduce."),
            (r"^decode_head\.linear_c\.(\d)\.proj\.", r"decode_head.projections.\1."),
            (r"^decode_head\.linear_fuse\.", "decode_head.fuse.conv."),
            (r"^decode_head\.batch_norm\.", "decode_head.fuse.bn."),
        )
    ),
}
