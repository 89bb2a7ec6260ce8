# snn-asr: `make` lists what there is to make. Everything runs in .venv, which is made once.
PYTHON ?= python3
WORKERS ?= 2
DEMO ?= results/demo
JOBS ?= 2
TABLES ?=
DATA ?= ../shared/data
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
INSTALL := -c constraints.txt -e '.[demo,figures,test,dev]'

.DEFAULT_GOAL := help
.PHONY: help install demo results bench bench-full bench-streaming test test-fast test-faults test-resume fuzz sanitize lint types clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

install: $(STAMP) ## Make the Python environment in .venv

# uv installs in a quarter of pip's time; it knows nothing of pip's settings (mirrors), so pip stands behind it.
$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (half a minute with uv, three minutes with pip) ..." >&2
	@uv venv --quiet --seed --allow-existing --python '>=3.10,<3.14' $(VENV) 2>/dev/null || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet uv || true
	@PATH="$$PATH:$(CURDIR)/$(BIN)" uv pip install --quiet --python $(BIN)/python $(INSTALL) \
		|| $(BIN)/python -m pip install --quiet $(INSTALL)
	@touch $@

# Every step goes on where an interrupted one stopped, or finds its work done. The GRU, slowest on a CPU, goes first.
demo: $(STAMP) ## Speak a corpus, train a spiking network and its twins on it, decode, compare (in results/demo)
	$(BIN)/snn-asr prepare demo --output-folder $(DEMO)/corpus
	$(BIN)/snn-asr compare Demo --encoders gru,improved_v2,lstm --jobs 2 \
		--data-folder $(DEMO)/corpus --output-folder $(DEMO)/runs \
		--report $(DEMO)/report.html > $(DEMO)/comparison.txt
	$(BIN)/snn-asr decode $(DEMO)/runs/improved_v2*/model $(DEMO)/corpus/audio/librispeech/test-demo \
		--output-folder $(DEMO)/transcripts > /dev/null
	@$(BIN)/snn-asr compare $(DEMO)/runs/*-seed1

# Runs are kept in results/COMMIT: interrupted ones go on, finished ones are not repeated.
results: $(STAMP) ## Every table of README.md and docs/results.md from this commit (TABLES=an4 for one, JOBS=2; days)
	$(BIN)/python benchmarks/results.py make $(TABLES) --jobs $(JOBS) --data $(DATA)

bench: $(STAMP) ## A training step of five encoders beside torch's LSTM and GRU: table, plots (results/bench, 10-15 minutes)
	$(BIN)/python benchmarks/train_step.py --quick --threads 2 --plot results/bench

bench-full: $(STAMP) ## The same of every encoder and backend, more rounds (results/bench-full, half an hour or more)
	$(BIN)/python benchmarks/train_step.py --backends cpu,reference --threads 2 --plot results/bench-full

bench-streaming: $(STAMP) ## Frame by frame on one core, beside torch's and ONNX Runtime's GRU and LSTM (some minutes)
	@uv pip install --quiet --python $(BIN)/python -e '.[onnx]' 2>/dev/null || $(BIN)/python -m pip install --quiet -e '.[onnx]'
	$(BIN)/python benchmarks/streaming.py --json results/streaming.json --plot results/streaming.png

test-faults: $(STAMP) ## Bring about every fault of tests/faults, the slow ones too; a table by kind ends it (some minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m 'not gpu' tests/faults

test-resume: $(STAMP) ## End a hundred trainings at random moments, go on with them, compare the bits (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m 'not gpu' tests/training/test_resume.py

fuzz: $(STAMP) ## Give every loader damaged files for FUZZ_SECONDS (60) each; only errors for the user may come out
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m 'not gpu' tests/fuzz

sanitize: $(STAMP) ## Kernels of the GPU under compute-sanitizer (needs a GPU and CUDA's tools)
	$(BIN)/python benchmarks/gpu_session.py --out results/sanitize sanitizer

# A file of tests goes to one worker: what its tests share, and kernels that only they need, are made once.
test: $(STAMP) ## Run the tests, the thorough ones too (no GPU, no network; some minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m 'not slow and not gpu'

test-fast: $(STAMP) ## Run what plain pytest runs, for while you work: most of the tests, a part of the time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

lint: $(STAMP) ## Check the style
	$(BIN)/ruff check .

types: $(STAMP) ## Check the types (mypy, strict on snn_asr and cli)
	$(BIN)/mypy

clean: ## Remove the environment, builds and caches (never results/)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
