"""A jitted program with kernels becomes one program for CUDA, on a machine that has none.

Each program is traced in a process of its own: KERNELS_TARGET is read when the kernels are first
imported, and then they are compiled for that device instead of being interpreted.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("kernels.launch")
if not any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
    pytest.skip("no CUDA plugin of JAX: nothing can be lowered", allow_module_level=True)

ROOT = Path(__file__).parents[2]
START = r"""
import json
import re
import jax
import jax.numpy as jnp

def say(f, *arrays):
    text = jax.jit(f).trace(*arrays).lower(lowering_platforms=("cuda",)).as_text()
    count = lambda word: text.count("stablehlo." + word)
    found = {w: count(w) for w in ("custom_call", "convolution")}
    found["kernels"] = count("custom_call @triton_kernel_call_ffi")
    joins = re.findall(r"concatenate .*dim = 3 : .*-> tensor<1x16x32x\d+x\w+>", text)
    found["joined"] = sum("x0x" not in join for join in joins)  # padding by nothing is one too
    print(json.dumps(found))
"""
INT8 = """
from kernels import int8
key = jax.random.key(0)
arrays = jax.eval_shape(lambda: int8.example(key, (1, 16, 32, 64)))
say(int8.int8_conv3x3, *arrays)
loss = lambda x, w, b, m: int8.int8_conv3x3(x, w, b, m, out="float32").sum()
say(jax.value_and_grad(loss, 3), *arrays)
"""
NETWORK = """
from jaxvsr.models.{module} import {name}
frames = jax.ShapeDtypeStruct((1, 16, 32, 3), "{dtype}")
net = {name}({fields})
params = jax.eval_shape(net.init, jax.random.key(0), frames)
params = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, "{dtype}"), params)
for impl in ("xla", "triton"):
    say(net.clone(impl=impl).apply, params, frames)
"""
SRRESNET = {"module": "srresnet", "name": "SRResNet", "fields": "scale=2, features=16, blocks=2"}
ESRGAN = {"module": "esrgan", "name": "RRDBNet", "fields": "features=16, growth=16, blocks=1"}


def lowered(code: str) -> list[dict[str, int]]:
    """What each program that `code` says consists of."""
    cache = str(ROOT / ".cache" / "triton")
    settings = {"KERNELS_TARGET": "90", "JAX_PLATFORMS": "cpu", "TRITON_INTERPRET": "0"}
    settings |= {"TRITON_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", START + code]
    out = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | settings, timeout=150
    )
    assert out.returncode == 0, out.stderr[-3000:]
    return [json.loads(line) for line in out.stdout.splitlines() if line[:1] == "{"]


def test_an_operation_is_one_custom_call():
    forward, gradient = lowered(INT8)
    assert forward == {"kernels": 1, "custom_call": 1, "convolution": 0, "joined": 0}
    assert gradient["kernels"] == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_network_runs_on_kernels(dtype):
    """SRResNet: 2 x 2 in the trunk, 1 behind it, 1 that enlarges; XLA may keep the 9x9 ends."""
    xla, triton = lowered(NETWORK.format(dtype=dtype, **SRRESNET))
    assert (xla["kernels"], xla["convolution"]) == (0, 8)
    assert triton["kernels"] + triton["convolution"] == 8 and triton["kernels"] >= 6, triton


@pytest.mark.sweep
def test_dense_blocks_join_nothing():
    """ESRGAN's blocks write channel slices of one array: 3 x 4 concatenations are gone."""
    xla, triton = lowered(NETWORK.format(dtype="float16", **ESRGAN))
    assert (xla["joined"], triton["joined"]) == (12, 0)
    assert triton["kernels"] >= 15
