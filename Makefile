# Two commands matter: `make demo` shows the product, `make test` proves it.
PYTHON ?= python3
PORT ?= 8000
# STRIPE=fake lets the demo's money go through a fake Stripe, in a process of its own.
STRIPE ?=
STRIPE_PORT ?= 12111
SERVE ?= 1
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
READY := $(VENV)/.ready
FAKE_STRIPE = STRIPE_API_KEY=sk_test_fake STRIPE_WEBHOOK_SECRETS=whsec_fake \
	STRIPE_API_BASE=http://127.0.0.1:$(STRIPE_PORT) STRIPE_MIRROR=1
# Workers of the test run; the default is one per core. A file stays with one: its world is made once.
JOBS ?= auto

.PHONY: help setup demo serve test lint types contracts migrations deploy-check unit test-browser test-long bench format lock clean

help:
	@echo "make demo [SERVE=0] [PORT=8000] [STRIPE=fake]   the whole chain on real traffic, then the back office"
	@echo "make serve [PORT=8000]            the back office on the last demo's data"
	@echo "make test                         lint, types, contracts, migrations, tests"
	@echo "make test-browser                 the stories in a real browser, with pictures into docs/screens"
	@echo "make test-long | bench | format | lock | clean"

setup: $(READY)

# Debian's python3 may come without ensurepip; its pip can install into a bare environment.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@echo "Setting up $(VENV) (about a minute, once) ..."
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV); }
	@if [ -x $(BIN)/pip ]; then $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt; \
	else $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --require-hashes -r requirements.txt; fi
	@touch $@

demo: $(READY)
	@$(if $(filter fake,$(STRIPE)),$(FAKE_STRIPE)) $(MANAGE) demo --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve)

serve: $(READY)
	@$(MANAGE) serve --port $(PORT)

test: lint types contracts migrations deploy-check unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy .

contracts: $(READY)
	$(BIN)/lint-imports

migrations: $(READY)
	$(MANAGE) makemigrations --check --dry-run

deploy-check: $(READY)
	DEBUG=0 SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))') \
	ALLOWED_HOSTS=billing.example ALLOW_EMBEDDED_DATABASE=1 \
	$(MANAGE) check --deploy --fail-level WARNING

unit: $(READY)
	$(MANAGE) embedded_db start >/dev/null
	$(BIN)/pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not long and not browser"

# The system's Chromium; no browser is downloaded.
test-browser: $(VENV)/.browser
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -q chromium; } \
	|| { echo "There is no Chromium: install Debian's package chromium"; exit 1; }
	$(BIN)/pytest -q tests/browser

$(VENV)/.browser: tests/browser/requirements.txt $(READY)
	@if [ -x $(BIN)/pip ]; then $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<; \
	else $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<; fi
	@touch $@

test-long: $(READY)
	$(BIN)/pytest -q -m "long and not browser"

bench: $(READY)
	$(BIN)/python -m benchmarks

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Exact versions with hashes; no index address enters the file.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra test --extra check --generate-hashes --upgrade \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o requirements.txt

clean:
	-@[ -x $(BIN)/python ] && $(MANAGE) embedded_db stop
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
