"""Runs networks and losses on fake tensors of a GPU, which need none: `fake_cuda.py MODEL ...`.

Each model has a process of its own, since fake tensors leave traces in torch's caches. There is no
backward pass: the autograd engine wants the device itself.
"""

import os
import sys
import traceback

import torch
from networks import configs
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lemore.models.segmentor import build_segmentor
from lemore.training import losses

SIZE, CLASSES = (64, 64), 7


def keep(tensor: Tensor, *args: float, **kwargs: float) -> Tensor:
    return tensor


def check(name: str) -> None:
    """Forward in fp32 and in bf16, and the loss where it needs no values; all stays on the GPU."""
    nn.init.trunc_normal_ = keep  # reads its values
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda: True
    model, backbone = configs(name)
    with FakeTensorMode(), torch.device("cuda:0"):
        made = {"num_classes": CLASSES, "input_size": SIZE, "drop_path": 0.1, "overrides": {}}
        network = build_segmentor(model, backbone, **made).train()
        images, label = torch.empty(2, 3, *SIZE), torch.empty(2, *SIZE, dtype=torch.uint8)
    with images.fake_mode:
        for half in (False, True):
            with torch.autocast("cuda", torch.bfloat16, enabled=half):
                assert torch.is_autocast_enabled("cuda") == half
                outputs, auxiliary = network(images, for_loss=True)
            for logits in (outputs, auxiliary):
                if isinstance(logits, Tensor):
                    loss = losses.compute_segmentation_loss(logits.float(), label, "valid_pixels")
                    assert loss.device == torch.device("cuda:0") and loss.dtype == torch.float32


def main(names: list[str]) -> None:
    """Prints the names of those that fail, their errors on stderr."""
    torch.set_num_threads(1)
    for name in names:
        process = os.fork()
        if not process:
            try:
                check(name)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        if os.waitpid(process, 0)[1]:
            print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
