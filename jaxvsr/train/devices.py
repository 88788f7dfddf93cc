"""Devices and processes: how a run starts on them, and how state and batches lie on them.

One command on one machine uses all of its devices. On several machines the same command is
started once on each of them (or once a GPU, as SLURM does), and JAX finds the others:

    python -m experiments.sr_unet --accelerator gpu                       # one machine
    srun --ntasks-per-node=8 --gpus-per-task=1 python -m experiments.sr_unet --accelerator gpu
    mpirun -n 16 python -m experiments.sr_unet --accelerator gpu          # Open MPI
    gcloud compute tpus tpu-vm ssh NAME --worker=all --command="python -m ... --accelerator tpu"

On Kubernetes (GKE) it is the command of an indexed Job; GPU pods need `pip install jax[k8s]`.
Where nothing tells JAX of the others, three variables do, on each machine its own PROCESS_ID:

    JAX_COORDINATOR_ADDRESS=10.0.0.1:1234 JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=0 python -m ...

All processes must see the same run folder: process 0 writes into it.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxvsr.errors import UsageError
from jaxvsr.host import allocator, cores

INSTALL = {"cpu": "", "gpu": "pip install 'jax[cuda13]'", "tpu": "pip install 'jax[tpu]'"}
EXPLICIT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start(accelerator: str, batch: int | None = None) -> None:
    """Takes "cpu", "gpu" or "tpu", and joins the other processes of the run where there are any.

    Call it before anything else touches JAX. Told how many rows a `batch` has, a process alone on
    a CPU shows its cores as devices, as many as divide the batch: XLA's convolutions of some
    dozens of channels keep one core busy, not two. JAX_NUM_CPU_DEVICES=1 leaves one device.
    UsageError where there is no such device, or where the other processes cannot be found.
    """
    if accelerator not in INSTALL:
        raise UsageError(f"accelerator {accelerator!r}: choose from {', '.join(INSTALL)}")
    jax.config.update("jax_platforms", {"gpu": "cuda"}.get(accelerator, accelerator))
    if not jax.distributed.is_initialized():
        _join(accelerator)
    if accelerator == "cpu" and batch is not None and not jax.distributed.is_initialized():
        show_cores(batch)
    try:
        jax.devices()
    except RuntimeError as error:
        remedy = f"{INSTALL[accelerator]}, or use --accelerator cpu"
        raise UsageError(f"JAX finds no {accelerator.upper()} here; {remedy}") from error
    if jax.default_backend() != accelerator:
        raise UsageError(f"JAX runs on {jax.default_backend()} already; start {accelerator} first")


def show_cores(batch: int) -> None:
    """Cores become devices that share a batch of so many rows, and memory stays with the process.

    To be called before JAX computes anything.
    """
    allocator.keep_memory()
    cores.show(sharing(batch, cores.usable()))


def sharing(batch: int, most: int) -> int:
    """The most devices, up to `most`, that get equally many rows of a batch."""
    return next(count for count in range(max(most, 1), 0, -1) if batch % count == 0)


def _join(accelerator: str) -> None:
    """`jax.distributed.initialize` where several processes were started."""
    given = [name for name in EXPLICIT if os.environ.get(name)]
    if 0 < len(given) < len(EXPLICIT):
        missing = ", ".join(name for name in EXPLICIT if name not in given)
        raise UsageError(f"{given[0]} is set, but not {missing}; set all three or none")
    try:
        if given:
            address, count, number = (os.environ[name] for name in EXPLICIT)
            jax.distributed.initialize(address, int(count), int(number))
        elif _among_others(os.environ) or (accelerator == "tpu" and _on_tpu_pod(os.environ)):
            jax.distributed.initialize()
    except (ValueError, RuntimeError, OSError) as error:
        cause = str(error).partition("\n")[0] or type(error).__name__
        remedy = f"start all of them, or set {', '.join(EXPLICIT)}"
        remedy += "; TPU_SKIP_MDS_QUERY=1 for a TPU alone" if accelerator == "tpu" else ""
        raise UsageError(f"the other processes of this run: {cause}; {remedy}") from error


def _among_others(env: Mapping[str, str]) -> bool:
    """True where SLURM, Open MPI or Kubernetes started more than this process."""
    # SLURM_STEP_NODELIST is srun's: a script of sbatch without srun is one process.
    slurm = "SLURM_STEP_NODELIST" in env and int(env.get("SLURM_NTASKS", 1)) > 1
    mpi = int(env.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
    job = "KUBERNETES_SERVICE_HOST" in env and "JOB_COMPLETION_INDEX" in env
    return slurm or mpi or job


def _on_tpu_pod(env: Mapping[str, str]) -> bool:
    """True on a slice of several hosts, or on several slices, found where JAX finds them.

    GKE sets variables; a TPU machine of Compute Engine is told by its metadata server, which may
    fail with OSError. Written by JAX's own code and not yet run on a TPU.
    """
    from jax._src.clusters import GceTpuCluster  # not public, so only where it is needed

    hosts = env.get("TPU_PROCESS_ADDRESSES", env.get("TPU_WORKER_HOSTNAMES"))
    if "MEGASCALE_COORDINATOR_ADDRESS" in env:
        return True
    if hosts is not None:
        return "," in hosts
    return GceTpuCluster.is_env_present() and GceTpuCluster.get_process_count() > 1


def shardings(devices: Sequence[jax.Device] | None = None) -> tuple[NamedSharding, NamedSharding]:
    """(whole on every device, split along the batch) over one "data" axis; all devices if None."""
    devices = jax.devices() if devices is None else devices
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))


def replicate(tree: Any, whole: NamedSharding) -> Any:
    """A tree that every process holds alike, on all devices."""
    place = lambda x: jax.make_array_from_callback(x.shape, whole, lambda index: x[index])
    return jax.tree.map(lambda x: place(np.asarray(x)), tree)


def distribute(batch: Mapping[str, Any], split: NamedSharding) -> dict[str, jax.Array]:
    """This process's rows as its part of the global batch."""
    place = jax.make_array_from_process_local_data
    return {name: place(split, np.asarray(rows)) for name, rows in batch.items()}


def highest(*values: int) -> tuple[int, ...]:
    """The largest of each value over all processes, so that they decide alike."""
    if jax.process_count() == 1:
        return values
    return tuple(int(v) for v in multihost_utils.process_allgather(np.int64(values)).max(0))


def everyones(text: str) -> list[str]:
    """A text of every process, in their order, on every process."""
    if jax.process_count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    (longest,) = highest(len(data))
    padded = np.zeros(longest, np.uint8)
    padded[: len(data)] = data
    rows = multihost_utils.process_allgather(padded)
    return [row.tobytes().rstrip(b"\0").decode() for row in rows]
