# Everything below runs inside a virtual environment that `make setup` builds; a machine needs git, make and Python >= 3.11.
PYTHON ?= python3
UV     := .tools/bin/uv
RUN    := .venv/bin/
# Where a shell forbids bytecode, each of the hundreds of commands that the tests start would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE
export NO_ALBUMENTATIONS_UPDATE := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1

.PHONY: help setup demo demo-robot test lint types contracts pytest collected endurance jetson ros docs clean

help:            ## show this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: .venv/.ready   ## build the environment from uv.lock

.tools/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Vortex needs Python >= 3.11; run: make PYTHON=/path/to/python3.11 setup")'
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.*'

.venv/.ready: $(UV) uv.lock pyproject.toml
	$(UV) sync --locked --all-extras --quiet --python $(PYTHON)
	@touch $@

demo: setup      ## run the main job on synthetic frames: two domains, a specialist, a promotion
	$(RUN)vortex demo

demo-robot: setup ## what comes after: a robot pulls a version, runs it, and rolls a broken one back by itself
	$(RUN)vortex demo --robot

test: setup lint ## lint, types, import contracts, tests
	$(MAKE) --no-print-directory -j2 collected types contracts
	$(MAKE) --no-print-directory pytest

endurance: setup ## the tests that are long runs: a node that is lost, jobs that are killed, a registry that moves, dvc repro
	$(RUN)python -m pytest -n 3 --dist worksteal -m endurance

lint: setup
	$(RUN)ruff check
	$(RUN)ruff format --check

types: setup
	$(RUN)mypy

contracts: setup
	$(RUN)lint-imports

# Compiles what the tests import, once, and not in each of their processes; of all that is installed that is a third.
collected: setup
	@mkdir -p build
	$(RUN)python -m pytest --collect-only -qq > build/collected.txt || (cat build/collected.txt; exit 1)

pytest: setup
	$(RUN)python -m pytest -n 3 --dist worksteal -m "not endurance"

jetson: $(UV)    ## the robot's tests on its own Pythons, 3.10 and 3.12, with the packages of jetson/uv.lock
	jetson/test.sh $(UV)

ros: $(UV)       ## the ROS 2 node with the real rclpy, on Python 3.12
	tests/ros/run.sh

docs: setup      ## write the pages of docs/ that come from the code and from other pages
	$(RUN)python docs/generated.py

bench-loader bench-validate: setup  # beside the rivals that they are measured against
	$(UV) sync --locked --all-extras --group rivals --quiet --python $(PYTHON)
	$(RUN)python -m benchmarks.$(@:bench-%=%)

bench-%: setup  ## bench-cli, bench-real_frames, …: one benchmark of benchmarks/
	$(RUN)python -m benchmarks.$*

clean:           ## remove everything derived; data/ and mlruns/ stay
	rm -rf build .venv .tools .mypy_cache .ruff_cache .pytest_cache
