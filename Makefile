# Every target sets up what it needs; nothing is done twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINIMUM := .venv-minimum
REFERENCES := .venv-references
BASELINES := .venv-baselines
SETUP := pyproject.toml constraints.txt runtime/pyproject.toml training/pyproject.toml export/pyproject.toml

export ORT_DISABLE_TELEMETRY := 1

.PHONY: setup demo results experiments test lint types unit test-minimum test-references sionna-values diffusers-values test-baselines baselines train-baselines test-brokers bundle bench soak bench-mesh bench-parts bench-simulator wheels clean

setup: $(VENV)/.installed

$(VENV)/.installed: $(SETUP)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
	    --editable runtime --editable training --editable export --group dev
	touch $@

# With Sionna and diffusers, the independent references of radio and solvers.
$(REFERENCES)/.installed: $(SETUP)
	$(PYTHON) -m venv $(REFERENCES)
	$(REFERENCES)/bin/python -m pip install --quiet --constraint constraints.txt pip
	$(REFERENCES)/bin/python -m pip install --quiet --constraint constraints.txt \
	    --editable runtime --editable training --editable export --group dev --group references
	touch $@

# The base station alone, on the oldest ONNX Runtime that it supports: no torch, no onnx.
$(MINIMUM)/.installed: $(SETUP)
	$(PYTHON) -m venv $(MINIMUM)
	$(MINIMUM)/bin/python -m pip install --quiet --constraint constraints.txt pip
	grep -v '^onnxruntime==' constraints.txt > $(MINIMUM)/constraints.txt
	$(MINIMUM)/bin/python -m pip install --quiet --constraint $(MINIMUM)/constraints.txt \
	    onnxruntime==1.23.2 --editable runtime pytest pytest-timeout pytest-xdist hypothesis
	touch $@

# The MARL libraries are heavy and release rarely: they have an environment of their own.
$(BASELINES)/.installed: $(SETUP)
	$(PYTHON) -m venv $(BASELINES)
	$(BASELINES)/bin/python -m pip install --quiet --constraint constraints.txt pip
	$(BASELINES)/bin/python -m pip install --quiet --constraint constraints.txt \
	    --editable runtime --editable training[baselines] --editable export --group dev
	touch $@

# All tasks one after the other, about 90 s each; `make demo TASK=sched` plays one of them.
TASK ?= power sched sleep
demo: setup
	set -e; for task in $(TASK); do \
	    $(BIN)/networld demo --task $$task --episodes 4 --support-episodes 2 --picture demo-$$task.png; \
	done
	@echo "pictures: $(TASK:%=demo-%.png)"

# The figures and pictures of README.md and docs/results.md, measured again.
results: setup
	$(BIN)/networld demo --json docs/demo.json --picture docs/demo.png
	$(BIN)/networld evaluate --bundle bundles/networld --episodes 32 --jobs 2 --json docs/evaluation.json \
	    --scenario power/umi200 --scenario power/umi100 --scenario sched/umi200-moderate \
	    --scenario sched/umi200-heavy --scenario sleep/uma500-low --scenario sleep/uma500-high
	$(BIN)/networld evaluate --all-baselines --bundle bundles/networld
	$(BIN)/python docs/update_results.py

