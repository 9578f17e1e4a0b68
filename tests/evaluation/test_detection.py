"""Average precision of boxes against closed forms, through arrays and through COCO's JSON."""

import json

import numpy as np
import pytest

from lemore.evaluation.detection import MEASURES, make_annotations, make_results, measure

IDS = [*range(1, 12), 13, 90]  # train ids 11 and 12 are COCO's 13 and 90
BOXES = np.array([[10, 20, 30, 45], [100, 50, 180, 130], [5, 5, 205, 305]], np.float32)
CLASSES = np.array([0, 11, 12])
AREAS = np.array([400.0, 5000.0, 50000.0], np.float32)  # small, medium, large
NO_CROWD = np.zeros(3, bool)


def truth(image_id=7, boxes=BOXES, classes=CLASSES, crowd=NO_CROWD, areas=AREAS):
    return make_annotations(image_id, boxes, classes, crowd, areas, IDS)


def guess(image_id=7, boxes=BOXES, classes=CLASSES, scores=None):
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else np.array(scores)
    return make_results(image_id, boxes, classes, scores, IDS)


def test_perfect_is_one_through_json_too_and_prints_nothing(capsys):
    annotations, results = (json.loads(json.dumps(rows)) for rows in (truth(), guess()))
    perfect = measure([7], IDS, annotations, results)
    assert perfect.pop("ap_by_class") == pytest.approx([1.0, *[None] * 10, 1.0, 1.0])
    assert perfect == pytest.approx(dict.fromkeys(MEASURES, 1.0))
    assert capsys.readouterr() == ("", "")


def test_nothing_found_is_zero():
    measured = measure([7], IDS, truth(), [])
    assert measured.pop("ap_by_class") == [0.0, *[None] * 10, 0.0, 0.0]
    assert measured == dict.fromkeys(MEASURES, 0.0)


def test_precision_by_class_is_in_the_order_of_train_ids():
    """One class is perfect, one missed, one found where there is none, and one found at an IoU of
    0.82: at seven of the ten thresholds. COCO's tool sorts categories by their ids."""
    ids = [90, 4, 1, 3]
    annotations = make_annotations(7, BOXES, np.array([0, 1, 3]), NO_CROWD, AREAS, ids)
    found = BOXES.copy()
    found[2, 3] = 5 + 0.82 * 300
    results = make_results(7, found, np.array([0, 2, 3]), np.array([0.9, 0.8, 0.7]), ids)
    measured = measure([7, 8], ids, annotations, results)
    assert measured["ap_by_class"] == pytest.approx([1.0, 0.0, None, 0.7])
    assert measured["ap"] == pytest.approx((1.0 + 0.0 + 0.7) / 3)


@pytest.mark.parametrize(("iou", "ap"), [(0.62, 0.3), (0.505, 0.1), (0.49, 0.0), (0.96, 1.0)])
def test_one_box_counts_at_the_thresholds_below_its_iou(iou, ap):
    wanted = np.array([[0, 0, 100, 100]], np.float32)
    found = np.array([[0, 0, 100, 100 * iou]], np.float32)
    annotations = truth(1, wanted, CLASSES[:1], NO_CROWD[:1], np.array([1e4]))
    measured = measure([1], IDS, annotations, guess(1, found, CLASSES[:1]))
    assert measured["ap"] == pytest.approx(ap)
    assert measured["ap50"] == pytest.approx(float(iou > 0.5))
    assert measured["ap75"] == pytest.approx(float(iou > 0.75))


def test_category_ids_are_cocos():
    assert [row["category_id"] for row in guess()] == [1, 13, 90]
    assert [row["category_id"] for row in truth()] == [1, 13, 90]
    assert guess()[1]["bbox"] == [100.0, 50.0, 80.0, 80.0]
    wrong = measure([7], IDS, truth(), guess(classes=np.array([0, 12, 11])))
    assert wrong["ap"] == pytest.approx(1 / 3)


def test_a_size_without_objects_is_none():
    small = truth(boxes=BOXES[:1], classes=CLASSES[:1], crowd=NO_CROWD[:1], areas=AREAS[:1])
    measured = measure([7], IDS, small, guess(boxes=BOXES[:1], classes=CLASSES[:1]))
    assert measured.pop("ap_m") is None and measured.pop("ap_l") is None
    assert measured.pop("ap_by_class") == pytest.approx([1.0, *[None] * 12])
    assert measured == pytest.approx(dict.fromkeys(("ap", "ap50", "ap75", "ap_s"), 1.0))
    nothing = dict.fromkeys(MEASURES) | {"ap_by_class": [None] * 13}
    assert measure([7], IDS, [], []) == nothing


def test_sizes_go_by_the_objects_area_and_not_by_its_box():
    """The box of 80 x 80 is of medium size, the object in it small."""
    one = slice(1, 2)
    thin = truth(boxes=BOXES[one], classes=CLASSES[one], crowd=NO_CROWD[one], areas=AREAS[:1])
    measured = measure([7], IDS, thin, guess(boxes=BOXES[one], classes=CLASSES[one]))
    assert measured["ap_s"] == pytest.approx(1.0)
    assert (measured["ap_m"], measured["ap_l"]) == (None, None)


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong():
    boxes = np.array([[0, 0, 50, 50], [100, 100, 300, 300]], np.float32)
    classes, areas = np.array([0, 0]), np.array([2500.0, 4e4])
    inside = np.array([[120, 120, 160, 160], [0, 0, 50, 50]], np.float32)
    for crowd, ap in (([False, True], 1.0), ([False, False], 0.25)):
        annotations = truth(1, boxes, classes, np.array(crowd), areas)
        measured = measure([1], IDS, annotations, guess(1, inside, classes))
        # without the crowd: one of two is found, behind a wrong one: half the precision, half way
        assert measured["ap"] == pytest.approx(ap, abs=0.005)


def test_images_without_boxes_count_only_what_is_found_on_them():
    results = guess() + guess(8, BOXES[:1], CLASSES[:1], scores=[0.95])
    assert measure([7, 8], IDS, truth(), guess())["ap"] == pytest.approx(1.0)
    measured = measure([7, 8], IDS, truth(), results)  # a surer wrong box halves one class of three
    assert measured["ap"] == pytest.approx((0.5 + 1 + 1) / 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"image_id": 9}, "has image_id 9"), ({"category_id": 12}, "has category_id 12")],
)
def test_predictions_without_a_place_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        measure([7], IDS, truth(), [guess()[0] | change])


def test_what_is_given_is_left_as_it_was():
    annotations, results = truth(), guess()
    before = json.dumps([annotations, results])
    measure([7], IDS, annotations, results)
    assert json.dumps([annotations, results]) == before
