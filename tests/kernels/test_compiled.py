"""The kernels compile for real devices, without one, and stay within what a device has."""

import pytest

pytest.importorskip("kernels.launch")
from kernels import compiled
from kernels.table import OPS

TARGETS = (80, 90, 100)
FEW = ("conv3x3", "warp")
ONE_DEVICE = {"ring3x3"}  # written for sm_90 alone


def rows_of(**asked) -> list[compiled.Row]:
    """Operations with their default configs, at the first shape of the bench."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(compiled.ROOT / ".cache" / "triton"))
        return compiled.compiled(compiled.Args(quick=True, **asked))


def faults(rows: list[compiled.Row]) -> list[str]:
    return [f"{row.op} {row.dtype}: {row.fault}" for row in rows if row.fault]


def test_some_kernels_compile_within_the_limits():
    rows = rows_of(target=(90,), op=FEW, dtype=("bfloat16",))
    assert {row.op for row in rows} == set(FEW) and faults(rows) == []
    assert not any(row.late for row in rows)


@pytest.fixture(scope="module", params=TARGETS)
def rows(request):
    """Every operation in 16 bits."""
    return rows_of(target=(request.param,))


@pytest.mark.sweep
def test_every_kernel_compiles_within_the_limits(rows):
    assert faults(rows) == []


@pytest.mark.sweep
def test_no_operation_is_left_out(rows):
    wanted = {(name, d) for name, op in OPS.items() for d in op.dtypes if d != "float32"}
    assert wanted <= {(row.op, row.dtype) for row in rows}
    made = [row for row in rows if row.config != compiled.NONE]
    assert all(row.registers > 0 and row.warps > 0 for row in made)
    assert {row.op for row in rows} - {row.op for row in made} <= ONE_DEVICE


@pytest.mark.sweep
def test_what_products_read_is_fenced_before_the_barrier(rows):
    """Except where the left side comes from registers: one step's, and that of gathered taps."""
    late = {row.op for row in rows if row.late}
    assert late <= {"head", "deform3x3", "deform3x3 one group"}


def test_a_late_fence_is_told_from_one_in_time():
    write, fence, bar, product = (
        "st.shared.b16",
        "fence.proxy.async",
        "bar.sync 0",
        "wgmma.mma_async",
    )
    in_time, late = (write, fence, bar, product), (write, bar, fence, product)
    assert not compiled.fenced_late("\n".join(in_time))
    assert compiled.fenced_late("\n".join(late))
    assert compiled.fenced_late("\n".join(in_time + late))
    assert not compiled.fenced_late("\n".join((*in_time, write, bar, product)))


def made(**changes) -> compiled.Row:
    taken = {"registers": 168, "warps": 8, "shared": 232448, "target": 90} | changes
    return compiled.Row(op="conv", kernel="_kernel", shape="", dtype="", config="", **taken)


LIMITS = {
    "spills 16 bytes": {"stack": 16},
    "more shared memory than sm_90": {"shared": 232449},
    "more shared memory than sm_80": {"target": 80},
    "more registers": {"registers": 255, "warps": 16},
    "does not compile": {"error": "does not compile"},
}


@pytest.mark.parametrize("fault", LIMITS)
def test_each_limit_is_seen(fault):
    assert made().fault == ""
    assert fault in made(**LIMITS[fault]).fault


def test_a_fault_is_the_exit_status(monkeypatch, capsys):
    for rows, status in (([made()], 0), ([made(), made(stack=8)], 1)):
        monkeypatch.setattr(compiled, "compiled", lambda args, rows=rows: rows)
        assert compiled.main(compiled.Args(target=(90,))) == status
    assert "spills 8 bytes a thread" in capsys.readouterr().out


def test_an_unknown_operation_is_named():
    with pytest.raises(SystemExit, match=r"no operation conv9; there are .*int8_conv3x3"):
        compiled.compiled(compiled.Args(target=(90,), op=("conv9",)))
