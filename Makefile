# Needs make and any Python with pip; everything else is installed into .venv by the targets that need it. The newest
# Python that all libraries have wheels for is taken from the PATH, or fetched where there is none.

SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON3 ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	found=$$(command -v $$name) && "$$found" -c '$(SUITABLE)' 2> /dev/null && echo "$$found" && break; done)
WITH_PIP = $(shell for name in '$(PYTHON3)' python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$name" -m pip --version > /dev/null 2>&1 && echo "$$name" && break; done)
FETCHED := 3.13
BIN := .venv/bin
UV := .bootstrap/bin/uv

# An installation is done again when its lock file's content changes, and only then.
checksum = $(shell cat $(1) 2>/dev/null | cksum | tr ' ' '-')
RUN_STAMP := .venv/installed-run-$(call checksum,requirements.txt)
DEV_STAMP := .venv/installed-dev-$(call checksum,requirements-dev.txt)
BENCH_STAMP := .venv/installed-bench-$(call checksum,requirements-bench.txt)
E2E_STAMP := .venv/installed-e2e-$(call checksum,requirements-e2e.txt)

# What the benchmarks' comparison of streams runs with. cryptofeed's releases differ by Python.
CRYPTOFEED := 'cryptofeed>=2.4.1' 'asyncpg>=0.30'

# Compiled bytecode halves every process's start.
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never

# What `check --deploy` judges: a production environment, with keys that open nothing and servers that do not exist.
PRODUCTION_LIKE := MARKETMON_HOME=/nonexistent DEBUG=0 USE_TLS=1 ALLOWED_HOSTS=marketmon.example \
	SECRET_KEY=only-for-make-check-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH \
	ADMIN_API_KEY=only-for-make-check-0123456789abcdefghijklmn METRICS_WEBHOOK_TOKEN=only-for-make-check \
	DATABASE_URL='postgres://check@/check?host=/nonexistent' REDIS_URL='unix:///nonexistent/valkey.sock?db=0'

.DEFAULT_GOAL := help
.PHONY: help run test lab check bench bench-cryptofeed e2e lock clean chromium
.DELETE_ON_ERROR:

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## */\1\t/' | expand -t 18

run: $(RUN_STAMP) ## run everything here, with simulated exchanges (PORT=8001 SANDBOX=off UP=--verbose make run)
	@exec $(BIN)/python manage.py up $(UP)

test: $(DEV_STAMP) ## run the tests, on real servers of their own (some of them: ARGS="-k gaps -x")
	@exec $(BIN)/python -m $(if $(ARGS),pytest $(ARGS),tests)

lab: $(DEV_STAMP) ## long tests, as root: kills, chance, servers from Debian (two minutes of it: ARGS="-m smoke")
	@exec $(BIN)/python -m pytest -p no:randomly tests/lab $(ARGS)

check: $(DEV_STAMP) ## format, lint, import layers, types, migrations, deployment checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	@echo '$(BIN)/python manage.py makemigrations --check'
	@$(PRODUCTION_LIKE) $(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	@echo '$(BIN)/python manage.py check --deploy --fail-level WARNING'
	@$(PRODUCTION_LIKE) $(BIN)/python manage.py check --deploy --fail-level WARNING

bench: $(DEV_STAMP) $(BENCH_STAMP) ## measure ourselves against the alternatives (benchmarks/results.json)
	@exec $(BIN)/python -m benchmarks $(ARGS)

# It brings order_book (GPLv3): in no lock file and in no environment of ours, fetched only by who asks for it.
bench-cryptofeed: | $(UV) ## fetch cryptofeed, to which make bench then compares the stream (GPLv3 parts)
	@echo 'installing cryptofeed into .venv-cryptofeed ...'
	@if [ -x $(UV) ]; then $(UV) venv -q --clear --python '$(PYTHON3)' .venv-cryptofeed && \
		$(UV) pip install -q --python .venv-cryptofeed/bin/python $(CRYPTOFEED); \
	else '$(PYTHON3)' -m venv --clear --without-pip .venv-cryptofeed && \
		'$(PYTHON3)' -m pip --python .venv-cryptofeed/bin/python install -q --root-user-action=ignore $(CRYPTOFEED); fi

e2e: $(DEV_STAMP) $(E2E_STAMP) | chromium ## use the running system through a browser (docs/img anew: ARGS=--pictures)
	@exec $(BIN)/python -m pytest -p no:randomly --timeout=420 tests/e2e $(ARGS)

lock: $(UV) ## choose new versions: requirements*.in -> requirements*.txt
	@for name in $(basename $(wildcard requirements*.in)); do \
		echo "locking $$name.in"; \
		$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
			--custom-compile-command 'make lock' $$name.in -o $$name.txt || exit 1; \
	done

clean: ## remove what can be made again (collected data stays)
	@rm -rf .venv .venv-cryptofeed .bootstrap .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d .marketmon ]; then echo 'collected data and passwords stay in .marketmon; rm -r .marketmon forgets them'; fi

# --- installation -----------------------------------------------------------------------------------------------

$(RUN_STAMP): | $(BIN)/python
	$(call install,requirements.txt)
	@touch $@

$(DEV_STAMP): | $(BIN)/python
	$(call install,requirements-dev.txt)
	@touch $@ $(RUN_STAMP)

$(BENCH_STAMP): | $(DEV_STAMP)
	$(call install,requirements-bench.txt)
	@touch $@

$(E2E_STAMP): | $(DEV_STAMP)
	$(call install,requirements-e2e.txt)
	@touch $@

# Debian's own browser; Playwright's downloads are as large and come from elsewhere.
chromium:
	@if command -v chromium > /dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2> /dev/null; then sudo=sudo; \
	else echo 'the browser tests need Chromium, and only root may install it: apt install chromium' >&2; exit 1; fi; \
	echo 'installing chromium ...'; \
	$$sudo apt-get -q update > /dev/null && \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends chromium fonts-dejavu-core > /dev/null

# uv takes seconds, but knows its own certificates and indexes only: behind a company's proxy it is told to use the
# system's certificates, and where pip.conf names the one index that can be reached, pip does the work.
define install
@$(BIN)/python -c '$(SUITABLE)' || \
	{ echo 'the Python of .venv is none of 3.11, 3.12 and 3.13: make clean, then try again' >&2; exit 1; }
@echo "installing $$(grep -cE '^[A-Za-z0-9]' $(1)) packages of $(1) into .venv ..."; \
start=$$(date +%s); log=.venv/install.log; : > $$log; \
uv_install() { $(UV) pip install -q "$$@" --python $(BIN)/python --compile-bytecode --require-hashes -r $(1) >> $$log 2>&1; }; \
if [ -x $(UV) ] && { uv_install || uv_install --system-certs; }; then :; else \
	echo 'uv could not; trying pip, which takes about a minute ...'; \
	'$(WITH_PIP)' -m pip --python $(BIN)/python install -q --root-user-action=ignore --require-hashes -r $(1) >> $$log 2>&1 \
		|| { cat $$log >&2; exit 1; }; \
fi; \
echo "installed in $$(($$(date +%s) - start)) s"
endef

# Debian's python3 has neither ensurepip nor the right to install for everybody; this asks for neither.
$(BIN)/python: | $(UV)
	@if [ -z '$(PYTHON3)' ]; then \
		echo 'fetching Python $(FETCHED): there is none of 3.11, 3.12 and 3.13 here ...'; \
		{ [ -x $(UV) ] && UV_PYTHON_DOWNLOADS=automatic $(UV) venv -q --clear --python $(FETCHED) .venv; } || \
		{ echo 'marketmon needs Python 3.11, 3.12 or 3.13 (others lack wheels of its libraries), and none could be' \
			'fetched: install one, or choose one with PYTHON3=/path/to/python3.13 make ...' >&2; exit 1; }; \
	elif [ -x $(UV) ]; then $(UV) venv -q --clear --python '$(PYTHON3)' .venv; \
	else '$(PYTHON3)' -m venv --clear --without-pip .venv; fi

$(UV):
	@[ -z '$(PYTHON3)' ] || '$(PYTHON3)' -c '$(SUITABLE)' || \
		{ echo "marketmon needs Python 3.11, 3.12 or 3.13, and $$('$(PYTHON3)' -V 2>&1) is none of them:" \
			'choose another with PYTHON3=/path/to/python3.13 make ..., or leave PYTHON3 out' >&2; exit 1; }
	@[ -n '$(WITH_PIP)' ] || { echo 'marketmon needs pip once: apt install python3-pip' >&2; exit 1; }
	@echo 'fetching the installer (uv) into .bootstrap ...'
	@'$(WITH_PIP)' -m pip install -q --disable-pip-version-check --root-user-action=ignore --target .bootstrap uv \
		2> /dev/null || echo 'no uv for this machine'
