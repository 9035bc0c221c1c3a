.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

# Where MNIST lies, if it does: the article's own experiment is shown then.
MNIST := $(wildcard $(or $(LRDECAY_DATA),data)/MNIST/raw/train-images-idx3-ubyte)

.PHONY: help run test test-fast test-all lint format docs figures clean tensorboard

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/run: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/dev: .venv/run
	$(BIN)/pip install --quiet --editable '.[dev,oracles,wandb,mlflow]'
	touch $@

# For the tests of the page, which are skipped, and say so, where there is no browser.
.venv/browser: .venv/dev
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ [ "$$(id -u)" = 0 ] && timeout 120 apt-get update -qq && timeout 600 apt-get install -qq --yes chromium >/dev/null; }; } \
		&& touch $@ || echo "no Chromium: install it to test the page in a browser too"

# For the tests of hydra/launcher=slurm, which are skipped where there is none.
.venv/slurm: .venv/dev
	@{ command -v slurmctld && command -v munged || \
		{ [ "$$(id -u)" = 0 ] && timeout 120 apt-get update -qq && timeout 600 apt-get install -qq --yes slurm-wlm munge; }; } >/dev/null \
		&& touch $@ || echo "no Slurm: install slurm-wlm and munge, as root, to test hydra/launcher=slurm too"

run: .venv/run  ## compare constant, step, exponential and cosine decay
	$(BIN)/python train.py -m experiment=$(if $(MNIST),demo_mnist,demo)

test: .venv/browser .venv/slurm  ## every test that needs no GPU
	$(BIN)/pytest -n auto --dist worksteal -m 'not gpu'

test-fast: .venv/dev  ## what needs no training and no other program, for every save
	$(BIN)/pytest -n auto --dist worksteal -m 'not gpu and not slow'

test-all: .venv/browser .venv/slurm  ## every test
	$(BIN)/pytest -n auto --dist worksteal

lint: .venv/dev  ## ruff, mypy, the layers of the packages, and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

docs: .venv/dev  ## the site: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

figures: .venv/browser  ## the figures of the documentation: minutes, and an hour for the article's, with MNIST
	$(BIN)/python scripts/figures.py catalogue report $(if $(MNIST),article)

format: .venv/dev  ## what ruff can fix by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

tensorboard: .venv/run  ## curves of all runs
	$(BIN)/tensorboard --logdir outputs

clean:  ## remove the environment and caches; outputs stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	find src tests scripts -name __pycache__ -prune -exec rm -rf {} +
