"""What tensors do not tell is asked for, told, or said by --arch; then it is right."""

import numpy as np
import pytest

from jaxvsr import weights
from jaxvsr.errors import UsageError, WeightsError
from jaxvsr.weights import archs

torch = pytest.importorskip("torch")
F = torch.nn.functional
nn = torch.nn

import torch_nets  # noqa: E402  (needs torch)

X = np.random.default_rng(0).random((1, 6, 8, 3), np.float32)


class Plain(nn.Module):
    """Convolutions with an activation of any kind, over an enlarged input or none."""

    def __init__(self, act, base, first=3, scale=2):
        super().__init__()
        self.scale, self.base, layers = scale, base, []
        for into, out, size in ((3, 8, first), (8, 8, 3)):
            layers += [torch_nets.conv(into, out, size), act()]
        self.body = nn.ModuleList([*layers, torch_nets.conv(8, 3 * scale**2)])

    def forward(self, x):
        y = x
        for layer in self.body:
            y = layer(y)
        y = F.pixel_shuffle(y, self.scale)
        return y + F.interpolate(x, scale_factor=self.scale, mode=self.base) if self.base else y


class Stem(nn.Module):
    """Residual blocks behind a 5x5 stem: every tensor fits ESPCN's chain."""

    def __init__(self):
        super().__init__()
        self.stem = torch_nets.conv(3, 8, 5)
        self.blocks = nn.Sequential(torch_nets.conv(8, 8), torch_nets.conv(8, 8))
        self.head = torch_nets.conv(8, 12)


class Leaf(nn.Module):
    """SRGAN's generator as leftthomas names it: block1 to block8, a tanh at the end."""

    def __init__(self, ups=1, width=8, blocks=2):
        super().__init__()
        self.block1 = nn.Sequential(torch_nets.conv(3, width, 9), nn.PReLU())
        for i in range(blocks):
            setattr(self, f"block{i + 2}", torch_nets.Residual(width, 1))
        self.block7 = nn.Sequential(torch_nets.conv(width, width), nn.BatchNorm2d(width))
        up = [Up(width) for _ in range(ups)]
        self.block8 = nn.Sequential(*up, torch_nets.conv(width, 3, 9))
        self.blocks = blocks

    def forward(self, x):
        first = y = self.block1(x)
        for i in range(self.blocks):
            y = getattr(self, f"block{i + 2}")(y)
        return (torch.tanh(self.block8(first + self.block7(y))) + 1) / 2


class Up(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.prelu = torch_nets.conv(width, 4 * width), nn.PReLU()

    def forward(self, x):
        return self.prelu(F.pixel_shuffle(self.conv(x), 2))


def saved(net, path):
    torch.save({"params": net.state_dict()}, path)
    return path


def off(loaded, net):
    """The largest difference from torch, relative to the largest value."""
    with torch.no_grad():
        want = net(torch.tensor(X).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    return np.abs(loaded.module.apply({"params": loaded.params}, X) - want).max() / abs(want).max()


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "arch, act, base",
    [
        ("srvgg-relu", nn.ReLU, "nearest"),
        ("srvgg-leaky", lambda: nn.LeakyReLU(0.1), "nearest"),
        ("srvgg-leaky0.2-bicubic", lambda: nn.LeakyReLU(0.2), "bicubic"),
        ("compact-gelu-bilinear", nn.GELU, "bilinear"),
        ("srvgg-mish-plain", nn.Mish, None),
        ("espcn", nn.Tanh, None),
        ("espcn-relu", nn.ReLU, None),
        ("espcn-elu", nn.ELU, None),
        ("espcn-silu-bicubic", nn.SiLU, "bicubic"),
    ],
)
def test_a_plain_chain_is_refused_until_its_activation_is_said(tmp_path, arch, act, base):
    net = torch_nets.randomise(Plain(act, base, first=5 if "espcn" in arch else 3))
    path = saved(net, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"leave no trace.*--arch") as told:
        weights.load(path)
    assert "\n" not in str(told.value)
    loaded = weights.load(path, arch=arch)
    assert loaded.spec.scale == 2 and off(loaded, net) < 1e-4


def test_residual_blocks_are_no_espcn(tmp_path):
    path = saved(Stem(), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="residual blocks, is not known here"):
        weights.load(path)


def test_names_of_authors_are_told_of(tmp_path):
    path = tmp_path / "net.pth"
    net = torch_nets.randomise(torch_nets.ESPCN())
    loaded = weights.load(saved(net, path))
    assert "ESPCN with tanh" in loaded.notes[0] and off(loaded, net) < 1e-4
    assert weights.load(path, arch="espcn-relu").module.activation == "relu"
    assert weights.load(saved(torch_nets.Compact(), path)).notes == ()


@pytest.mark.parametrize("ups", [1, 2])
def test_srgan_that_ends_in_tanh(tmp_path, ups):
    net = torch_nets.randomise(Leaf(ups))
    path = saved(net, tmp_path / "netG_epoch_2_100.pth")
    loaded = weights.load(path)
    assert "ends in tanh" in loaded.notes[0] and loaded.spec.scale == 2**ups
    assert off(loaded, net) < 1e-4
    assert off(weights.load(path, arch="srresnet"), net) > 0.01


def test_srresnet_under_unknown_names_is_asked_for(tmp_path):
    net = torch_nets.randomise(torch_nets.SRResNet(ups=1))
    state = {f"net_{k.replace('trunk', 'middle')}": v for k, v in net.state_dict().items()}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"--arch srresnet \(linear\) or srresnet-tanh"):
        weights.load(tmp_path / "net.pth")
    assert off(weights.load(tmp_path / "net.pth", arch="srresnet"), net) < 1e-4


