# `just` lists what can be asked for. Each line is what CI runs, or one of the README's commands.

_list:
    @just --list

# a virtual environment in .venv with all that tests need, and the hooks
setup:
    python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pre-commit install

# all that CI asks of a change
check: lint types test

# every test, a worker a core
test:
    .venv/bin/pytest -n auto

# the tests for every edit; `just fast tests/problem` for some of them
fast *paths:
    .venv/bin/pytest -n auto -m "not slow" {{ paths }}

# ruff's rules and layout
lint:
    .venv/bin/ruff check && .venv/bin/ruff format --check

# the layout, and what ruff can mend by itself
fix:
    .venv/bin/ruff check --fix && .venv/bin/ruff format

# mypy, strict
types:
    .venv/bin/mypy

# coverage by folder, of every test
coverage:
    .venv/bin/coverage run -m pytest -n auto && .ci/coverage

# the figures in README.md and docs/, from the files that hold them
figures:
    .venv/bin/python docs/figures.py

# the pages: figures, links, examples, commands, the site, and these habits
docs:
    .venv/bin/pytest tests/test_docs.py tests/test_habits.py tests/test_site.py tests/test_page_commands.py

# the pages as a site, in build/site/; a link that leads nowhere is an error
site:
    .venv/bin/mkdocs build --strict

# the site while its pages are edited
serve:
    .venv/bin/mkdocs serve

# the README's benchmark, minutes on two cores
bench:
    .venv/bin/robench bench digits

# wheel and sdist, in dist/
build:
    .venv/bin/python -m build
