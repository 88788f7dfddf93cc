"""Networks that are convolutions one after the other, whose tensors do not tell the whole.

An activation without weights leaves no trace in a checkpoint, nor does what is added to the result
or what ends it. So such a network is taken for one only under the names that its authors gave it,
or when it is said (`archs.Arch`), by the file's order and whatever the names are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import numpy as np

from jaxvsr.weights.archs import Arch
from jaxvsr.weights.layouts import Found, Tensors

EPSILON = 1e-5  # of a batch norm
ESPCN_LAYOUTS = (r"feature_maps\.\d+|sub_pixel\.0", r"first_part\.\d+|last_part\.0")
ESPCN_NOTE = "taken for ESPCN with tanh, as these names have it; --arch espcn-relu says otherwise"
TANH_NOTE = "taken for SRResNet that ends in tanh, as these names have it; --arch srresnet: linear"
BLOCK = {"conv1": "conv1", "bn1": "conv1 norm", "prelu": "prelu", "conv2": "conv2"}
BLOCK |= {"bn2": "conv2 norm"}
PLACES = {"0": "conv1", "1": "conv1 norm", "2": "prelu", "3": "conv2", "4": "conv2 norm"}


@dataclass(frozen=True)
class Layout:
    """How one project names SRResNet's modules: patterns to our names.

    In a name `N` stands for the pattern's number as a count of what matched, `K` for the kind
    that its second group names.
    """

    names: Mapping[str, str]
    kinds: Mapping[str, str]
    fields: Mapping[str, bool]
    note: str = ""


def _block(pattern: str) -> dict[str, str]:
    return {pattern: "body.N.K"}


SRRESNET_LAYOUTS = (
    Layout(
        {"conv_first": "conv_first", "prelu_first": "prelu_first", "conv_body": "conv_body"}
        | _block(r"body\.(\d+)\.(conv1|prelu|conv2)")
        | {r"conv_up(\d+)": "conv_up*", r"prelu_up(\d+)": "prelu_up*", "conv_last": "conv_last"},
        BLOCK,
        {},
    ),
    Layout(
        {r"head\.0": "conv_first", r"head\.1": "prelu_first", "conv": "conv_body"}
        | _block(r"trunk\.(\d+)\.(\w+)")
        | {"norm": "conv_body norm", r"up\.(\d+)": "up*", "tail": "conv_last"},
        BLOCK,
        {},
    ),
    Layout(
        {r"conv1\.0": "conv_first", r"conv1\.1": "prelu_first", r"conv2\.0": "conv_body"}
        | _block(r"trunk\.(\d+)\.rcb\.([0-4])")
        | {r"conv2\.1": "conv_body norm", "conv3": "conv_last"}
        | {r"upsampling\.(\d+)\.upsample_block\.\d": "up*"},
        PLACES,
        {},
    ),
    Layout(
        {r"block1\.0": "conv_first", r"block1\.1": "prelu_first", r"block7\.0": "conv_body"}
        | _block(r"block(\d+)\.(conv1|bn1|prelu|conv2|bn2)")
        | {r"block7\.1": "conv_body norm", r"block8\.(\d+)\.(?:conv|prelu)": "up*"}
        | {r"block8\.\d+": "conv_last"},
        BLOCK,
        {"tanh": True},
        TANH_NOTE,
    ),
)


@dataclass(frozen=True)
class Link:
    """A convolution (with the batch norm behind it folded in) or a PReLU: "conv" or "prelu"."""

    kind: str
    tensors: Tensors

    @property
    def weight(self) -> np.ndarray:
        """[out, in, h, w] or [channels]."""
        return self.tensors["weight"]


def espcn(tensors: Tensors) -> Found | None:
    """ESPCN under the names of one of its two well-known PyTorch versions: with tanh."""
    modules = {name.rpartition(".")[0] for name in tensors}
    if not any(all(re.fullmatch(p, name) for name in modules) for p in ESPCN_LAYOUTS):
        return None
    return _espcn(tensors, {}, ESPCN_NOTE)


def srresnet(tensors: Tensors) -> Found | None:
    """SRResNet under the names of a known project; batch norm is folded away."""
    modules = _modules(tensors)
    for layout in SRRESNET_LAYOUTS:
        named = _named(modules, layout)
        if named is not None:
            return _srresnet(named, dict(layout.fields), layout.note)
    return None


def said(tensors: Tensors, arch: Arch) -> Found | None:
    """The chain that `arch` says it is, by the file's order."""
    if arch.name == "espcn":
        return _espcn(tensors, arch.fields)
    if arch.name == "srvgg":
        return _srvgg(tensors, arch.fields)
    return srresnet_in_order(tensors, arch.fields) if arch.name == "srresnet" else None


