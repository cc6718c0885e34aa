# Each target first brings .venv up to date with requirements.lock; PYTHON chooses the interpreter.
PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.up-to-date
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true
.DEFAULT_GOAL := help
.PHONY: help repro retrain remote current test test-all predict serve ui plots screenshots lint mutants rehearse clean lock

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

repro: $(STAMP) ## run the pipeline: whatever changed since the last run, and register
	dvc repro
	@dvc commit --force --quiet # puts what ran into the run cache: by itself DVC leaves out stages with outputs in Git

retrain: export WHY := $(value REASON)
retrain: remote ## retrain if there is reason to, and propose the winner, as CI does each day; REASON='...' is one
	@code=0; python -m pipeline retrain decide --request="$$WHY" $(if $(FORCE),--force) || code=$$?; \
	case $$code in \
	  0) python -m pipeline retrain run && dvc push && python -m pipeline propose ;; \
	  3 | 4 | 5) python -m pipeline propose ;; \
	  *) exit $$code ;; \
	esac

remote: $(STAMP) ## see that DVC has a remote: yours, or a folder beside its cache
	@dvc remote default >/dev/null 2>&1 || dvc remote add --local --default kept "$(CURDIR)/.dvc/kept"

current: $(STAMP) ## see that dvc.lock is what this code and these params make
	@said=$$(dvc repro --dry --allow-missing) && ! echo "$$said" | grep "^Running stage" | grep -v "'register'"

predict: export MESSAGE := $(value TEXT)
predict: $(STAMP) ## ask the champion about one message: make predict TEXT='WIN a prize now'
	@printf '%s\n' "$$MESSAGE" | python -m pipeline score - -

serve: $(STAMP) ## the champion answers on http://127.0.0.1:5001/invocations, until Ctrl-C; PORT for another port
	@exec python -m pipeline serve --port "$${PORT:-5001}"

ui: $(STAMP) ## browse runs, models and versions on http://127.0.0.1:5000, or say where they are
	@case "$$MLFLOW_TRACKING_URI" in \
	  http*) echo "they are on the server that MLFLOW_TRACKING_URI names: open it" ;; \
	  *) exec mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}" --host 127.0.0.1 --port "$${PORT:-5000}" ;; \
	esac

plots: $(STAMP) ## draw the plots of dvc.yaml on a page that needs no network
	@mkdir -p dvc_plots
	@python -X utf8 -c 'import vl_convert; print(vl_convert.javascript_bundle())' > dvc_plots/vega.js
	dvc plots show

screenshots: $(STAMP) ## take the pictures of docs/screenshots again, of what `make repro` left (needs Chromium)
	python -m benchmarks.screenshots

test: $(STAMP) ## every test that needs nothing but the lock
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not network and not server and not browser"

test-all: $(STAMP) ## also those that need the SMS messages, PostgreSQL or Chromium, skipped with the reason where missing
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -rs

lint: $(STAMP) ## style, formatting and types
	ruff check .
	ruff format --check .
	mypy

rehearse: $(STAMP) ## six weeks of scheduled retraining, on a Git origin, a DVC remote and an MLflow server of its own
	python -m benchmarks.rehearsal

mutants: $(STAMP) ## delete each check in turn, and name the test that fails: half an hour; ONLY=ingest for one module
	python -m benchmarks.mutants $(if $(ONLY),--only $(ONLY))

lock: ## make requirements.lock again from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --group dev --quiet pyproject.toml -o requirements.lock

clean: ## remove what the pipeline made, but not downloads, the cache or the registry
	rm -rf data/ingested data/validated data/vectorized data/review data/docs models dvc_plots .checkpoints .pytest_cache .ruff_cache .mypy_cache

$(STAMP): requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11, or: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $(STAMP)
