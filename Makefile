# make demo | serve | test | validate | check | lint | benchmark. Needs Python >= 3.11 and make; without make, run the commands beneath a target.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo serve test validate benchmark check lint clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Lutetia needs Python 3.11 or newer")'
	@echo 'Installing into .venv; this takes a minute or more ...'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,nuclides,postgresql,dask]'
	touch $@

demo: .venv/installed
	$(BIN)/lutetia demo

serve: .venv/installed
	$(BIN)/lutetia serve --data demo-trial --demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2

PATIENT15 ?= ../shared/data/patient15

validate: .venv/installed
	$(BIN)/lutetia validate --out docs/validation/figures.md $(if $(wildcard $(PATIENT15)),--patient15 $(PATIENT15))
	$(if $(wildcard $(PATIENT15)),$(BIN)/python benchmarks/validation_patient15.py $(PATIENT15))

check: .venv/installed
	scripts/check

lint: .venv/installed
	scripts/check lint

benchmark: .venv/installed
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv demo demo-trial out
