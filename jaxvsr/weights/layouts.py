"""Published tensor names and shapes to (network, fields, parameters).

Tensors come and go under PyTorch's names and in its layouts (OIHW); a parameter tree's path
`body_0/rdb1/conv1/kernel` is the name `body.0.rdb1.conv1.weight`. Every size is read off the
tensors. A reader returns None for tensors that are not its network's.
"""

import re
from collections.abc import Mapping
from math import isqrt

import numpy as np

from jaxvsr.models.sr_unet import LEVELS

Tensors = dict[str, np.ndarray]
Found = tuple[str, dict, Tensors]  # name in MODELS, module fields, tensors under our names

WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "generator", "model", "net_g")
PREFIXES = ("module.", "_orig_mod.", "generator.", "netG.", "net_g.", "model._orig_mod.")


def state_dict(found) -> Tensors:
    """The flat dict of tensors inside whatever a checkpoint wraps around it; empty if none."""
    for _ in range(4):
        if not isinstance(found, Mapping):
            return {}
        inner = next((found[k] for k in WRAPPERS if isinstance(found.get(k), Mapping)), None)
        if inner is None:
            break
        found = inner
    tensors = {str(k): v for k, v in found.items() if isinstance(v, np.ndarray)}
    for prefix in PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): v for key, v in tensors.items()}
    return tensors


def recognise(tensors: Tensors) -> Found | None:
    """The first network whose layout these tensors have."""
    for reader in (sr_unet, rrdb, srvgg, srresnet, espcn):
        if found := reader(tensors):
            return found
    return None


def to_tree(tensors: Tensors) -> dict:
    """Named PyTorch tensors as a parameter tree of float32."""
    tree: dict = {}
    for name, value in tensors.items():
        *modules, leaf = re.sub(r"\.(\d+)(?=\.)", r"_\1", name).split(".")
        branch = tree
        for module in modules:
            branch = branch.setdefault(module, {})
        value = np.asarray(value).astype(np.float32)
        if value.ndim == 4:
            leaf, value = "kernel", value.transpose(2, 3, 1, 0)
        branch[leaf] = np.ascontiguousarray(value)
    return tree


def from_tree(tree: Mapping, prefix: str = "") -> Tensors:
    """The inverse of `to_tree`; the type of number stays."""
    tensors = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            module = re.sub(r"_(\d+)$", r".\1", name)
            tensors |= from_tree(value, f"{prefix}{module}.")
        else:
            value, leaf = np.asarray(value), "weight" if name == "kernel" else name
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            tensors[prefix + leaf] = np.ascontiguousarray(value)
    return tensors


def _count(tensors: Tensors, pattern: str) -> int:
    """One more than the largest number that the pattern's group takes; 0 if it never matches."""
    found = (re.match(pattern, name) for name in tensors)
    return max((int(match[1]) for match in found if match), default=-1) + 1


