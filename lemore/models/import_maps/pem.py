"""PEM's published weights (detectron2)."""

import re

from lemore.models.import_maps._mit import below
from lemore.models.key_map import KeyMap

PIXEL, PREDICTOR = r"^sem_seg_head\.pixel_decoder\.", r"^sem_seg_head\.predictor\."
CROSS = r"^(decode_head\.layers\.\d\.cross)\."


def _projection(match: re.Match[str]) -> str:
    """Theirs count from the finest map."""
    return f"decode_head.pixel_decoder.projections.{3 - int(match[1])}."


KEY_MAPS = {
    "detectron2": KeyMap(
        (
            (r"\.conv_list\.0\.", ".first."),
            below(r"\.conv_list\.(\d)\.", ".convs.{}."),
            (r"\.avd_layer\.0\.", ".down.conv."),
            (r"\.avd_layer\.1\.", ".down.bn."),
            (PIXEL + r"in_projections\.(\d)\.", _projection),
            (PIXEL + r"conv_avg\.", "decode_head.pixel_decoder.context."),
            (PIXEL + r"out\.", "decode_head.pixel_decoder.output."),
            (PIXEL + r"csm\.(\d)\.mlp\.0\.", r"decode_head.pixel_decoder.modulations.\1."),
            (r"(modulations\.\d)\.mlp\.0\.", r"\1.reduce.conv."),
            (r"(modulations\.\d)\.mlp\.1\.", r"\1.reduce.bn."),
            (r"(modulations\.\d)\.mlp\.3\.", r"\1.expand."),
            (PIXEL + r"dcn\.(\d)\.", r"decode_head.pixel_decoder.upsamples.\1."),
            (r"(upsamples\.\d)\.dcn_offset\.", r"\1.offsets."),
            (r"(upsamples\.\d)\.dcn\.", r"\1.deform."),
            (r"(upsamples\.\d)\.dcn_bn\.", r"\1.bn."),
            (r"(upsamples\.\d)\.up_sample\.", r"\1.upsample."),
            (r"(upsamples\.\d)\.up_bn\.", r"\1.bn_up."),
            (
                PREDICTOR + r"transformer_cross_attention_layers\.(\d)\.",
                r"decode_head.layers.\1.cross.",
            ),
            (CROSS + r"feature_proj\.to_query_3x3\.", r"\1.local."),
            (CROSS + r"feature_proj\.bn\.", r"\1.bn_tokens."),
            (CROSS + r"feature_proj\.out\.", r"\1.token."),
            (CROSS + r"query_proj\.0\.", r"\1.norm."),
            (CROSS + r"query_proj\.1\.", r"\1.query."),
            (CROSS + r"proj\.", r"\1.mix."),
            (CROSS + r"final\.", r"\1.output."),
            (
                PREDICTOR + r"transformer_self_attention_layers\.(\d)\.norm\.",
                r"decode_head.layers.\1.norm1.",
            ),
            (
                PREDICTOR + r"transformer_self_attention_layers\.(\d)\.self_attn\.",
                r"decode_head.layers.\1.attention.",
            ),
            (PREDICTOR + r"transformer_ffn_layers\.(\d)\.norm\.", r"decode_head.layers.\1.norm2."),
            (
                PREDICTOR + r"transformer_ffn_layers\.(\d)\.linear1\.",
                r"decode_head.layers.\1.expand.",
            ),
            (
                PREDICTOR + r"transformer_ffn_layers\.(\d)\.linear2\.",
                r"decode_head.layers.\1.reduce.",
            ),
            (PREDICTOR + r"decoder_norm\.", "decode_head.norm."),
            (PREDICTOR + r"query_feat\.", "decode_head.query_features."),
            (PREDICTOR + r"query_embed\.", "decode_head.query_positions."),
            (PREDICTOR + r"level_embed\.", "decode_head.level_embedding."),
            (PREDICTOR + r"input_proj\.", "decode_head.inputs."),
            (PREDICTOR + r"class_embed\.", "decode_head.classifier."),
            (
                PREDICTOR + r"mask_embed\.layers\.(\d)\.",
                lambda match: f"decode_head.mask_mlp.{2 * int(match[1])}.",
            ),
        ),
        # the backbone's tensors are stored twice, under `features` and under `x2` to `x32`
        (r"backbone\.x\d+\.", r"criterion\.", r"pixel_(mean|std)$"),
    )
}
