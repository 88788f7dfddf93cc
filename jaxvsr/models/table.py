"""The networks as rows for people: size, cost, reach, paper, and where weights come from."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxvsr.models import MODELS

WEIGHTS = {
    "sr_unet": "packaged (light x2); published .pth (x2, x1.5)",
    "esrgan": "published .pth or .safetensors, all three layouts",
    "srvgg": "published .pth or .safetensors, ncnn .param/.bin",
    "srresnet": "published .pth with PReLU, batch norm or not",
    "espcn": "published .pth, RGB",
    "bicubic": "none needed",
    "lanczos": "none needed",
}


def rows() -> list[dict]:
    """One row a network at its defaults; nothing is computed but shapes."""
    return [_row(name) for name in MODELS]


def _row(name: str) -> dict:
    spec = MODELS[name]
    return {
        "name": name,
        "scale": "any" if spec.any_scale else spec.scale,
        "parameters": parameters(spec.module()),
        "flops_per_pixel": round(flops_per_pixel(spec.module())),
        "radius": spec.radius,
        "paper": spec.paper,
        "weights": WEIGHTS.get(name, "train it"),
    }


def parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(leaf.size for leaf in jax.tree.leaves(_variables(module)))


def flops_per_pixel(module: nn.Module) -> float:
    """Multiplications and additions in convolutions and matrix products per output pixel.

    Everything else (activations, sums, resampling) is left out, as papers do.
    """
    frames = _frames(module)
    traced = jax.make_jaxpr(module.apply)(_variables(module), frames)
    pixels = math.prod(traced.out_avals[0].shape[1:3])
    return _flops(traced.jaxpr) / pixels


def _frames(module: nn.Module) -> jax.ShapeDtypeStruct:
    side = 16 * getattr(module, "multiple", 1)
    return jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)


def _variables(module: nn.Module):
    return jax.eval_shape(module.init, jax.random.key(0), _frames(module))


def _flops(jaxpr: Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        out = equation.outvars[0].aval
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            channels = equation.params["dimension_numbers"].rhs_spec[0]
            total += 2 * out.size * math.prod(kernel) // kernel[channels]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * out.size * math.prod(equation.invars[0].aval.shape[i] for i in contracted)
        for inner in equation.params.values():
            if isinstance(inner, ClosedJaxpr | Jaxpr):
                total += _flops(getattr(inner, "jaxpr", inner))
    return total
