"""The figures, from made-up results."""

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from torch import nn

from lemore.cli import main
from lemore.config.model import BackboneConfig
from lemore.data.store import Store
from lemore.models.layers import ConvFeedForward
from lemore.reporting.figures import ablation, classes, comparison, confusion, cost, diagram
from lemore.reporting.overlay import draw_overlay
from lemore.reporting.tables.build import build_table
from lemore.stages.diagram import trace_feed_forward
from tests.made_up import CLASSES, evaluation, profile, write_results


def texts(figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(Text))


def test_cost_figure_has_measured_and_published_points():
    runs = [evaluation("lemore", 0.3), evaluation("segformer_b0", 0.4)]
    profiles = [profile("lemore", 8e8), profile("segformer_b0", 8e9, params=3_750_000)]
    rows = build_table("ade20k", runs, profiles, [])
    points = cost.find_points(rows, {})
    assert [p.measured for p in points] == [True] * 2 + [False] * 28
    assert (points[0].label, points[0].miou, points[0].macs, points[0].latency) == (
        "LeMoRe", 30.0, 0.8, "20",
    )  # fmt: skip
    assert "scenes" in texts(cost.draw(rows, {}))
    assert "scenes" not in texts(cost.draw(build_table("ade20k", [], [], []), {}))
    with pytest.raises(ValueError, match="nothing to draw"):
        cost.draw(build_table("imagenet", [], [], []), {})


def test_labels_of_the_cost_figure_do_not_overlap():
    figure = cost.draw(build_table("ade20k", [], [], []), {})
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    assert len(boxes) == 28
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(a.overlaps(b) for a, b in pairs)


def test_classes_figure():
    runs = [evaluation("lemore", 0.2), evaluation("lemore", 0.4, seed=1)]
    runs.append(evaluation("segformer_b0", 0.5))
    figure = classes.draw(runs)
    axes = figure.axes[0]
    assert [bar.get_width() for bars in axes.containers for bar in bars] == pytest.approx(
        [30, 30, 50, 50]
    )
    assert [t.get_text() for t in axes.get_yticklabels()] == CLASSES[:2]  # by share of pixels
    assert "1 in no label and no prediction left out" in figure.legends[0].get_title().get_text()
    assert "scenes" in texts(figure)
    with pytest.raises(ValueError, match="one dataset, found ade20k_scenes, camvid"):
        classes.draw([*runs, evaluation("lemore", 0.1, dataset="camvid")])


def test_classes_of_many_models_are_a_heat_map():
    runs = [evaluation(f"m{k}", k / 10) for k in range(6)]
    runs[3]["iou"] = [0.25, None, None]  # the second is labelled and predicted by others only
    axes = classes.draw(runs).axes[0]
    assert axes.images[0].get_array().shape == (6, 2) and not axes.containers
    assert [t.get_text() for t in axes.texts][4:8] == ["20", "20", "25", "-"]
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"m{k}" for k in range(6)]
    assert [t.get_text() for t in axes.get_xticklabels()] == CLASSES[:2]
    assert classes.draw(runs[:5]).axes[0].containers
    many = [f"class {k}" for k in range(150)]
    wide = [r | {"classes": many, "iou": [0.5] * 150, "confusion": np.eye(150)} for r in runs]
    assert [a.images[0].get_array().shape for a in classes.draw(wide).axes] == [
        (6, 38), (6, 38), (6, 38), (6, 36),
    ]  # fmt: skip


def test_image_miou_is_the_mean_over_classes_of_the_image():
    label = np.array([[0, 0, 1, 255]], np.uint8)
    assert comparison.measure_miou(np.array([[0, 1, 1, 2]], np.uint8), label, 3) == 0.5
    assert comparison.measure_miou(np.array([[0, 0, 1, 2]], np.uint8), label, 3) == 1.0
    wrong = np.array([[0, 255, 1, 2]], np.uint8)  # outside the classes is wrong
    assert comparison.measure_miou(wrong, label, 3) == pytest.approx((0.5 + 1) / 2)
    assert comparison.measure_miou(label, np.full((1, 4), 255, np.uint8), 3) is None


def test_overlay_stripes_what_is_ignored():
    image = np.full((40, 40, 3), 100, np.uint8)
    label = np.zeros((40, 40), np.uint8)
    label[:, 20:] = 255
    pixels = draw_overlay(image, label, [(255, 0, 0)])
    assert (pixels[:, :20] == [212, 28, 28]).all()
    assert set(np.unique(pixels[:, 20:])) == {20, 235}
    with pytest.raises(ValueError, match="do not belong together"):
        draw_overlay(image, label[:10], [(255, 0, 0)])


