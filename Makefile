# What a contributor types is what CI runs: each target is one script in scripts/.
.PHONY: help demo lab test faults full gpu check format bench setup clean

help:
	@echo "make demo     set up, run the quickstart without a browser, say what happened"
	@echo "make lab      open the quickstart in JupyterLab"
	@echo "make test     set up whatever is missing, check, then run every test"
	@echo "make faults   the cut run in full: 200 cuts, for each of SEEDS=\"1 2 3\""
	@echo "make gpu      on a machine with an NVIDIA GPU and PyTorch: the real driver, the real card"
	@echo "make full     every app of docs/tabs.md in both kinds of tab, Cancel with every ipykernel: minutes"
	@echo "make check    ruff, mypy for three platforms, the layers"
	@echo "make format   let ruff format and sort what it can"
	@echo "make bench    each case beside its peer: median, spread, ratio"
	@echo "make clean    remove what make made"

demo:
	@scripts/setup demo
	@.venv/bin/python scripts/demo.py

lab:
	@scripts/setup demo
	@scripts/frontend build
	@.venv/bin/jupyter lab notebooks/quickstart.ipynb

test:
	@scripts/test

SEEDS ?= 1 2 3
faults:
	@scripts/system
	@scripts/setup test
	@SEEDS="$(SEEDS)" .venv/bin/python -m tests.faults.cut_run

PYTHON ?= python3
gpu:
	@$(PYTHON) -m tests.real_gpu

full:
	@scripts/full

check:
	@scripts/check

format:
	@scripts/setup dev
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench:
	@scripts/system
	@scripts/setup test
	@.venv/bin/python -m benchmarks

clean:
	rm -rf labextension/node_modules labextension/lib labextension/dist .venv .full .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
