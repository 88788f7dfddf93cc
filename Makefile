# make demo [CLIP=my.mp4] [MODEL=name|path] [CRF=32]   see the result on a made or on your own clip
# make test | quick | test-all | test-gpu | test-web | lint | bench | clean

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# pip compiles to bytecode on one core, and that is most of an installation; this does on all.
BYTECODE = $(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true

.PHONY: demo test quick test-all test-gpu test-web lint bench clean

demo: $(VENV)/.base
	$(BIN)/python -m tools.demo \
		$(if $(CLIP),--clip "$(CLIP)") $(if $(MODEL),--model "$(MODEL)") $(if $(CRF),--crf $(CRF))

# A file's tests stay in one process: they share what they compiled. The limit is for what not even
# a test's own limit ends; without `timeout` (macOS) there is none.
LIMIT = $(if $(shell command -v timeout),timeout -k 30 $(1))
PYTEST = $(BIN)/python -m pytest -q -n auto --dist loadfile --max-worker-restart=0

test: lint
	$(call LIMIT,45m) $(PYTEST)

# Sweeps too, which repeat a proof over many shapes, dtypes and formats: before a release.
test-all: lint
	$(call LIMIT,3h) $(PYTEST) -m "not gpu and not web"

# For the inner loop: the layout, habits, and one proof a room.
quick: lint
	$(call LIMIT,5m) $(PYTEST) -m quick

# pytest exits with 5 where no test carries the mark.
define marked
$(2) -m pytest -q -m $(1) || { status=$$?; \
	if [ $$status -eq 5 ]; then echo "test-$(1): no test needs it yet; nothing was run"; \
	else exit $$status; fi; }
endef

# The system's Python where its JAX sees the GPU (a prepared machine), else one made here.
SEES := -c "import jax; jax.devices('gpu')" 2>/dev/null
test-gpu:
	@if $(PYTHON) $(SEES); then $(call marked,gpu,$(PYTHON)); \
	elif ! command -v nvidia-smi >/dev/null; then echo "test-gpu: no NVIDIA GPU here; nothing was run"; \
	else $(MAKE) --no-print-directory $(VENV)/.gpu && $(call marked,gpu,$(BIN)/python); fi

test-web: $(VENV)/.test
	@$(call marked,web,$(BIN)/python)

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

bench: $(VENV)/.test
	$(BIN)/python -m tools.bench_enhance
	$(BIN)/python -m tools.bench_compare
	$(BIN)/python -m tools.bench_train

clean:
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache demo build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp appears only after its installation ended well, so a broken one is done again.
$(VENV)/.python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "cannot make $(VENV): install Python's venv module (Debian, Ubuntu: python3-venv)"; exit 1; }
	@touch $@

$(VENV)/.base: $(VENV)/.python pyproject.toml
	$(PIP) install --no-compile -e .
	@$(BYTECODE)
	@touch $@

# torch first and pinned: a plain `torch` lets the resolver pick gigabytes of CUDA libraries.
# JAX's CUDA plugin alone (7 MB): programs with kernels are lowered for CUDA where no GPU is.
$(VENV)/.test: $(VENV)/.python pyproject.toml
	$(PIP) install --no-compile "$(TORCH)"
	$(PIP) install --no-compile -e ".[test]"
	@jaxlib=$$($(BIN)/python -c "import jaxlib; print(jaxlib.__version__)"); \
	$(PIP) install --no-deps "jax-cuda13-plugin==$$jaxlib" 2>/dev/null \
		|| echo "no CUDA plugin for this machine: tests that lower programs for CUDA are skipped"
	@$(BYTECODE)
	@touch $@ $(VENV)/.base

$(VENV)/.gpu: $(VENV)/.test
	$(PIP) install "jax[cuda13]"
	@touch $@
