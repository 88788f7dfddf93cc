"""The networks as rows for people: size, cost, reach, paper, and where weights come from."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxvsr.models import MODELS

WEIGHTS = {
    "sr_unet": "packaged; published .pth (x2, x1.5)",
    "esrgan": "published .pth or .safetensors, all three layouts, ncnn .param/.bin",
    "srvgg": "published .pth or .safetensors, ncnn .param/.bin; others with --arch",
    "srresnet": "published .pth with PReLU, batch norm or not; others with --arch",
    "espcn": "published .pth, RGB, with tanh; others with --arch",
    "bicubic": "none needed",
    "lanczos": "none needed",
}


def rows() -> list[dict]:
    """One row a network at its defaults; nothing is computed but shapes."""
    return [_row(name) for name in MODELS]


def _row(name: str) -> dict:
    spec = MODELS[name]
    count, flops = cost(spec.module())
    return {
        "name": name,
        "scale": "any" if spec.any_scale else spec.scale,
        "parameters": count,
        "flops_per_pixel": round(flops),
        "radius": spec.radius,
        "paper": spec.paper,
        "weights": WEIGHTS.get(name, "train it"),
    }


def cost(module: nn.Module) -> tuple[int, float]:
    """How many numbers are learned, and the floating-point operations per output pixel.

    Multiplications and additions of convolutions and matrix products count; everything else
    (activations, sums, resampling) is left out, as papers do. Thin groups that run on this
    device as one dense convolution (see `ops.conv`) count as what runs.
    """
    side = 16 * getattr(module, "multiple", 1)
    frames = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    traced, (out, variables) = jax.make_jaxpr(module.init_with_output, return_shape=True)(
        key, frames
    )
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))
    return count, _flops(traced.jaxpr) / math.prod(out.shape[1:3])


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
