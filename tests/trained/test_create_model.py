"""`lemore.create_model`: any model of config/models, untrained, by name."""

import pytest
import torch

import lemore


def test_a_model_that_segments_gives_logits():
    model = lemore.create_model("lemore", num_classes=5, size=(128, 128))
    assert model(torch.zeros(1, 3, 128, 128)).shape[:2] == (1, 5)
    assert not [name for name in model.state_dict() if name.startswith("auxiliary_head")]


def test_a_detector_gives_outputs_in_which_its_head_finds_boxes():
    model = lemore.create_model("retinanet_lemore", num_classes=5, size=(128, 256))
    outputs = model.eval()(torch.zeros(2, 3, 128, 256))
    positions = sum((128 // stride) * (256 // stride) for stride in (8, 16, 32, 64, 128))
    assert outputs.logits.shape == (2, 9 * positions, 5)
    boxes = [torch.tensor([[10.0, 20.0, 60.0, 90.0]]), torch.zeros(0, 4)]
    classes = [torch.tensor([3]), torch.zeros(0, dtype=torch.int64)]
    head = model.detection_head
    loss = head.loss(outputs, (128, 256), boxes, classes)
    assert loss.isfinite() and loss > 0


@pytest.mark.parametrize("name", ["lemore", "metaseg_t", "segformer_b0", "retinanet_lemore"])
def test_the_smallest_size_is_that_of_a_training_crop(name):
    model = lemore.create_model(name, num_classes=1, size=(64, 64)).train()
    side = getattr(model, "padding", 64)
    outputs = model(torch.randn(2, 3, side, side))
    logits = getattr(outputs, "logits", outputs)
    assert logits.numel() and logits.isfinite().all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "lemor"}, "no model 'lemor'; did you mean 'lemore'"),
        ({"num_classes": 0}, "num_classes is 0, expected a whole number from 1 to 255"),
        ({"num_classes": 256}, "num_classes is 256, expected"),
        ({"num_classes": 2.5}, r"num_classes is 2\.5, expected"),
        ({"num_classes": "5"}, "num_classes is '5', expected"),
        ({"size": 256}, r"size is 256, expected \(H, W\), whole numbers from 64 to 8192"),
        ({"size": (0, 0)}, r"size is \(0, 0\), expected"),
        ({"size": (32, 32)}, r"size is \(32, 32\), expected"),
        ({"size": (128, 63)}, r"size is \(128, 63\), expected"),
        ({"size": (128, 8193)}, r"size is \(128, 8193\), expected"),
        ({"size": (128, 128, 3)}, r"size is \(128, 128, 3\), expected"),
        ({"size": (128.0, 128)}, r"size is \(128\.0, 128\), expected"),
        ({"size": None}, "size is None, expected"),
    ],
)
def test_wrong_arguments_are_refused(changed, words):
    arguments = {"name": "lemore", "num_classes": 5, "size": (128, 128)} | changed
    with pytest.raises(ValueError, match=words):
        lemore.create_model(arguments.pop("name"), **arguments)
