# Everything runs in an environment of its own; `make help` lists what there is.
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
RUN := runs/quickstart
DATA := $(RUN)/data

.PHONY: help quickstart test lint format clean

help:  ## Lists the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/'

$(READY): setup.py constraints.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	touch $@

$(DATA)/manifest.json: | $(READY)
	$(PYTHON) -m data_pipeline.prepare --recipe=completejourney --output_dir=$(DATA)

quickstart: $(READY) $(DATA)/manifest.json  ## Trains, evaluates, exports and asks a model of real data.
	$(PYTHON) -m atrank_tf.train --data_dir=$(DATA) --model_dir=$(RUN)/popularity --model=popularity
	$(PYTHON) -m atrank_tf.train --data_dir=$(DATA) --model_dir=$(RUN)/bpr --model=bpr --epochs=2
	$(PYTHON) -m atrank_tf.train --data_dir=$(DATA) --model_dir=$(RUN) --epochs=2 --max_moments=8
	$(PYTHON) -m export.export_model --model_dir=$(RUN) --export_base=$(RUN)/serving/atrank
	$(PYTHON) -m export.verify --model_dir=$(RUN) --saved_model=$(RUN)/serving/atrank/1
	$(PYTHON) -m export.score --saved_model=$(RUN)/serving/atrank/1 --requests=examples/completejourney.jsonl
	$(PYTHON) -m atrank_tf.evaluate --data_dir=$(DATA) --model_dir=$(RUN) \
	  --baselines=$(RUN)/bpr,$(RUN)/popularity

test: $(READY)  ## Runs every test.
	$(PYTHON) -m pytest

lint: $(READY)  ## Checks style and types.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY)  ## Puts the code into the project's format.
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:  ## Removes the environment and every run.
	rm -rf $(VENV) runs
