"""Where training images lie while batches are drawn from them: on the device, or where there is room for them."""

from __future__ import annotations

import torch
from torch import Tensor

from robench_fire.problem.dataset import Split

SHARE = 0.5  # of the device's free memory that images may take; the rest is for the network and its batches


def laid(images: Split, device: torch.device, streaming: bool | None = None) -> Split:
    """Labels on the device, and images too, where they fit.

    ``streaming``: leave the images where they are whatever fits, and copy each batch (True); or never do so (False).
    What is computed is the same.
    """
    stream = not fits(images.images, device) if streaming is None else streaming
    return Split(images.images if stream else images.images.to(device), images.labels.to(device))


def fits(images: Tensor, device: torch.device) -> bool:
    """Whether images take no more than their share of the device's free memory; what lies there already does.

    A CPU has no other memory: files that are mapped are read as they are used.
    """
    if device.type != "cuda" or images.device == device:
        return True
    return images.numel() * images.element_size() <= SHARE * torch.cuda.mem_get_info(device)[0]


def picked(images: Tensor, index: Tensor, device: torch.device) -> Tensor:
    """The images at ``index`` on the device; their copy waits for nothing that the device still has to do."""
    found = images[index.to(images.device)]
    if device.type == "cuda" and not found.is_cuda:
        found = found.pin_memory()
    return found.to(device, non_blocking=True)