def make_example(value: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey image of 24 x 32 and its label map: all of one class but for ignored rows."""
    label = np.full((24, 32), value, np.uint8)
    label[:4] = 255
    return np.full((24, 32, 3), 90, np.uint8), label


def test_comparison_command(tiny, tmp_path):
    images, store = ("val_0", "val_2"), Store(tiny.data, "val")
    for name in images:
        _, label = store.read(store.find(name))
        Image.fromarray(np.zeros_like(label)).save(tmp_path / f"{name}.png")
    kept = {name: f"{name}.png" for name in images}
    runs = [
        evaluation(m, 0.3, predictions=kept, classes=store.classes)
        for m in ("segformer_b0", "lemore")
    ]
    paths = write_results(tmp_path, runs)
    command = ["figure", "comparison", "--data", str(tiny.data), "--split", "val"]
    command += ["--images", *images, "--evaluations", *paths]
    prefix = tmp_path / "out" / "comparison"
    assert main([*command, "--models", "segformer_b0", "lemore", "--output", str(prefix)]) == 0
    assert prefix.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    with Image.open(prefix.with_suffix(".png")) as image:
        assert "SegFormer, LeMoRe" in image.info["Description"]
        assert "drawn scenes" in image.info["Description"]
    assert main([*command, "--models", "lemorre", "--output", str(prefix)]) == 2


def test_comparison_names_present_classes_only():
    image, label = make_example(1)
    example = comparison.Example("a.jpg", image, label, (np.zeros_like(label),))
    figure = comparison.draw([example], ["LeMoRe"], CLASSES, [(0, 0, 255)] * 3, True)
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == ["sky", "road & path", "ignored"]
    shown = texts(figure)
    assert "Ground Truth" in shown and "mIoU of this image 0.0 %" in shown and "scenes" in shown


def test_the_region_is_where_the_models_differ():
    label = np.zeros((60, 80), np.uint8)
    first, second = label.copy(), label.copy()
    second[40:55, 50:75] = 1  # the window of 20 x 40 that holds it all begins at (35..40, 35..40)
    top, left, height, width = comparison.find_region([first, second], label, 3) or (0, 0, 0, 0)
    assert (height, width) == (20, 40) and 35 <= top <= 40 and 35 <= left <= 40
    assert comparison.find_region([first, first], label, 3) is None
    label[40:55, 50:75] = 255  # nothing there counts
    assert comparison.find_region([first, second], label, 3) is None
    alone = comparison.find_region([second], np.zeros_like(label), 3)
    assert alone and alone[0] >= 35  # one model: where it is wrong


def test_comparison_frames_the_region_and_enlarges_it():
    image, label = make_example(1)
    other = label.copy()
    other[10:20, 18:30] = 2
    example = comparison.Example("b.jpg", image, label, (label, other))
    figure = comparison.draw([example], ["A", "B"], CLASSES, [(0, 0, 255)] * 3, False)
    assert len(figure.axes) == 8 and "framed region, enlarged" in texts(figure)
    enlarged = [axes.images[0].get_array().shape[:2] for axes in figure.axes[4:]]
    assert enlarged == [(8, 16)] * 4
    assert all(len(axes.patches) == 2 for axes in figure.axes[:4])


# confusion


def test_row_shares_against_hand_computed_values():
    matrix = np.array([[6, 2, 0, 2], [0, 0, 0, 0], [1, 0, 3, 0]], float)
    shares = confusion.compute_shares(matrix, [0, 1, 2], True)
    assert shares[0].tolist() == [60, 20, 0, 20] and np.isnan(shares[1]).all()
    assert shares[2].tolist() == [25, 0, 75, 0]
    assert confusion.compute_shares(matrix, [0, 2], True)[0].tolist() == [60, 0, 40]


def test_the_most_confused_classes_are_shown_of_many():
    matrix = np.hstack([np.diag(np.full(30, 100.0)), np.zeros((30, 1))])
    matrix[4, 9], matrix[20, 7] = 60, 50  # alike
    matrix[2, 11] = 300  # much, and alike: 300 of 400 + 100
    matrix[5, 0], matrix[0, 0] = 40, 100_000  # a rare class that drowns in a frequent one
    assert confusion.find_most_confused(matrix)[:6] == [2, 11, 4, 9, 7, 20]
    assert len(confusion.find_most_confused(matrix)) == confusion.SHOWN_CLASSES
    assert confusion.find_most_confused(matrix[:11, :12]) == list(range(11))


def test_confusion_figure_sums_seeds_and_shows_at_most_four_models():
    runs = [evaluation("lemore", 0.2), evaluation("lemore", 0.2, seed=1)]
    runs += [evaluation(f"m{k}", 0.3 + k / 100) for k in range(5)]
    runs[1]["confusion"] = [[1, 9, 0, 0], [1, 4, 0, 0], [0, 0, 0, 0]]
    figure = confusion.draw(runs)
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == ["LeMoRe", "m2", "m3", "m4"]
    shown = figure.axes[0].images[0].get_array()
    assert shown[0].tolist() == [50, 50, 0]  # 9 + 1 and 1 + 9 of 20
    assert "not labelled" in texts(figure) and "scenes" in texts(figure)
    words = confusion.describe(runs)
    assert "LeMoRe: sky as road & path 50 %" in words and "drawn scenes" in words
    empty = [evaluation("a", 0.0, confusion=[[0] * 4] * 3) | {"file": "a.json"}]
    with pytest.raises(ValueError, match=r"a\.json: no pixel was labelled"):
        confusion.draw(empty)


# ablation


def test_parts_of_the_ablation():
    assert ablation.find_parts("lemore_t") == (True, False, False, False, False)
    assert ablation.find_parts("lemore_tf_na") == (True, True, False, False, True)
    assert ablation.find_parts("lemore_tfl_ca_na") == ablation.find_parts("lemore") == (True,) * 5
    assert ablation.find_parts("lemore_448") is None and ablation.find_parts("topformer_t") is None


def test_ablation_figure_has_the_papers_eight_rows():
    runs = [evaluation("lemore_t", 0.03)]
    profiles = [profile("lemore_t", 688_800_000, params=1_119_878)]
    rows = build_table("ablation", runs, profiles, [])
    figure = ablation.draw(rows)
    titles = [axes.get_title() for axes in figure.axes[1:]]
    assert titles == ["mIoU (%), scenes", "mIoU (%), published", "GMACs", "Parameters (M)"]
    values = [[t.get_text() for t in axes.texts] for axes in figure.axes[1:]]
    assert values[0] == ["3.00"] and values[1][0] == "27.2" and len(values[1]) == 8
    assert values[2][:2] == ["0.68", "0.69"] and values[3][:2] == ["1.12", "1.12"]
    real = [evaluation("lemore_t", 0.03, dataset="ade20k", stands_for=None)]
    figure = ablation.draw(build_table("ablation", real, profiles, []))
    assert figure.axes[1].get_title() == "mIoU (%)"
    assert "scenes" not in texts(figure)
    with pytest.raises(ValueError, match="no row of the ablation"):
        ablation.draw(build_table("camvid", [evaluation("a", 0.1, dataset="camvid")], [], []))


# the diagram


LEMORE = {"views": "tfl", "channel_attention": True, "nested_attention": True}


def test_the_diagram_is_the_networks_own(monkeypatch):
    config = BackboneConfig("lemore", LEMORE, "none")
    nodes, params = trace_feed_forward(config, (512, 512))
    assert [node.text for node in nodes] == [
        "$X'_f$", "1x1 conv\n208 → 416", "BN", "3x3 DW conv, bias\n416 → 416", "ReLU6",
        "1x1 conv\n416 → 208", "BN", "+", "$X''_f$",
    ]  # fmt: skip
    assert params == 178_464  # the specification's count
    assert [node.shape for node in nodes] == [(208, 8, 8), *[(416, 8, 8)] * 4, *[(208, 8, 8)] * 4]
    assert nodes[7].inputs == (0, 6)  # the shortcut
    shown = texts(diagram.draw(nodes, "caption"))
    assert "ReLU6" in shown and "416x8x8" in shown and "caption" in shown
    assert "addition (208x8x8) of the input and BN" in diagram.describe(nodes, "")

    plain = ConvFeedForward.__init__

    def changed(self, channels, expansion):
        plain(self, channels, expansion=3)
        self.activation = nn.GELU()
        self.depthwise = nn.Conv2d(3 * channels, 3 * channels, 5, padding=2, groups=4)

    monkeypatch.setattr(ConvFeedForward, "__init__", changed)
    nodes, _ = trace_feed_forward(config, (256, 512))
    assert [node.text for node in nodes][1:5] == [
        "1x1 conv\n208 → 624", "BN", "5x5 conv, 4 groups, bias\n624 → 624", "GELU",
    ]  # fmt: skip
    assert nodes[0].shape == (208, 4, 8)


def test_a_backbone_without_such_a_part_is_told():
    with pytest.raises(ValueError, match="no module called feed_forward"):
        trace_feed_forward(BackboneConfig("stdc", {"variant": 1}, "none"), (128, 128))