def _shuffle(tensors: Tensors, name: str) -> int | None:
    """The r for which this convolution's output is 3 r^2 channels."""
    channels = len(tensors[name]) if name in tensors else 0
    r = isqrt(channels // 3)
    return r if r and 3 * r * r == channels else None


def sr_unet(tensors: Tensors) -> Found | None:
    """SR-UNet and its UNet; tensors that the published network never uses are dropped."""
    scale = _shuffle(tensors, "conv_last.weight")
    stages = [f"dconv_down{i + 1}" for i in range(LEVELS)]
    stages += [f"dconv_up{i}" for i in range(LEVELS - 1, 0, -1)]
    depths = tuple(_count(tensors, rf"{stage}\.(\d+)\.conv1\.weight$") for stage in stages)
    if not (scale and all(depths)):
        return None
    widths = [len(tensors[f"{stage}.0.conv1.weight"]) for stage in stages[:LEVELS]]
    name = "sr_unet" if widths[2] == widths[1] else "unet"
    folded = not any("conv_adapter" in key for key in tensors)

    def used(key: str) -> bool:
        if "conv_adapter." not in key:
            return not key.startswith("to_rgb.")
        out, into = tensors[key.rpartition(".")[0] + ".weight"].shape[:2]
        return out == into

    fields = {"scale": scale, "width": widths[1], "depths": depths, "folded": folded}
    return name, fields, {key: value for key, value in tensors.items() if used(key)}


def rrdb(tensors: Tensors) -> Found | None:
    """RRDBNet in the newest layout, or in one of the two older ones after renaming."""
    if "model.0.weight" in tensors:
        tensors = _rrdb_from_sequence(tensors)
    elif "RRDB_trunk.0.RDB1.conv1.weight" in tensors:
        renamed = {"RRDB_trunk.": "body.", "trunk_conv.": "conv_body.", "HRconv.": "conv_hr."}
        renamed |= {"upconv": "conv_up", ".RDB": ".rdb"}
        tensors = {_replace(key, renamed): value for key, value in tensors.items()}
    first, inner = tensors.get("conv_first.weight"), tensors.get("body.0.rdb1.conv1.weight")
    if first is None or inner is None or first.ndim != 4 or inner.ndim != 4:
        return None
    unshuffle = isqrt(first.shape[1] // 3)
    doublings = _count(tensors, r"conv_up(\d+)\.weight$") - 1 if "conv_up1.weight" in tensors else 0
    if unshuffle not in (1, 2, 4, 8) or 2**doublings < unshuffle:
        return None
    fields = {
        "scale": 2**doublings // unshuffle,
        "features": first.shape[0],
        "blocks": _count(tensors, r"body\.(\d+)\."),
        "growth": inner.shape[0],
        "unshuffle": unshuffle,
        "plus": "body.0.rdb1.conv1x1.weight" in tensors,
    }
    return "esrgan", fields, tensors


def _rrdb_from_sequence(tensors: Tensors) -> Tensors:
    """`model.0`, `model.1.sub.N.RDB1.conv1.0`, ..: the oldest layout, whose places are counted."""
    trunk = _count(tensors, r"model\.1\.sub\.(\d+)\.")
    renamed = {"model.0.": "conv_first.", f"model.1.sub.{trunk - 1}.": "conv_body."}
    top = (re.match(r"model\.(\d+)\.weight$", key) for key in tensors)
    *ups, hr, last = [*sorted(int(match[1]) for match in top if match), 0, 0][1:-2] or (0, 0)
    renamed |= {f"model.{hr}.": "conv_hr.", f"model.{last}.": "conv_last."} if last else {}
    renamed |= {f"model.{place}.": f"conv_up{i}." for i, place in enumerate(ups, 1)}
    inner = {"model.1.sub.": "body.", ".RDB": ".rdb"}

    def name(key: str) -> str:
        for old, new in renamed.items():
            if key.startswith(old):
                return new + key.removeprefix(old)
        return re.sub(r"(conv\w+)\.0\.(weight|bias)$", r"\1.\2", _replace(key, inner))

    return {name(key): value for key, value in tensors.items()}


def _replace(key: str, renamed: dict[str, str]) -> str:
    for old, new in renamed.items():
        key = key.replace(old, new)
    return key


def srvgg(tensors: Tensors) -> Found | None:
    """SRVGGNetCompact with PReLUs."""
    last = _count(tensors, r"body\.(\d+)\.weight$") - 1
    scale = _shuffle(tensors, f"body.{last}.weight")
    if not scale or last < 2 or last % 2 or "body.1.weight" not in tensors:
        return None
    features = len(tensors["body.0.weight"])
    fields = {"scale": scale, "features": features, "convs": last // 2 - 1}
    spread = lambda v: np.broadcast_to(v, (features,)) if v.shape == (1,) else v
    return "srvgg", fields, {key: spread(value) for key, value in tensors.items()}


def from_ncnn(layers: list[tuple[str, Tensors]]) -> Tensors:
    """Layers of an ncnn file under SRVGGNetCompact's names."""
    kinds = [kind for kind, _ in layers]
    if kinds != ["conv", "prelu"] * (len(kinds) // 2) + ["conv"]:
        return {}
    return {f"body.{i}.{key}": v for i, (_, part) in enumerate(layers) for key, v in part.items()}


def espcn(tensors: Tensors) -> Found | None:
    """ESPCN under any names: a chain of convolutions in the file's order, 5x5 and then 3x3."""
    chain = _chain(tensors)
    kinds = [kind for kind, _ in chain]
    sizes = [part["weight"].shape[-1] for _, part in chain]
    if len(chain) < 2 or set(kinds) != {"conv"} or set(sizes[1:]) != {3} or sizes[0] % 2 == 0:
        return None
    out = [len(part["weight"]) for _, part in chain]
    into = [part["weight"].shape[1] for _, part in chain]
    scale = isqrt(out[-1] // 3)
    if into != [3, *out[:-1]] or 3 * scale**2 != out[-1] or not scale:
        return None
    named = {f"conv{i}.{k}": v for i, (_, part) in enumerate(chain, 1) for k, v in part.items()}
    return "espcn", {"scale": scale, "widths": tuple(out[:-1]), "first": sizes[0]}, named


def srresnet(tensors: Tensors) -> Found | None:
    """SRResNet under any names, by the file's order; batch norm is folded away."""
    chain = _chain(tensors)
    text = "".join({"conv": "c", "prelu": "p"}[kind] for kind, _ in chain)
    match = re.fullmatch(r"cp((?:cpc)+)c((?:cp)*)c", text)
    if not match:
        return None
    blocks, ups = len(match[1]) // 3, len(match[2]) // 2
    weights = [part["weight"] for _, part in chain]
    features, ends = len(weights[0]), weights[0].shape[-1]
    factor = isqrt(len(weights[-3]) // features) if ups else 1
    if weights[0].shape[1] != 3 or len(weights[-1]) != 3 or factor**ups not in (1, 2, 3, 4, 8):
        return None
    groups = features // weights[2].shape[1]
    names = ["conv_first", "prelu_first"]
    names += [f"body.{i}.{k}" for i in range(blocks) for k in ("conv1", "prelu", "conv2")]
    names += ["conv_body", *(f"{k}_up{i + 1}" for i in range(ups) for k in ("conv", "prelu"))]
    named = {}
    for name, (kind, part) in zip([*names, "conv_last"], chain, strict=True):
        for key, value in part.items():
            one = kind == "prelu" and value.shape == (1,)
            named[f"{name}.{key}"] = np.broadcast_to(value, (features,)) if one else value
    fields = {"scale": factor**ups, "features": features, "blocks": blocks}
    return "srresnet", fields | {"groups": groups, "ends": ends}, named


def _chain(tensors: Tensors) -> list[tuple[str, Tensors]]:
    """("conv" | "prelu", tensors) in the file's order, each batch norm folded into its conv."""
    modules: dict[str, Tensors] = {}
    for key, value in tensors.items():
        module, _, leaf = key.rpartition(".")
        modules.setdefault(module, {})[leaf] = value
    chain: list[tuple[str, Tensors]] = []
    for part in modules.values():
        weight = part.get("weight")
        if weight is None:
            return []
        if "running_mean" in part and chain and chain[-1][0] == "conv":
            chain[-1] = "conv", _fold_norm(chain[-1][1], part)
        elif weight.ndim == 4:
            zeros = np.zeros(len(weight), np.float32)
            chain.append(("conv", {"weight": weight, "bias": part.get("bias", zeros)}))
        elif weight.ndim == 1 and set(part) == {"weight"}:
            chain.append(("prelu", part))
        else:
            return []
    return chain


def _fold_norm(conv: Tensors, norm: Tensors) -> Tensors:
    """One convolution equal to the convolution and the batch norm (eps 1e-5) behind it."""
    gain = norm["weight"] / np.sqrt(norm["running_var"] + 1e-5)
    bias = (conv["bias"] - norm["running_mean"]) * gain + norm["bias"]
    return {"weight": conv["weight"] * gain[:, None, None, None], "bias": bias}
