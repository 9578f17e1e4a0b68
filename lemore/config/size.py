"""Sizes of images, maps and windows are (H, W) everywhere; only img_scale is (long, short)."""

Size = tuple[int, int]
