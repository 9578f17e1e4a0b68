"""For all draws, the fast transform equals the plain order of steps."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks import plain_order
from lemore.data.augment.segmentation import TrainTransform

sides = st.tuples(st.integers(20, 160), st.integers(20, 160))


@st.composite
def cases(draw) -> tuple[TrainTransform, tuple[int, int], int]:
    low = draw(st.floats(0.3, 1.5))
    transform = TrainTransform(
        img_scale=draw(sides),
        scale_range=(low, low + draw(st.floats(0, 2))),
        crop_size=draw(sides),
        cat_max_ratio=draw(st.sampled_from([0.3, 0.75, 1.0])),
        flip_probability=draw(st.sampled_from([0.0, 0.5, 1.0])),
        photometric_distortion="none",
    )
    return transform, draw(sides), draw(st.integers(0, 2**32))


NEARLY_ONE = TrainTransform(  # 57 columns become 58, the first 27 of them stay 27
    img_scale=(22, 59),
    scale_range=(0.6875, 1.375),
    crop_size=(20, 20),
    cat_max_ratio=1.0,
    flip_probability=0.0,
    photometric_distortion="none",
)


@settings(max_examples=300, deadline=None)
@example((NEARLY_ONE, (20, 57), 7350359))
@given(cases())
def test_image_within_one_step_and_label_identical(case):
    transform, size, seed = case
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    label = np.repeat(np.repeat(rng.integers(0, 6, (9, 9), dtype=np.uint8), 18, 0), 18, 1)
    label = np.where(label == 5, 255, label)[: size[0], : size[1]].astype(np.uint8)
    crop = transform(image, label, np.random.default_rng(seed))
    expected = plain_order.transform(image, label, transform, np.random.default_rng(seed))
    assert crop.image.shape == (*transform.crop_size, 3)
    assert np.abs(crop.image.astype(int) - expected[0]).max() <= 1
    np.testing.assert_array_equal(crop.label, expected[1])
