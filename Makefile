# Every target sets the environment up in .venv if it is missing or older than the lock.
PYTHON ?= python3
UV = .venv/bin/uv
PACKAGES = common speechflow ainn emoconv_diff genner_tts ser
READY = .venv/.ready

.PHONY: install quickstart test lint format lock bench soak

install: $(READY)

$(READY): requirements.lock $(PACKAGES:%=packages/%/pyproject.toml)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 13) or sys.exit("emovc needs Python 3.11 or 3.12, found %d.%d: run make PYTHON=python3.11" % v)'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	test -x $(UV) || .venv/bin/pip install --quiet "$$(grep -oE '^uv==[0-9.]+' requirements.lock)"
	VIRTUAL_ENV=.venv $(UV) pip sync --require-hashes requirements.lock
	VIRTUAL_ENV=.venv $(UV) pip install --no-deps --no-build-isolation $(PACKAGES:%=-e packages/%)
	touch $@

quickstart: $(READY)
	.venv/bin/emovc quickstart

# A worker a core. A file's tests stay together: they share what a fixture trained.
test: lint
	OMP_NUM_THREADS=1 .venv/bin/pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: $(READY)
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: $(READY)
	$(UV) pip compile --upgrade --quiet --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 pyproject.toml --group dev \
	  $(foreach p,$(PACKAGES),--no-emit-package emovc-$(subst _,-,$(p))) -o requirements.lock

# A kill loop over prepare, fit, evaluate and quantize; docs/reliability.md has its table.
soak: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python benchmarks/soak.py

bench: $(READY)
	for file in benchmarks/bench_*.py; do .venv/bin/python $$file || exit 1; done
