"""SegNeXt's published weights (its fork of MMSegmentation)."""

from lemore.models.import_maps._mit import CLASSIFIER
from lemore.models.import_maps._mscan import ENCODER
from lemore.models.key_map import KeyMap

KEY_MAPS = {
    "mmseg": KeyMap(
        (
            *ENCODER,
            (r"^decode_head\.hamburger\.ham_in\.conv\.", "decode_head.enter."),
            (r"^decode_head\.hamburger\.ham_out\.", "decode_head.leave."),
            (r"^(decode_head\.\w+)\.conv\.", r"\1.0."),
            (r"^(decode_head\.\w+)\.gn\.", r"\1.1."),
            CLASSIFIER,
        )
    )
}