def question(tensors: Tensors) -> str:
    """What a user must be asked about tensors that are a chain; "" if they are none."""
    links = chain(tensors)
    kinds = {link.kind for link in links}
    if _goes_on(links) and kinds == {"conv"}:
        first = links[0].weight.shape[-1]
        choice = "espcn-tanh, espcn-relu" if first != 3 else "srvgg-relu, srvgg-leaky, espcn-tanh"
        return (
            f"{len(links)} plain convolutions, whose activations leave no trace; if they are one "
            f"after the other, say which network by --arch ({choice} ..); anything else, such as "
            "residual blocks, is not known here"
        )
    if _srvgg(tensors, {"activation": "prelu"}):
        return "like SRVGGNetCompact under other names; if it is one, say --arch srvgg"
    if srresnet_in_order(tensors, {}):
        return (
            "like SRResNet, whose end leaves no trace; say --arch srresnet (linear) or "
            "srresnet-tanh"
        )
    return ""


def _espcn(tensors: Tensors, fields: Mapping, note: str = "") -> Found | None:
    links = chain(tensors)
    if not _goes_on(links) or {link.kind for link in links} != {"conv"}:
        return None
    sizes = [link.weight.shape[-1] for link in links]
    if set(sizes[1:]) != {3}:
        return None
    out = [len(link.weight) for link in links]
    named = _numbered(links, [f"conv{i}" for i in range(1, len(links) + 1)])
    known = {"scale": isqrt(out[-1] // 3), "widths": tuple(out[:-1]), "first": sizes[0]}
    return Found("espcn", known | dict(fields), named, note)


def _srvgg(tensors: Tensors, fields: Mapping) -> Found | None:
    links = chain(tensors)
    step = 2 if fields.get("activation", "prelu") == "prelu" else 1
    kinds = ["conv", "prelu"][:step] * ((len(links) - 1) // step) + ["conv"]
    fits = len(links) > 1 and [link.kind for link in links] == kinds and _goes_on(links)
    if not fits or {link.weight.shape[-1] for link in links[::step]} != {3}:
        return None
    features, last = len(links[0].weight), len(links[-1].weight)
    places = range(0, 2 * len(links), 2) if step == 1 else range(len(links))
    named = _numbered(links, [f"body.{i}" for i in places], features)
    known = {"scale": isqrt(last // 3), "features": features, "convs": len(links[::step]) - 2}
    return Found("srvgg", known | dict(fields), named) if known["convs"] >= 0 else None


def srresnet_in_order(tensors: Tensors, fields: Mapping) -> Found | None:
    """SRResNet under any names."""
    links = chain(tensors)
    text = "".join(link.kind[0] for link in links)
    match = re.fullmatch(r"cp((?:cpc)+)c((?:cp)*)c", text)
    if not match:
        return None
    blocks, ups = len(match[1]) // 3, len(match[2]) // 2
    names = ["conv_first", "prelu_first"]
    names += [f"body.{i}.{k}" for i in range(blocks) for k in ("conv1", "prelu", "conv2")]
    names += ["conv_body", *(f"{k}_up{i + 1}" for i in range(ups) for k in ("conv", "prelu"))]
    return _srresnet(dict(zip([*names, "conv_last"], links, strict=True)), fields)


def _srresnet(links: Mapping[str, Link], fields: Mapping, note: str = "") -> Found | None:
    """Links under our names as SRResNet; None where a size cannot be."""
    first, inner, last = (links.get(k) for k in ("conv_first", "body.0.conv1", "conv_last"))
    convs = all(x is not None and x.weight.ndim == 4 for x in (first, inner, last))
    if not convs or first.weight.shape[1] != 3 or len(last.weight) != 3 or not inner.weight.size:
        return None
    features, ends = len(first.weight), first.weight.shape[-1]
    ups = sum(bool(re.fullmatch(r"conv_up\d+", name)) for name in links)
    factor = isqrt(len(links["conv_up1"].weight) // features) if "conv_up1" in links else 1
    if factor**ups not in (1, 2, 3, 4, 8) or features % inner.weight.shape[1]:
        return None
    blocks = sum(bool(re.fullmatch(r"body\.\d+\.conv1", name)) for name in links)
    known = {"scale": factor**ups, "features": features, "blocks": blocks, "ends": ends}
    known |= {"groups": features // inner.weight.shape[1]}
    named = _numbered(list(links.values()), list(links), features)
    return Found("srresnet", known | dict(fields), named, note)


def _numbered(links: list[Link], names: list[str], features: int = 0) -> Tensors:
    """Tensors under these names; a PReLU of one weight for all channels gets one for each."""
    named = {}
    for name, link in zip(names, links, strict=True):
        for key, value in link.tensors.items():
            one = link.kind == "prelu" and value.shape == (1,)
            named[f"{name}.{key}"] = np.broadcast_to(value, (features,)) if one else value
    return named


def _goes_on(links: list[Link]) -> bool:
    """True where each convolution takes what the one before it gives, from RGB to 3 r^2."""
    convs = [link.weight for link in links if link.kind == "conv"]
    if len(convs) < 2:
        return False
    out, into = [len(w) for w in convs], [w.shape[1] for w in convs]
    square = all(w.shape[2] == w.shape[3] and w.shape[2] % 2 for w in convs)
    return square and into == [3, *out[:-1]] and 3 * isqrt(out[-1] // 3) ** 2 == out[-1] > 0


def chain(tensors: Tensors) -> list[Link]:
    """Every module in the file's order; empty where one is neither a convolution nor a PReLU."""
    links: list[Link] = []
    for part in _modules(tensors).values():
        link = _link(part)
        if link is not None:
            links.append(link)
        elif "running_mean" in part and links and links[-1].kind == "conv":
            folded = _fold_norm(links[-1].tensors, part)
            if folded is None:
                return []
            links[-1] = Link("conv", folded)
        else:
            return []
    return links


def _modules(tensors: Tensors) -> dict[str, Tensors]:
    """Tensors by module, in the file's order.

    Names in plain alphabetical order, as safetensors sorts them, are put in order of their numbers.
    """
    names = list(tensors)
    if names == sorted(names):
        names.sort(key=lambda n: [(p.isdigit(), int(p) if p.isdigit() else p) for p in _split(n)])
    modules: dict[str, Tensors] = {}
    for name in names:
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = tensors[name]
    return modules


def _split(name: str) -> list[str]:
    return [part for part in re.split(r"(\d+)", name) if part]


def _link(part: Tensors) -> Link | None:
    weight = part.get("weight")
    if weight is not None and weight.ndim == 4 and set(part) <= {"weight", "bias"}:
        zeros = np.zeros(len(weight), np.float32)
        return Link("conv", {"weight": weight, "bias": part.get("bias", zeros)})
    if weight is not None and weight.ndim == 1 and set(part) == {"weight"}:
        return Link("prelu", dict(part))
    return None


def _fold_norm(conv: Tensors, norm: Tensors) -> Tensors | None:
    """One convolution equal to the convolution and the batch norm behind it."""
    whole = set(norm) == {"weight", "bias", "running_mean", "running_var"}
    if not whole or any(v.shape != (len(conv["weight"]),) for v in (conv["bias"], *norm.values())):
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = norm["weight"] / np.sqrt(norm["running_var"] + EPSILON)
    bias = (conv["bias"] - norm["running_mean"]) * gain + norm["bias"]
    return {"weight": conv["weight"] * gain[:, None, None, None], "bias": bias}


def _named(modules: Mapping[str, Tensors], layout: Layout) -> dict[str, Link] | None:
    """Every module under our name, norms folded in; None where one is not of this layout."""
    links: dict[str, Link] = {}
    norms: dict[str, Tensors] = {}
    for module, ours in _renamed(list(modules), layout, modules).items():
        link, normed = _link(modules[module]), (ours or "").removesuffix(" norm")
        if ours is None or ours in links or (ours != normed and normed in norms):
            return None
        if ours != normed:
            norms[normed] = modules[module]
        elif link is None or link.kind != ("prelu" if "prelu" in ours else "conv"):
            return None
        else:
            links[ours] = link
    for name, norm in norms.items():
        folded = _fold_norm(links[name].tensors, norm) if name in links else None
        if folded is None:
            return None
        links[name] = Link("conv", folded)
    return links


def _renamed(modules: list[str], layout: Layout, tensors: Mapping) -> dict[str, str | None]:
    """Our name of each module, counted from what matched; None where there is none."""
    numbers: dict[str, list[int]] = {}
    matched = {}
    for module in modules:
        hits = ((ours, re.fullmatch(p, module)) for p, ours in layout.names.items())
        ours, match = next(((o, m) for o, m in hits if m), (None, None))
        matched[module] = ours, match
        if match and match.groups():
            numbers.setdefault(ours, []).append(int(match[1]))
    counted: dict[str, int] = {}
    found: dict[str, str | None] = {}
    for module, (ours, match) in matched.items():
        if ours == "body.N.K":
            kind = layout.kinds.get(match[2])
            place = sorted(set(numbers[ours])).index(int(match[1]))
            ours = f"body.{place}.{kind}" if kind else None
        elif ours and ours.endswith("*"):
            prelu = _is_prelu(tensors[module])
            ours = f"{'prelu' if prelu else 'conv'}_up"
            counted[ours] = counted.get(ours, 0) + 1
            ours = f"{ours}{counted[ours]}"
        found[module] = ours
    return found


def _is_prelu(part: Tensors) -> bool:
    return set(part) == {"weight"} and part["weight"].ndim == 1
