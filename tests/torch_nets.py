"""Published networks written in plain PyTorch from their descriptions, to compare with."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


def conv(into, out, size=3, **kwargs):
    """Stride 1, zero padding, same size."""
    return nn.Conv2d(into, out, size, padding=size // 2, **kwargs)


def lrelu(x):
    return F.leaky_relu(x, 0.2)


class Dense(nn.Module):
    def __init__(self, width, growth, plus):
        super().__init__()
        for i in range(5):
            setattr(self, f"conv{i + 1}", conv(width + i * growth, width if i == 4 else growth))
        self.conv1x1 = conv(width, growth, 1, bias=False) if plus else None

    def forward(self, x):
        a = lrelu(self.conv1(x))
        b = lrelu(self.conv2(torch.cat([x, a], 1)))
        b = b + self.conv1x1(x) if self.conv1x1 else b
        c = lrelu(self.conv3(torch.cat([x, a, b], 1)))
        d = lrelu(self.conv4(torch.cat([x, a, b, c], 1)))
        d = d + b if self.conv1x1 else d
        return x + 0.2 * self.conv5(torch.cat([x, a, b, c, d], 1))


class Triple(nn.Module):
    def __init__(self, *args):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = Dense(*args), Dense(*args), Dense(*args)

    def forward(self, x):
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """Names are those of the newest published layout."""

    def __init__(self, width=8, blocks=2, growth=4, unshuffle=1, ups=2, plus=False):
        super().__init__()
        self.unshuffle, self.ups = unshuffle, ups
        self.conv_first = conv(3 * unshuffle**2, width)
        self.body = nn.Sequential(*(Triple(width, growth, plus) for _ in range(blocks)))
        self.conv_body = conv(width, width)
        for i in range(ups):
            setattr(self, f"conv_up{i + 1}", conv(width, width))
        self.conv_hr, self.conv_last = conv(width, width), conv(width, 3)

    def forward(self, x):
        x = self.conv_first(F.pixel_unshuffle(x, self.unshuffle))
        x = x + self.conv_body(self.body(x))
        for i in range(self.ups):
            x = lrelu(getattr(self, f"conv_up{i + 1}")(F.interpolate(x, scale_factor=2)))
        return self.conv_last(lrelu(self.conv_hr(x)))


def middle_layout(state, _):
    """The names of the first ESRGAN release's network."""
    renamed = {"body.": "RRDB_trunk.", "conv_body": "trunk_conv", "conv_up": "upconv"}
    renamed |= {"conv_hr": "HRconv", "rdb": "RDB"}
    return {_replace(key, renamed): value for key, value in state.items()}


def oldest_layout(state, net):
    """The names that come from a nest of sequences: places count layers without weights too."""
    place, top = 2, {"conv_first": "model.0", "conv_body": f"model.1.sub.{len(net.body)}"}
    for i in range(net.ups):
        top[f"conv_up{i + 1}"] = f"model.{place + 1}"  # behind an enlargement, before a lrelu
        place += 3
    top |= {"conv_hr": f"model.{place}", "conv_last": f"model.{place + 2}"}
    found = {}
    for key, value in state.items():
        head, _, leaf = key.rpartition(".")
        inner = _replace(head, {"body.": "model.1.sub.", "rdb": "RDB"})
        inner += "" if head.endswith("conv1x1") else ".0"
        found[f"{top.get(head, inner)}.{leaf}"] = value
    return found


def _replace(key, renamed):
    for old, new in renamed.items():
        key = key.replace(old, new)
    return key


class Compact(nn.Module):
    def __init__(self, scale=2, width=8, convs=3):
        super().__init__()
        self.scale, layers = scale, [conv(3, width), nn.PReLU(width)]
        for _ in range(convs):
            layers += [conv(width, width), nn.PReLU(width)]
        self.body = nn.ModuleList([*layers, conv(width, 3 * scale**2)])

    def forward(self, x):
        y = x
        for layer in self.body:
            y = layer(y)
        return F.pixel_shuffle(y, self.scale) + F.interpolate(x, scale_factor=self.scale)


class ESPCN(nn.Module):
    def __init__(self, scale=3):
        super().__init__()
        first = [conv(3, 8, 5), nn.Tanh(), conv(8, 6), nn.Tanh()]
        self.feature_maps = nn.Sequential(*first)
        self.sub_pixel = nn.Sequential(conv(6, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, x):
        return self.sub_pixel(self.feature_maps(x))


class Residual(nn.Module):
    def __init__(self, width, groups):
        super().__init__()
        self.conv1, self.bn1 = conv(width, width, groups=groups), nn.BatchNorm2d(width)
        self.prelu = nn.PReLU()
        self.conv2, self.bn2 = conv(width, width, groups=groups), nn.BatchNorm2d(width)

    def forward(self, x):
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class SRResNet(nn.Module):
    """With batch norm and a single PReLU weight, as it is trained."""

    def __init__(self, ups=2, width=8, blocks=2, groups=1):
        super().__init__()
        self.head = nn.Sequential(conv(3, width, 9), nn.PReLU())
        self.trunk = nn.Sequential(*(Residual(width, groups) for _ in range(blocks)))
        self.conv, self.norm = conv(width, width, groups=groups), nn.BatchNorm2d(width)
        up = lambda: [conv(width, 4 * width), nn.PixelShuffle(2), nn.PReLU()]
        self.up = nn.Sequential(*(layer for _ in range(ups) for layer in up()))
        self.tail = conv(width, 3, 9)

    def forward(self, x):
        x = self.head(x)
        return self.tail(self.up(x + self.norm(self.conv(self.trunk(x)))))


def randomise(net, seed=0):
    """Every tensor random, so that no bias, slope or running mean is left at its neutral value."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if "num_batches" in name:
                continue
            low, high = (0.5, 1.5) if "running_var" in name or "bn" in name else (-0.3, 0.3)
            value.uniform_(low, high)
    return net.eval()
