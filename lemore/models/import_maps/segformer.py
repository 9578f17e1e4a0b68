"""SegFormer's weights: the original files (a fork of MMSegmentation 0.11), or Hugging Face's."""

from lemore.models.import_maps._mit import BLOCKS, ENCODER, HEAD, UNUSED, count_from_zero
from lemore.models.key_map import KeyMap

STAGES = r"backbone.stages.\1."
# Each line takes the names in files on the Hub, which every version of transformers reads and
# writes, and those in the model's own state dict since transformers 5, where they differ.
HUGGING_FACE = (
    (r"^segformer\.encoder\.(\w+)\.(\d)\.", r"segformer.stages.\2.\1."),
    (r"^segformer\.stages\.(\d)\.patch_embeddings\.proj\.", STAGES + "embedding.projection."),
    (r"^segformer\.stages\.(\d)\.patch_embeddings\.layer_norm\.", STAGES + "embedding.norm."),
    (r"^segformer\.stages\.(\d)\.layer_norm\.", STAGES + "norm."),
    (r"^segformer\.stages\.(\d)\.blocks?\.", STAGES + "blocks."),
    (r"\.(?:layer_norm_1|layernorm_before)\.", ".norm1."),
    (r"\.(?:layer_norm_2|layernorm_after)\.", ".norm2."),
    (r"\.attention\.(?:self\.query|q_proj)\.", ".attention.query."),
    (r"\.attention\.(?:self\.key|k_proj)\.(\w+)", r".attention.key_value.\1#0"),
    (r"\.attention\.(?:self\.value|v_proj)\.(\w+)", r".attention.key_value.\1#1"),
    (r"\.attention\.(?:self\.sr|sequence_reduction\.sequence_reduction)\.", ".attention.reduce."),
    (r"\.attention\.(?:self|sequence_reduction)\.layer_norm\.", ".attention.norm."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attention.output."),
    (r"\.mlp\.(?:dense1|fc1)\.", ".feed_forward.expand."),
    (r"\.mlp\.dwconv\.dwconv\.", ".feed_forward.depthwise."),
    (r"\.mlp\.(?:dense2|fc2)\.", ".feed_forward.reduce."),
    (r"^decode_head\.linear_(?:c|projections)\.(\d)\.proj\.", r"decode_head.projections.\1."),
    (r"^decode_head\.linear_fuse\.", "decode_head.fuse.conv."),
    (r"^decode_head\.batch_norm\.", "decode_head.fuse.bn."),
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
            count_from_zero(r"^decode_head\.linear_c(\d)\.proj\.", "decode_head.projections.{}."),
            *HEAD,
        ),
        UNUSED,
        foreign=(
            (r"decode_head\.convs\.", MMSEG_OWN),
            (r"segformer\.", "the names are Hugging Face's; say --from hf"),
        ),
    ),
    "hf": KeyMap(
        HUGGING_FACE,
        foreign=(
            (r"decode_head\.convs\.", MMSEG_OWN),
            (
                r"backbone\.patch_embed",
                "the names are those of the original files; say --from mmseg",
            ),
        ),
    ),
}