# Every experiment of benchmarks/experiments, with their models; many hours, goes on where it stopped.
experiments: setup
	set -e; for file in benchmarks/experiments/*.toml; do $(BIN)/networld experiment $$file; done
	$(BIN)/python docs/update_experiments.py

# Brokers that the tests of the mesh are run against; tests of one that is not there are skipped.
AEDES := tests/brokers/aedes
test-brokers: $(if $(shell command -v npm),$(AEDES)/node_modules/.package-lock.json)
	@PATH="$$PATH:/usr/sbin" command -v mosquitto > /dev/null || echo "mosquitto is not installed: its tests are skipped"
	@command -v npm > /dev/null || echo "npm is not installed: the tests with aedes are skipped"

$(AEDES)/node_modules/.package-lock.json: $(AEDES)/package-lock.json
	npm ci --prefix $(AEDES) --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved=true \
	    && touch $@ || echo "aedes cannot be installed: its tests are skipped"

test: lint types unit test-minimum

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup test-brokers
	$(BIN)/pytest --numprocesses 2

test-minimum: $(MINIMUM)/.installed
	$(MINIMUM)/bin/pytest --numprocesses 2 tests/runtime

# TorchRL and BenchMARL environments, and short trainings with IPPO, MAPPO and QMIX.
test-baselines: $(BASELINES)/.installed
	$(BASELINES)/bin/pytest tests/training/environments tests/training/baselines

# The environment with BenchMARL alone.
baselines: $(BASELINES)/.installed

# All learned baselines, into runs/baselines; finished ones are left as they are, interrupted ones resumed.
TASKS ?= power sched sleep
METHODS ?= bc iql dd ippo ippo-unshared mappo qmix
SEEDS ?= 0 1 2 3 4
train-baselines: $(BASELINES)/.installed
	mkdir -p runs/baselines
	set -e; for task in $(TASKS); do for method in $(METHODS); do for seed in $(SEEDS); do \
	    case $$method in \
	        bc|iql|dd) options="--data runs/data/$$task-mixed";; \
	        *-unshared) options="--set share=false";; \
	        *) options=;; \
	    esac; \
	    OMP_NUM_THREADS=1 $(BASELINES)/bin/networld baseline --task $$task \
	        --method $${method%-unshared} --seed $$seed $$options \
	        --output runs/baselines/$$task-$$method-$$seed.safetensors; \
	done; done; done

# Has Sionna and diffusers compute their values again and compares them with the frozen ones.
test-references: $(REFERENCES)/.installed
	$(REFERENCES)/bin/pytest tests/training/validation

sionna-values: $(REFERENCES)/.installed
	$(REFERENCES)/bin/python tests/training/validation/make_sionna_values.py

diffusers-values: $(REFERENCES)/.installed
	$(REFERENCES)/bin/python tests/training/validation/make_diffusers_values.py

bundle: setup
	$(BIN)/networld bundle make

# Latency, scores and other planners: the report, and the figures and picture of README.md; wants an idle machine.
QUICK ?=
bench: setup
	$(BIN)/networld bench --bundle bundles/networld $(QUICK) --output bench.html --json docs/bench.json \
	    --csv docs/bench.csv --picture docs/bench.png
	$(BIN)/python docs/update_bench.py

# Ten minutes of a cell at 20 ms slots, with adaptations; wants an idle machine.
MINUTES ?= 10
soak: setup
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES) --json docs/soak.json

# How many cells a computer and a broker bear, and an outage; six minutes, wants an idle machine and mosquitto.
bench-mesh: setup
	$(BIN)/python benchmarks/mesh_load.py $(QUICK) --json docs/mesh.json --csv docs/mesh.csv --picture docs/mesh.png
	$(BIN)/python docs/update_mesh.py

# Each part of a slot by itself, with pytest-benchmark.
bench-parts: setup
	$(BIN)/pytest benchmarks --benchmark-columns=min,median,iqr,ops

# The simulator's speed beside mobile-env, for docs/: wants an idle machine.
bench-simulator: setup
	$(BIN)/pytest benchmarks/bench_simulator.py --speed-folder docs --benchmark-columns=min,median,iqr,ops

# All that edge_configs/install.sh needs on a board without a network; BOARD="--platform aarch64 --python-version 3.11".
BOARD ?=
wheels:
	PYTHON=$(PYTHON) edge_configs/collect_wheels.sh --output dist/wheels $(BOARD)

clean:
	rm -rf $(VENV) $(MINIMUM) $(REFERENCES) $(BASELINES) $(AEDES)/node_modules runs
