"""Two networks and a training step in plain PyTorch, channels_last, with our parameters.

They are what to beat, so they are written as a careful user of PyTorch would: fused Adam,
updates over all tensors at once, nothing computed twice.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

Pictures = torch.Tensor  # [N, C, H, W]
EMA = 0.999  # how much of the moving average a step keeps, once it is warm


def sr_unet(
    params: Mapping, depths: tuple[int, ...], scale: int, *, clip: bool = True
) -> Callable[[Pictures], Pictures]:
    """SR-UNet, folded or not, as the parameters are; see `jaxvsr.models.sr_unet`.

    What is not folded is folded in each call, as our training does: under autocast without the
    identity, which bfloat16 would round.
    """
    weights = tensors(params)
    levels = (len(depths) + 1) // 2

    def stage(x, name, depth):
        for i in range(depth):
            x = F.relu(_block(x, weights[f"{name}_{i}"]))
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
        return ((torch.clamp(x + base, -1, 1) if clip else x + base) + 1) / 2

    return run


def srresnet(params: Mapping, blocks: int, steps: int) -> Callable[[Pictures], Pictures]:
    """Dense SRResNet; see `jaxvsr.models.srresnet`. `steps` are its doublings."""
    weights = tensors(params)

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


def srgan_critic(params: Mapping) -> Callable[[Pictures], torch.Tensor]:
    """Scores [N] by batch statistics; see `jaxvsr.models.critics.SRGANCritic`."""
    weights = tensors(params)

    def block(x, number):
        conv, norm = (weights[f"body_{number}"].get(part) for part in ("conv", "norm"))
        x = F.conv2d(x, conv["kernel"], conv.get("bias"), 1 + number % 2, padding=1)
        if norm:
            x = F.batch_norm(x, None, None, norm["scale"], norm["bias"], training=True)
        return F.leaky_relu(x, 0.2)

    def run(frames):
        x = frames
        for number in range(8):
            x = block(x, number)
        x = x.permute(0, 2, 3, 1).flatten(1)  # the order of our dense layer's inputs
        hidden, last = weights["dense1"], weights["dense2"]
        x = F.leaky_relu(torch.addmm(hidden["bias"], x, hidden["kernel"]), 0.2)
        return torch.addmm(last["bias"], x, last["kernel"])[:, 0]

    return run


def ssim(fake: Pictures, real: Pictures) -> torch.Tensor:
    """Mean structural similarity; see `jaxvsr.metrics.ssim`."""
    channels = fake.shape[1]
    taps = torch.exp(-((torch.arange(11, device=fake.device) - 5.0) ** 2) / (2 * 1.5**2))
    taps = (taps / taps.sum()).expand(5 * channels, 1, 1, -1)
    x = torch.cat([fake, real, fake * fake, real * real, fake * real], 1)
    for kernel in (taps, taps.transpose(2, 3)):
        x = F.conv2d(x, kernel, groups=5 * channels)
    mx, my, xx, yy, xy = x.chunk(5, 1)
    c1, c2 = 0.01**2, 0.03**2
    light = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    return (light * (2 * (xy - mx * my) + c2) / (xx - mx * mx + yy - my * my + c2)).mean()


class Training:
    """The step of `jaxvsr.train` for one generator and at most one critic, in plain PyTorch.

    `params` and `builders` are by player: "generator", and "critic" where it plays. `weights` says
    which of the terms l1, ssim and adversarial count how much. As in our step everybody learns
    from the state before it, the generator's moving average and the norm of its gradient are
    kept; unlike it, a step that is not finite is not skipped, which costs PyTorch nothing.
    """

    def __init__(
        self,
        params: Mapping[str, Mapping],
        builders: Mapping[str, Callable[[Mapping], Callable]],
        weights: Mapping[str, float],
        *,
        rate: float = 1e-4,
        epsilon: float = 1e-8,
        bfloat16: bool = False,
        compiled: bool = False,
    ):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.params = {name: tensors(tree, self.device) for name, tree in params.items()}
        self.leaves = {name: leaves(tree) for name, tree in self.params.items()}
        for leaf in chain.from_iterable(self.leaves.values()):
            leaf.requires_grad_()
        self.play = {name: builders[name](tree) for name, tree in self.params.items()}
        self.weights, self.bfloat16, self.count = weights, bfloat16, 0
        self.ema = [leaf.detach().clone() for leaf in self.leaves["generator"]]
        adam = {"lr": rate, "eps": epsilon, "fused": True}
        self.tx = {name: torch.optim.Adam(own, **adam) for name, own in self.leaves.items()}
        wrap = torch.compile if compiled else (lambda f: f)
        self.score, self.score_critic = wrap(self._generator_loss), wrap(self._critic_loss)

    def step(self, batch: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """One step on {"lr", "hr"}, uint8 [N, H, W, 3]; the terms, not yet waited for."""
        lr, hr = (pictures(batch[name]).to(self.device).float() / 255 for name in ("lr", "hr"))
        total, terms, fake = self.score(lr, hr)
        grads = {"generator": torch.autograd.grad(total, self.leaves["generator"])}
        metrics = {"total": total.detach(), **terms}
        if "critic" in self.play:
            loss = self.score_critic(hr, fake.detach())
            grads["critic"] = torch.autograd.grad(loss, self.leaves["critic"])
            metrics["critic_critic"] = loss.detach()
        metrics["norm"] = torch.nn.utils.get_total_norm(grads["generator"])
        for name, gradient in grads.items():
            for leaf, slope in zip(self.leaves[name], gradient, strict=True):
                leaf.grad = slope
            self.tx[name].step()
        keep = min(EMA, (1 + self.count) / (10 + self.count))
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, self.leaves["generator"], 1 - keep)
        self.count += 1
        return metrics

    def wait(self) -> None:
        """Returns when the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _ask(self, name: str, x: Pictures) -> torch.Tensor:
        half = torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()
        with half:
            y = self.play[name](x)
        return y.float()

    def _generator_loss(self, lr: Pictures, hr: Pictures):
        fake, terms = self._ask("generator", lr), {}
        if "l1" in self.weights:
            terms["l1"] = F.l1_loss(fake, hr)
        if "ssim" in self.weights:
            terms["ssim"] = 1 - ssim(fake, hr)
        if "adversarial" in self.weights:
            terms["adversarial"] = F.softplus(-self._ask("critic", fake)).mean()
        total = sum(weight * terms[name] for name, weight in self.weights.items())
        return total, {name: term.detach() for name, term in terms.items()}, fake

    def _critic_loss(self, real: Pictures, fake: Pictures) -> torch.Tensor:
        lost = F.softplus(-self._ask("critic", real)).mean()
        return lost + F.softplus(self._ask("critic", fake)).mean()


