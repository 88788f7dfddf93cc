"""One run on one device, on eight, and on two processes: the same result."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import little_run
import numpy as np
import pytest
from jax._src.clusters import cloud_tpu_cluster

from jaxvsr import train
from jaxvsr.errors import UsageError
from jaxvsr.host import cores
from jaxvsr.train import devices

ROOT = Path(__file__).parents[2]
PATIENCE = 150  # seconds; it takes about fifteen


def start(folder, count, **env):
    return little_run.start(folder, "--steps", "12", devices=count, **env)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a run of two processes of two devices."""
    two = tmp_path_factory.mktemp("two")
    address = f"127.0.0.1:{free_port()}"
    variables = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    started = [start(two, 2, **variables, JAX_PROCESS_ID=str(i)) for i in range(2)]
    try:
        for process in started:
            told = process.communicate(timeout=PATIENCE)[1]
            assert process.returncode == 0, told
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=PATIENCE)
    return two


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return little_run.run(folder, 12, on=jax.devices()[:1]).state


def assert_same(state, other):
    for name, value in little_run.leaves(state).items():
        np.testing.assert_allclose(other[name], value, atol=1e-5, rtol=1e-5, err_msg=name)


def test_two_processes_change_nothing(runs, alone):
    assert_same(alone, np.load(runs / "final.npz"))


@pytest.mark.sweep
def test_eight_devices_change_nothing(alone, tmp_path):
    process = start(tmp_path, 8)
    try:
        told = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, told
    finally:
        process.kill()
    assert_same(alone, np.load(tmp_path / "final.npz"))


def test_two_processes_write_one_log_and_one_set_of_checkpoints(runs):
    lines = (runs / "log.jsonl").read_text().splitlines()
    assert sum('"total"' in line for line in lines) == 12
    names = {path.name for path in (runs / "checkpoints").iterdir()}
    assert names == {"0", "8", "12", "lock"}


def test_a_run_of_two_processes_goes_on_in_one(runs, alone):
    """Twelve steps of two processes, and one more alone, are thirteen of any."""
    end = little_run.run(runs, 12, on=jax.devices()[:1])
    assert_same(alone, little_run.leaves(end.state))


def test_four_devices_change_nothing(alone, tmp_path):
    assert_same(alone, little_run.leaves(little_run.run(tmp_path, 12).state))


def test_a_process_alone_joins_nobody():
    train.start("cpu")
    assert jax.process_count() == 1


def test_an_unknown_accelerator_is_told():
    with pytest.raises(UsageError, match="choose from cpu, gpu, tpu"):
        train.start("npu")


def test_a_late_start_is_told(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(UsageError, match="JAX runs on gpu already"):
        train.start("cpu")


def test_half_of_the_variables_is_told(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    with pytest.raises(UsageError, match="JAX_COORDINATOR_ADDRESS, JAX_PROCESS_ID"):
        train.start("cpu")


@pytest.mark.parametrize(
    ("env", "others"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "4"}, False),  # sbatch without srun
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "n[1-2]"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"KUBERNETES_SERVICE_HOST": "x"}, False),
        ({"KUBERNETES_SERVICE_HOST": "x", "JOB_COMPLETION_INDEX": "0"}, True),
    ],
)
def test_a_cluster_is_known_by_its_variables(env, others):
    assert devices._among_others(env) is others


def test_a_tpu_pod_is_known_by_its_variables():
    assert devices._on_tpu_pod({"TPU_WORKER_HOSTNAMES": "a,b"})
    assert devices._on_tpu_pod({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_COORDINATOR_ADDRESS": "b"})
    assert not devices._on_tpu_pod({"TPU_WORKER_HOSTNAMES": "a"})
    assert not devices._on_tpu_pod({})  # no TPU here


def test_cores_are_devices_that_share_a_batch():
    assert [devices.sharing(batch, 8) for batch in (1, 6, 7, 12, 32)] == [1, 6, 7, 6, 8]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("batch", "env", "count"),
    [
        ("32", {}, devices.sharing(32, cores.usable())),
        ("1", {}, 1),
        ("32", {"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ("32", {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
    ],
)
def test_a_run_on_a_cpu_uses_its_cores(batch, env, count):
    told = "from jaxvsr import train; import jax; train.start('cpu', {}); print(jax.device_count())"
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | env
    command = [sys.executable, "-c", told.format(batch)]
    how = {"capture_output": True, "text": True, "timeout": PATIENCE}
    done = subprocess.run(command, env=env, cwd=ROOT, check=True, **how)
    assert int(done.stdout) == count


@pytest.fixture
def joined(monkeypatch):
    """f(answer): the calls to JAX on a TPU machine of Compute Engine with such a server."""
    calls = []

    def machine(answer):
        monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
        monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", answer)
        monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
        monkeypatch.setattr(jax.distributed, "initialize", lambda *args: calls.append(args))
        devices._join("tpu")
        return calls

    return machine


@pytest.mark.parametrize(
    ("workers", "calls"), [("10.0.0.1", []), ("a:b:10.0.0.1,a:c:10.0.0.2", [()])]
)
def test_a_tpu_pod_is_known_by_its_metadata(joined, workers, calls):
    told = {"agent-worker-number": "1", "worker-network-endpoints": workers, "tpu-env": ""}
    assert joined(lambda key: (told[key], 200)) == calls


def test_a_tpu_machine_that_is_no_pod_is_alone(joined):
    assert joined(lambda key: ("not found", 404)) == []


def test_a_metadata_server_out_of_reach_is_told(joined):
    def answer(key):
        raise ConnectionError("no route to metadata.google.internal")

    with pytest.raises(UsageError, match=r"no route .*TPU_SKIP_MDS_QUERY=1 for a TPU alone"):
        joined(answer)
