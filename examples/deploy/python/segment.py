"""Label map of a photo by any ONNX file of `lemore export`, without torch and without lemore.

pip install onnxruntime numpy pillow
python segment.py lemore.onnx street.jpg labels.png

labels.png holds the train id of each pixel and shows it in the colour of its class.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, source, target = sys.argv[1:] if len(sys.argv) == 4 else sys.exit(__doc__)
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
photo = ImageOps.exif_transpose(Image.open(source)).convert("RGB")  # upright
how = Image.Transform.EXTENT, (0, 0, *photo.size), Image.Resampling.BILINEAR
# Sampled without smoothing, as in training: float 3 h w, 0..255.
image = np.stack([c.convert("F").transform(about["size"][::-1], *how) for c in photo.split()])
if about["input"] != "RGB 0..255":  # else the file normalises
    mean, std = (np.float32(about[key])[:, None, None] for key in ("mean", "std"))
    image = (image - mean) / std
(output,) = session.run(None, {"image": image[None]})
if about["output"].startswith("train ids"):  # 1 h w; each pixel takes the nearest one's
    sides = zip(photo.size[::-1], output.shape[1:], strict=True)
    rows, columns = ((2 * np.arange(full) + 1) * small // (2 * full) for full, small in sides)
    labels = output[0][rows[:, None], columns]
else:  # logits 1 K h w
    full = [Image.fromarray(one).resize(photo.size, Image.Resampling.BILINEAR) for one in output[0]]
    labels = np.argmax(np.stack(full), axis=0).astype(np.uint8)  # H W, train ids
picture = Image.fromarray(labels)
picture.putpalette([value for color in about["colors"] for value in color])
picture.save(target)
for train_id, count in zip(*np.unique(labels, return_counts=True), strict=True):
    print(f"{about['classes'][train_id]}: {count / labels.size:.1%}")