def pictures(frames: np.ndarray) -> Pictures:
    """[N, H, W, 3] to PyTorch's order, in memory as it was."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)


def tensors(tree: Any, device: torch.device | str = "cpu") -> Any:
    """Every leaf as a float32 tensor, kernels HWIO as OIHW in channels_last; tensors stay."""
    if isinstance(tree, Mapping):
        return {name: tensors(branch, device) for name, branch in tree.items()}
    if isinstance(tree, torch.Tensor):
        return tree
    leaf = torch.from_numpy(np.array(tree, np.float32)).to(device)
    if leaf.ndim == 4:
        return leaf.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return leaf


def arrays(tree: Any) -> Any:
    """The way back from `tensors`."""
    if isinstance(tree, Mapping):
        return {name: arrays(branch) for name, branch in tree.items()}
    leaf = tree.detach().cpu()
    return (leaf.permute(2, 3, 1, 0) if leaf.ndim == 4 else leaf).numpy()


def leaves(tree: Any) -> Sequence[torch.Tensor]:
    """All tensors of a tree, in order."""
    if isinstance(tree, Mapping):
        return [leaf for branch in tree.values() for leaf in leaves(branch)]
    return [tree]


def _block(x, block):
    """A block before its activation; see `jaxvsr.layers.trained_folded`."""
    if "conv_adapter" not in block:
        return _conv(x, block["conv1"])
    if torch.is_autocast_enabled(x.device.type):
        return _conv(x, _folded(block)) + x
    point = block["conv_adapter"]["kernel"]
    identity = torch.eye(len(point), device=point.device)[..., None, None]
    return _conv(x, _folded(block, identity))


def _folded(block, identity=0.0):
    """One 3x3 convolution for both of a block; see `jaxvsr.layers.fold`."""
    wide, point = block["conv1"], block["conv_adapter"]
    kernel = wide["kernel"] + F.pad(point["kernel"] + identity, (1, 1, 1, 1))
    return {"kernel": kernel, "bias": wide["bias"] + point["bias"]}


def _conv(x, layer):
    kernel = layer["kernel"]
    return F.conv2d(x, kernel, layer["bias"], padding=kernel.shape[-1] // 2)
