# Every target first updates .venv from requirements.lock. PYTHON names the interpreter to use.
PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.up-to-date
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true
# make would expand $(...) in what people give; recipes get the text as it is, through $(value ...).
unexport REASON TEXT FORCE PORT ONLY
.DEFAULT_GOAL := help
.PHONY: help install repro retrain pull follow remote current test test-slow test-all predict serve \
  review ui plots screenshots lint docs mutants rehearse clean lock spark test-spark

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

install: $(STAMP) ## bring .venv up to date with requirements.lock

repro: $(STAMP) ## run the stages whose inputs changed, and register the model
	@python -m pipeline.core.dvc_cache before # removes a dvc.lock that a kill has cut
	dvc repro
	@python -m pipeline.core.dvc_cache after # into the run cache, where DVC does not put outputs in Git

retrain: export WHY := $(value REASON)
retrain: remote ## retrain if there is a reason, and propose a better model; REASON='...' is one
	@code=0; python -m pipeline retrain decide --request="$$WHY" $(if $(value FORCE),--force) || code=$$?; \
	case $$code in \
	  0) python -m pipeline retrain run && dvc push && python -m pipeline propose ;; \
	  3 | 4 | 5) python -m pipeline propose ;; \
	  *) exit $$code ;; \
	esac

pull: remote ## download the data and models of dvc.lock from the DVC remote
	dvc pull --allow-missing

follow: remote ## make the registry follow the merged ledger
	python -m pipeline ledger follow

remote: $(STAMP) ## add a DVC remote in .dvc/kept if there is none
	@dvc remote default >/dev/null 2>&1 || dvc remote add --local --default kept .dvc/kept

current: $(STAMP) ## fail if dvc.lock is not up to date with code and params
	@stages=$$(dvc repro --dry --allow-missing) && \
	  ! echo "$$stages" | grep "^Running stage" | grep -v "'collect'\|'register'"

predict: export MESSAGE := $(value TEXT)
predict: $(STAMP) ## say whether messages are spam, one a line, and why: echo 'a message' | make predict
	@if [ -n "$$MESSAGE" ]; then printf '%s\n' "$$MESSAGE"; else cat; fi | python -m pipeline predict

serve: export SERVER_PORT := $(or $(value PORT),5001)
serve: $(STAMP) ## serve the champion on http://127.0.0.1:5001/invocations; PORT=... for another
	@exec python -m pipeline serve --port "$$SERVER_PORT"

review: export SERVER_PORT := $(or $(value PORT),5003)
review: $(STAMP) ## decide about doubtful messages on http://127.0.0.1:5003; PORT=... for another
	@exec python -m pipeline review-page --port "$$SERVER_PORT"

ui: export SERVER_PORT := $(or $(value PORT),5000)
ui: $(STAMP) ## browse runs and models in MLflow on http://127.0.0.1:5000; PORT=... for another
	@exec python -m pipeline ui --port "$$SERVER_PORT"

plots: $(STAMP) ## draw the plots of dvc.yaml on a page that works offline
	@mkdir -p dvc_plots
	@python -X utf8 -c 'import vl_convert; print(vl_convert.javascript_bundle())' > dvc_plots/vega.js
	dvc plots show

screenshots: $(STAMP) ## take the pictures in docs/screenshots after `make repro`; needs Chromium
	python -m docs.take_screenshots

PYTEST := python -m pytest --dist loadfile --no-loadscope-reorder
SPECIAL := slow or network or server or browser

test: $(STAMP) ## the fast tests: two minutes on two quick cores
	$(PYTEST) -n 3 -m "not ($(SPECIAL))"

test-slow: $(STAMP) ## all other tests; without PostgreSQL or Chromium some skip
	$(PYTEST) -n 3 -m "$(SPECIAL)" -rs # they often wait: for servers, processes and back-offs

test-all: test test-slow ## all tests

lint: $(STAMP) ## check style, formatting, types and the direction of imports
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache

docs: $(STAMP) ## write docs/reference from the code and build docs/_build/html
	python -m docs.generate_reference
	sphinx-build -W --keep-going --quiet -b html docs docs/_build/html

rehearse: $(STAMP) ## play seven weeks of scheduled retraining in a temporary folder
	python -m tests.harness.retraining_rehearsal

mutants: export MODULE := $(value ONLY)
mutants: $(STAMP) ## delete each check, find the test that fails; an hour or more; ONLY=core/files for one
	python -m tests.harness.mutants $${MODULE:+--only "$$MODULE"}

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet

lock: ## write both lock files from pyproject.toml; needs uv
	$(LOCK) --group dev pyproject.toml -o requirements.lock
	$(LOCK) --group spark --constraints requirements.lock -o requirements-spark.lock

test-spark: spark ## the tests of scoring on Spark; they need Java 17
	$(PYTEST) -m spark -rs

spark: $(STAMP) ## install Spark into .venv, for `score --engine spark`; it needs Java 17
	$(call LOCKED,0,requirements-spark.lock) | $(INSTALL) --only-binary=:all:
	$(call LOCKED,1,requirements-spark.lock) | $(INSTALL) --no-build-isolation --no-cache-dir

clean: ## remove the pipeline's outputs, but not downloads, the DVC cache or the registry
	rm -rf data/ingested data/validated data/vectorized data/docs models dvc_plots
	find data/review -mindepth 1 ! -name decisions.csv -delete 2>/dev/null || true # people's work stays
	rm -rf .checkpoints .compiled .pytest_cache .ruff_cache .mypy_cache

# Everything that is installed, or runs to build something, has its hash in a lock file: wheels
# first, then the packages without a wheel, which setuptools of the lock builds, not one that pip
# would fetch for the build.
SOURCE_ONLY := antlr4-python3-runtime|pyspark
LOCKED = awk '/^[^ \#]/ {source = /^($(SOURCE_ONLY))==/} source == $(1)' $(2)
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
  --no-deps --requirement /dev/stdin

$(STAMP): requirements.lock
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) not found; install Python 3.11, or: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(call LOCKED,0,requirements.lock) | $(INSTALL) --only-binary=:all:
	$(call LOCKED,1,requirements.lock) | $(INSTALL) --no-build-isolation --no-cache-dir
	@touch $(STAMP)
