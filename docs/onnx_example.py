"""Label map of an image by any ONNX file of `lemore export`, without torch and without lemore.

pip install onnxruntime numpy pillow
python onnx_example.py lemore.onnx street.jpg labels.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, source, target = sys.argv[1:] if len(sys.argv) == 4 else sys.exit(__doc__)
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
image = ImageOps.exif_transpose(Image.open(source)).convert("RGB")  # upright
height, width = about["size"]
box = (0, 0, *image.size)  # sampled without smoothing, as in training
small = image.transform((width, height), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
pixels = np.asarray(small, np.float32)
if about["input"] != "RGB 0..255":  # else the file normalises
    pixels = (pixels - np.float32(about["mean"])) / np.float32(about["std"])
(output,) = session.run(None, {"image": pixels.transpose(2, 0, 1)[None]})
if about["output"].startswith("train ids"):  # 1 h w
    labels = np.asarray(Image.fromarray(output[0]).resize(image.size, Image.Resampling.NEAREST))
else:  # logits 1 K h w
    full = [Image.fromarray(one).resize(image.size, Image.Resampling.BILINEAR) for one in output[0]]
    labels = np.argmax(np.stack(full), axis=0).astype(np.uint8)  # H W, train ids
Image.fromarray(labels).save(target)
for train_id, count in zip(*np.unique(labels, return_counts=True), strict=True):
    print(f"{about['classes'][train_id]}: {count / labels.size:.1%}")
