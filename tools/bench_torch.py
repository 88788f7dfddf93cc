"""Two networks in plain PyTorch, channels_last, with the parameters of ours: what to beat."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

Pictures = torch.Tensor  # [N, C, H, W]


def sr_unet(params: Mapping, depths: tuple[int, ...], scale: int) -> Callable[[Pictures], Pictures]:
    """Folded SR-UNet; see `jaxvsr.models.sr_unet`."""
    weights = _weights(params)
    levels = (len(depths) + 1) // 2

    def stage(x, name, depth):
        for i in range(depth):
            x = F.relu(_conv(x, weights[f"{name}_{i}"]["conv1"]))
        return x

    def run(frames):
        frames = 2 * frames - 1
        x, skips = frames, []
        for i in range(levels):
            x = stage(x, f"dconv_down{i + 1}", depths[i])
            if i < levels - 1:
                skips.append(x)
                x = F.max_pool2d(x, 2)
        for i in reversed(range(levels - 1)):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = stage(torch.cat([x, skips[i]], 1), f"dconv_up{i + 1}", depths[2 * (levels - 1) - i])
        x = F.pixel_shuffle(_conv(x, weights["conv_last"]), scale)
        base = F.interpolate(frames, scale_factor=scale, mode="bicubic", align_corners=False)
        return (torch.clamp(x + base, -1, 1) + 1) / 2

    return run


def srresnet(params: Mapping, blocks: int, steps: int) -> Callable[[Pictures], Pictures]:
    """Dense SRResNet; see `jaxvsr.models.srresnet`. `steps` are its doublings."""
    weights = _weights(params)

    def prelu(x, name, among=weights):
        return F.prelu(x, among[name]["weight"])

    def run(frames):
        x = first = prelu(_conv(frames, weights["conv_first"]), "prelu_first")
        for i in range(blocks):
            block = weights[f"body_{i}"]
            y = prelu(_conv(x, block["conv1"]), "prelu", block)
            x = x + _conv(y, block["conv2"])
        x = first + _conv(x, weights["conv_body"])
        for i in range(1, steps + 1):
            x = F.pixel_shuffle(_conv(x, weights[f"conv_up{i}"]), 2)
            x = prelu(x, f"prelu_up{i}")
        return _conv(x, weights["conv_last"])

    return run


def pictures(frames: np.ndarray) -> Pictures:
    """[N, H, W, 3] to PyTorch's order, in memory as it was."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)


def _conv(x, layer):
    kernel = layer["kernel"]
    return F.conv2d(x, kernel, layer["bias"], padding=kernel.shape[-1] // 2)


def _weights(tree):
    """Every leaf as a tensor; kernels HWIO to OIHW, channels_last."""
    if isinstance(tree, Mapping):
        return {name: _weights(branch) for name, branch in tree.items()}
    leaf = torch.from_numpy(np.array(tree, np.float32))
    if leaf.ndim == 4:
        return leaf.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return leaf
