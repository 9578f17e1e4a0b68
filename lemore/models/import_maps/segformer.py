"""SegFormer's weights: the original files (a fork of MMSegmentation 0.11), or Hugging Face's."""

from lemore.models.import_maps._mit import BLOCKS, ENCODER, HEAD, UNUSED, below
from lemore.models.key_map import KeyMap

STAGES = "backbone.stages."
# names of files on the Hub, which every version of transformers reads and writes
HUB = (
    (r"^segformer\.encoder\.patch_embeddings\.(\d)\.proj\.", STAGES + r"\1.embedding.projection."),
    (r"^segformer\.encoder\.patch_embeddings\.(\d)\.layer_norm\.", STAGES + r"\1.embedding.norm."),
    (r"^segformer\.encoder\.block\.(\d)\.", STAGES + r"\1.blocks."),
    (r"^segformer\.encoder\.layer_norm\.(\d)\.", STAGES + r"\1.norm."),
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
# names in the model's own state dict since transformers 5, where they differ
TRANSFORMERS_5 = (
    (r"^segformer\.stages\.(\d)\.patch_embeddings\.proj\.", STAGES + r"\1.embedding.projection."),
    (r"^segformer\.stages\.(\d)\.patch_embeddings\.layer_norm\.", STAGES + r"\1.embedding.norm."),
    (r"^segformer\.stages\.(\d)\.layer_norm\.", STAGES + r"\1.norm."),
    (r"^segformer\.stages\.(\d)\.blocks\.", STAGES + r"\1.blocks."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.q_proj\.", ".attention.query."),
    (r"\.attention\.k_proj\.(\w+)", r".attention.key_value.\1#0"),
    (r"\.attention\.v_proj\.(\w+)", r".attention.key_value.\1#1"),
    (r"\.attention\.sequence_reduction\.sequence_reduction\.", ".attention.reduce."),
    (r"\.attention\.sequence_reduction\.layer_norm\.", ".attention.norm."),
    (r"\.attention\.o_proj\.", ".attention.output."),
    (r"\.mlp\.fc1\.", ".feed_forward.expand."),
    (r"\.mlp\.fc2\.", ".feed_forward.reduce."),
    (r"^decode_head\.linear_projections\.(\d)\.proj\.", r"decode_head.projections.\1."),
)
MMSEG_OWN = (
    "this is MMSegmentation's own SegFormer, another network: its head has a batch norm and a ReLU "
    "after each projection. Take NVIDIA's files (--from mmseg) or Hugging Face's (--from hf)"
)
KEY_MAPS = {
    "mmseg": KeyMap(
        (
            *ENCODER,
            *BLOCKS,
            below(r"^decode_head\.linear_c(\d)\.proj\.", "decode_head.projections.{}."),
            *HEAD,
        ),
        UNUSED,
        foreign=(
            (r"decode_head\.convs\.", MMSEG_OWN),
            (r"segformer\.", "the names are Hugging Face's; say --from hf"),
        ),
    ),
    "hf": KeyMap(
        (*TRANSFORMERS_5, *HUB),
        foreign=(
            (r"decode_head\.convs\.", MMSEG_OWN),
            (
                r"backbone\.patch_embed",
                "the names are those of the original files; say --from mmseg",
            ),
        ),
    ),
}
