# make demo [CLIP=my.mp4] [MODEL=name|path] [CRF=32]   see the result on a made or on your own clip
# make test | test-gpu | test-web | lint | bench | clean

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test test-gpu test-web lint bench clean

demo: $(VENV)/.base
	$(BIN)/python -m tools.demo \
		$(if $(CLIP),--clip "$(CLIP)") $(if $(MODEL),--model "$(MODEL)") $(if $(CRF),--crf $(CRF))

test: lint
	$(BIN)/python -m pytest -q

# pytest exits with 5 where no test carries the mark.
define marked
$(BIN)/python -m pytest -q -m $(1) || { status=$$?; \
	if [ $$status -eq 5 ]; then echo "test-$(1): no test needs it yet; nothing was run"; \
	else exit $$status; fi; }
endef

test-gpu: $(VENV)/.test
	@if $(BIN)/python -c "import jax; jax.devices('gpu')" 2>/dev/null; then $(call marked,gpu); \
	else echo "test-gpu: JAX sees no GPU here; nothing was run"; fi

test-web: $(VENV)/.test
	@$(call marked,web)

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
	$(PIP) install -e .
	@touch $@

# torch first and pinned: a plain `torch` lets the resolver pick gigabytes of CUDA libraries.
$(VENV)/.test: $(VENV)/.python pyproject.toml
	$(PIP) install "$(TORCH)"
	$(PIP) install -e ".[test]"
	@touch $@ $(VENV)/.base
