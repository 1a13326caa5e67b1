# Everything runs in .venv, with the versions of constraints.txt. `make` alone lists the targets.

PYTHON ?= python3
JOBS ?= 2
ARGS ?=
PIP_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)

# Stamps: .core has what simulates and compares, .all every extra too. Either is redone when the declared dependencies change.
CORE := $(VENV)/.core
ALL := $(VENV)/.all

# Ray has an environment of its own: RLlib pins an older gymnasium.
RAY_VENV := .venv-ray
RAY := $(RAY_VENV)/.ray

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install compare test check format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="..." is handed to the program (compare) or to pytest (test), PIP_ARGS="..." to pip.'

install: $(ALL) ## create .venv with every extra

compare: $(CORE) ## compare the schedulers on the same episodes; ARGS="--help" lists the options
	@$(BIN)/python -m baselines.compare $(ARGS)

bench: $(CORE) ## measure speed beside CartPole-v1; ARGS="--quick" tries it out
	$(BIN)/python -m baselines.bench $(ARGS)

test: $(ALL) ## run all tests, JOBS=2 at a time; ARGS="-k name" selects
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(ALL) ## formatting, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(ALL) ## rewrite the sources in the project's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

clean: ## remove .venv, builds, caches and results
	rm -rf $(VENV) $(RAY_VENV) build dist site results htmlcov .coverage .cache .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and f"prema-gym needs Python 3.11 or later, {sys.executable} is {v}; choose another with PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing prema-gym and its core dependencies into $(VENV) ..."
	@$(PIP_INSTALL) --editable .
	@touch $@

$(ALL): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing prema-gym with every extra into $(VENV); the first time takes some minutes ..."
	@$(PIP_INSTALL) --editable ".[all]"
	@touch $(CORE) $@

# --- The kernel held against the reference --------------------------------------------------------------------------------------

EPISODES ?= 2000
CASES ?= 10000
.PHONY: differential golden mutation notebooks programs fuzz kills soak

fuzz: $(ALL) ## call every public entry with CASES=10000 hostile inputs each; exit 1 if any ends in anything but success or a typed error
	@cd tests && ../$(BIN)/python -m hostile $(CASES) $(ARGS)

KILLS ?= 200
COMMAND_KILLS ?= 50
kills: $(ALL) ## kill training runs KILLS=200 times, comparisons and sweeps COMMAND_KILLS=50 times, at random moments, and see that nothing is lost
	@cd tests && ../$(BIN)/python -m tools.kills cma --kills $(KILLS)
	@cd tests && ../$(BIN)/python -m tools.kills masked_ppo --kills $(KILLS)
	@cd tests && ../$(BIN)/python -m tools.kills maskable_ppo --kills $(KILLS)
	@cd tests && ../$(BIN)/python -m tools.kills compare --kills $(COMMAND_KILLS)
	@cd tests && ../$(BIN)/python -m tools.kills sweep --kills $(COMMAND_KILLS)

DECISIONS ?= 100000000
soak: $(ALL) ## play DECISIONS=100000000 over all policies and scenarios in one process; exit 1 if memory grows
	@cd tests && ../$(BIN)/python -m tools.soak $(DECISIONS) $(ARGS)

differential: $(ALL) ## play EPISODES=2000 random episodes on the kernel and on the reference; exit 1 if any differ
	@cd tests && ../$(BIN)/python -m tools.differential $(EPISODES)

golden: $(ALL) ## write the golden episodes anew, where the machine is meant to have changed
	@cd tests && ../$(BIN)/python -m tools.golden_episodes

notebooks: $(ALL) ## run the notebooks and write them with their outputs; ARGS="03" runs one
	@cd tests && ../$(BIN)/python -m tools.notebooks $(ARGS)

programs: $(ALL) ## compile anew the programs that come with the package, after a change of the hardware model or of a network
	@cd tests && ../$(BIN)/python -m tools.shipped_programs

mutation: $(ALL) ## change the code line by line and see that the tests notice; takes long
	@cd tests && ../$(BIN)/python -m tools.mutation $(ARGS)

# --- The paper's study ----------------------------------------------------------------------------------------------------------

.PHONY: reproduce

reproduce: $(CORE) ## repeat the paper's study with intervals, in minutes; ARGS="--help" lists the options
	@$(BIN)/python -m baselines.reproduce $(ARGS)

.PHONY: sweep
sweep: $(CORE) ## play policies on streams over a range of loads; ARGS="--help" lists the options
	@$(BIN)/python -m baselines.sweep $(ARGS)

# --- Beyond one machine ---------------------------------------------------------------------------------------------------------

.PHONY: ray test-ray

ray: $(RAY) ## create .venv-ray, an environment of its own, with the extras onnx, ray and rl
test-ray: $(RAY) ## run the tests that need Ray; ARGS="-k name" selects
	@$(RAY_VENV)/bin/python -m pytest tests/scaling $(ARGS)

$(RAY): pyproject.toml constraints-ray.txt
	@echo "Installing prema-gym with Ray into $(RAY_VENV) ..."
	@$(PYTHON) -m venv $(RAY_VENV)
	@$(RAY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-ray.txt $(PIP_ARGS) --editable ".[onnx,ray,rl]" pytest
	@touch $@

# --- The site -------------------------------------------------------------------------------------------------------------------

.PHONY: docs
docs: $(ALL) ## build the pages into site/; a warning is an error
	@$(BIN)/python docs/tables.py --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# --- Learning -------------------------------------------------------------------------------------------------------------------

.PHONY: train tune-index

train: $(ALL) ## train a scheduler in minutes; ARGS="--help" lists the options
	@$(BIN)/python -m agents.train $(if $(ARGS),$(ARGS),--algo cma)

tune-index: $(ALL) ## tune the index rule and its front, the opponents of learned policies; ARGS="--help" lists the options
	@$(BIN)/python -m agents.tune_index $(ARGS)
