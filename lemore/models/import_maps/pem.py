"""PEM's published weights (detectron2)."""

from lemore.models.import_maps._mit import count_from_zero
from lemore.models.key_map import KeyMap

KEY_MAPS = {
    "detectron2": KeyMap(
        (
            (r"\.conv_list\.0\.", ".first."),
            count_from_zero(r"\.conv_list\.(\d)\.", ".convs.{}."),
            (r"\.avd_layer\.0\.", ".down.conv."),
            (r"\.avd_layer\.1\.", ".down.bn."),
            (r"^sem_seg_head\.pixel_decoder\.", "decode_head.pixel_decoder."),
            (  # the published code numbers them from the finest map
                r"pixel_decoder\.in_projections\.(\d)\.",
                lambda match: f"pixel_decoder.projections.{3 - int(match[1])}.",
            ),
            (r"pixel_decoder\.conv_avg\.", "pixel_decoder.context."),
            (r"pixel_decoder\.out\.", "pixel_decoder.output."),
            (r"pixel_decoder\.csm\.(\d)\.mlp\.0\.", r"pixel_decoder.modulations.\1."),
            (r"(modulations\.\d)\.mlp\.0\.", r"\1.reduce.conv."),
            (r"(modulations\.\d)\.mlp\.1\.", r"\1.reduce.bn."),
            (r"(modulations\.\d)\.mlp\.3\.", r"\1.expand."),
            (r"pixel_decoder\.dcn\.(\d)\.", r"pixel_decoder.upsamples.\1."),
            (r"(upsamples\.\d)\.dcn_offset\.", r"\1.offsets."),
            (r"(upsamples\.\d)\.dcn\.", r"\1.deform."),
            (r"(upsamples\.\d)\.dcn_bn\.", r"\1.bn."),
            (r"(upsamples\.\d)\.up_sample\.", r"\1.upsample."),
            (r"(upsamples\.\d)\.up_bn\.", r"\1.bn_up."),
            (r"^sem_seg_head\.predictor\.", "decode_head."),
            (r"transformer_cross_attention_layers\.(\d)\.", r"layers.\1.cross."),
            (r"\.cross\.feature_proj\.to_query_3x3\.", ".cross.local."),
            (r"\.cross\.feature_proj\.bn\.", ".cross.bn_tokens."),
            (r"\.cross\.feature_proj\.out\.", ".cross.token."),
            (r"\.cross\.query_proj\.0\.", ".cross.norm."),
            (r"\.cross\.query_proj\.1\.", ".cross.query."),
            (r"\.cross\.proj\.", ".cross.mix."),
            (r"\.cross\.final\.", ".cross.output."),
            (r"transformer_self_attention_layers\.(\d)\.norm\.", r"layers.\1.norm1."),
            (r"transformer_self_attention_layers\.(\d)\.self_attn\.", r"layers.\1.attention."),
            (r"transformer_ffn_layers\.(\d)\.norm\.", r"layers.\1.norm2."),
            (r"transformer_ffn_layers\.(\d)\.linear1\.", r"layers.\1.expand."),
            (r"transformer_ffn_layers\.(\d)\.linear2\.", r"layers.\1.reduce."),
            (r"^decode_head\.decoder_norm\.", "decode_head.norm."),
            (r"^decode_head\.query_feat\.", "decode_head.query_features."),
            (r"^decode_head\.query_embed\.", "decode_head.query_positions."),
            (r"^decode_head\.level_embed\.", "decode_head.level_embedding."),
            (r"^decode_head\.input_proj\.", "decode_head.inputs."),
            (r"^decode_head\.class_embed\.", "decode_head.classifier."),
            (r"mask_embed\.layers\.(\d)\.", lambda match: f"mask_mlp.{2 * int(match[1])}."),
        ),
        # the backbone's tensors are stored twice, under `features` and under `x2` to `x32`
        (r"backbone\.x\d+\.", r"criterion\.", r"pixel_(mean|std)$"),
    )
}
