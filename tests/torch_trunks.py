"""The `features` of torchvision's classifiers and LPIPS in plain PyTorch, to compare with."""

import torch
from torch import nn

from jaxvsr.weights.layouts import to_tree

VGG = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
LPIPS = {  # places in the sequence whose outputs LPIPS compares
    "alex": ("alexnet", (1, 4, 7, 9, 11)),
    "squeeze": ("squeezenet1_1", (1, 4, 7, 9, 10, 11, 12)),
    "vgg": ("vgg16", (3, 8, 15, 22, 29)),
}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # for images in [-1, 1]


class Fire(nn.Module):
    def __init__(self, into, narrow):
        super().__init__()
        self.squeeze = nn.Conv2d(into, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, 4 * narrow, 1)
        self.expand3x3 = nn.Conv2d(narrow, 4 * narrow, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


class Classifier(nn.Module):
    """Holds the sequence under the name that its checkpoints have; weights are random."""

    def __init__(self, net, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Sequential(*LAYERS[net]())
        for weight in self.parameters():
            if weight.ndim == 4:
                nn.init.kaiming_normal_(weight)
            else:
                nn.init.uniform_(weight, -0.1, 0.1)

    def forward(self, x, last=None):
        """Every output of the sequence, in order, up to that at place `last`."""
        found = []
        for layer in self.features[: None if last is None else last + 1]:
            x = layer(x)
            found.append(x)
        return found

    def tree(self):
        return to_tree({name: value.numpy() for name, value in self.state_dict().items()})


def _vgg(depths):
    into = 3
    for width, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
        for _ in range(depth):
            yield from (nn.Conv2d(into, width, 3, padding=1), nn.ReLU())
            into = width
        yield nn.MaxPool2d(2, 2)


def _alexnet():
    conv, pool = nn.Conv2d, lambda: nn.MaxPool2d(3, 2)
    yield from (conv(3, 64, 11, 4, 2), nn.ReLU(), pool())
    yield from (conv(64, 192, 5, padding=2), nn.ReLU(), pool())
    yield from (conv(192, 384, 3, padding=1), nn.ReLU(), conv(384, 256, 3, padding=1), nn.ReLU())
    yield from (conv(256, 256, 3, padding=1), nn.ReLU(), pool())


def _squeezenet():
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
    yield from (nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16), Fire(128, 16))
    yield from (pool(), Fire(128, 32), Fire(256, 32), pool(), Fire(256, 48), Fire(384, 48))
    yield from (Fire(384, 64), Fire(512, 64))


LAYERS = {
    "vgg16": lambda: _vgg(VGG["vgg16"]),
    "vgg19": lambda: _vgg(VGG["vgg19"]),
    "alexnet": _alexnet,
    "squeezenet1_1": _squeezenet,
}


def lpips_layers(net, classifier, heads, fake, real):
    """[layers, N] of images [N, 3, H, W] in [-1, 1]; `heads` are vectors."""
    _, places = LPIPS[net]
    shift, scale = (torch.tensor(v, dtype=fake.dtype)[:, None, None] for v in (SHIFT, SCALE))

    def unit(x):
        return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)

    fakes, reals = (classifier((x - shift) / scale, places[-1]) for x in (fake, real))
    pairs = [(unit(fakes[p]), unit(reals[p])) for p in places]
    parts = [((a - b) ** 2 * h[:, None, None]) for (a, b), h in zip(pairs, heads, strict=True)]
    return torch.stack([part.sum(1).mean((1, 2)) for part in parts])
