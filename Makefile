# make study    install into .venv, run the first study on embedded images, print what it found
# make test     install into .venv, run the linters, the type checker and the fast tests (.ci/run: all)
# make docs     install into .venv, build the documentation into build/site; warnings are errors
PYTHON ?= python3
BIN := .venv/bin

.PHONY: study test docs clean

study: .venv/study
	$(BIN)/python train.py --config configs/digits.yaml --experiment-id digits
	$(BIN)/python eval.py --experiment-id digits

test: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest -n auto; tests=$$?; wait $$types && exit $$tests

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv cache checkpoints/digits

.venv/study: pyproject.toml requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m compileall -q src tests # as pip does with packages that are not editable
	touch $@

.venv/test: .venv/study
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

.venv/docs: .venv/study
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@
