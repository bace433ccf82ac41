# make demo: environment, simulated ben-ge, study of five fusion strategies, report.   make test: environment, all tests.   make docs: this documentation as a site.   make dist: wheel and sdist, checked and tried.
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo
PATCHES := 960
SCENES := 120
CHANGES :=
# Modules are compiled when they are first used: most never are. Where Python may write none, all are, or every process would compile them.
PIP := -m pip install --quiet --disable-pip-version-check $(if $(PYTHONDONTWRITEBYTECODE),,--no-compile)

.PHONY: install demo test lint docs dist bench clean

install: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) --editable '.[dev]'
	touch $@

demo: install
	test -d $(DEMO)/ben-ge-simulated || $(BIN)/eofuse simulate $(DEMO)/ben-ge-simulated --patches $(PATCHES) --scenes $(SCENES) --seed 2
	$(BIN)/eofuse pack $(DEMO)/ben-ge-simulated $(DEMO)/ben-ge-simulated.store
	$(BIN)/eofuse study recipes/demo.yaml --store $(DEMO)/ben-ge-simulated.store --to $(DEMO)/study $(CHANGES)

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.docs
	$(BIN)/python -m sphinx -j auto -q -W --keep-going -d build/doctrees docs build/docs
	@echo build/docs/index.html

.venv/.docs: .venv/.installed
	$(BIN)/python $(PIP) --editable '.[docs]'
	touch $@

dist: install
	rm -rf dist build/lib && mkdir -p build
	$(BIN)/python $(PIP) build
	$(BIN)/python -m build --outdir dist .
	git ls-files src/eofuse | cut -d/ -f2- | sort > build/in-tree
	$(BIN)/python -m zipfile -l dist/*.whl | grep -o '^eofuse/[^ ]*' | sort | diff build/in-tree -
	tar -tf dist/*.tar.gz | grep -o 'src/eofuse/.*[^/]$$' | cut -d/ -f2- | sort | diff build/in-tree -
	.ci/wheel

bench: install
	$(BIN)/python benchmarks/data_path.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/training_step.py --target worldcover --batch 16
	$(BIN)/python benchmarks/full_size.py --patches 5000 --only open "check of the index" "split and leakage" prepare "order, balanced" suggest

clean:
	rm -rf $(DEMO) build dist docs/course src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