@pytest.mark.parametrize("blocks", [2, 11])
def test_order_is_that_of_numbers_where_a_file_sorts_its_names(tmp_path, blocks):
    from safetensors.torch import save_file

    net = torch_nets.randomise(torch_nets.SRResNet(ups=1, blocks=blocks))
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    loaded = weights.load(tmp_path / "net.safetensors")
    assert loaded.module.blocks == blocks and off(loaded, net) < 1e-4


def test_compact_under_other_names_is_asked_for(tmp_path):
    net = torch_nets.randomise(torch_nets.Compact())
    state = {k.replace("body", "layers"): v for k, v in net.state_dict().items()}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="--arch srvgg"):
        weights.load(tmp_path / "net.pth")
    assert off(weights.load(tmp_path / "net.pth", arch="srvgg"), net) < 1e-4


def test_the_published_networks_of_two_scales(shared, tmp_path):
    path = tmp_path / "renamed.pth"
    path.write_bytes((shared / "weights/srunet/srunet_1.5x_crf23.pth").read_bytes())
    assert "--arch sr_unet-x1.5" in weights.load(path).notes[0]
    loaded = weights.load(path, arch="sr_unet-x1.5")
    assert loaded.spec.scale == 1.5 and loaded.module.corners and not loaded.notes
    assert weights.load(path, arch="sr_unet-x2").notes == ()


def test_what_is_said_must_agree_with_what_the_file_is(tmp_path):
    path = saved(torch_nets.RRDBNet(), tmp_path / "net.pth")
    assert weights.load(path, arch="rrdbnet").name == "esrgan"
    with pytest.raises(WeightsError, match=r"is not what --arch srvgg says"):
        weights.load(path, arch="srvgg")
    with pytest.raises(WeightsError, match="is sr_unet by its own word; leave --arch espcn out"):
        weights.load("sr_unet_light_x2", arch="espcn")
    assert weights.load("sr_unet_light_x2", arch="sr_unet").name == "sr_unet"
    with pytest.raises(WeightsError, match="bicubic by its own word"):
        weights.load("bicubic", arch="esrgan")


@pytest.mark.parametrize(
    "text", ["swinir", "srvgg-x2", "esrgan-relu", "espcn-prelu", "srvgg-leaky7"]
)
def test_words_that_are_none_are_answered_with_the_choices(text):
    with pytest.raises(UsageError, match=f"--arch {text}: .*choose sr_unet.*srresnet"):
        archs.parse(text)
    assert archs.parse("") is None
    assert archs.parse("SRVGG-LeakyReLU.05").fields == {"activation": "leaky", "slope": 0.05}


def test_the_command_line_takes_it(tmp_path, capsys):
    import PIL.Image

    from jaxvsr.__main__ import main

    picture, better = tmp_path / "a.png", tmp_path / "b.png"
    PIL.Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(picture)
    path = saved(torch_nets.randomise(torch_nets.ESPCN()), tmp_path / "net.pth")
    line = ["enhance", str(picture), str(better), "--model", str(path), "--device", "cpu"]
    assert main([*line, "--arch", "nothing"]) == 2 and not better.exists()
    assert main(line) == 0 and "taken for ESPCN with tanh" in capsys.readouterr().err
    better.unlink()
    assert main([*line, "--arch", "espcn-relu"]) == 0 and "taken" not in capsys.readouterr().err
