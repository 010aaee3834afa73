# Everything runs in an environment of its own; `make help` lists what there is.
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.ready-docs
RUN := runs/quickstart
DATA := $(RUN)/data
SERVING := $(RUN)/serving/atrank
LATEST = $(SERVING)/$$(ls $(SERVING) | sort -n | tail -1)
ML := runs/ml-100k

.PHONY: help quickstart movielens benchmark test chaos lint format docs clean

help:  ## Lists the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/'

# Python compiles what is ever imported, a small part of what is installed.
$(READY): setup.py constraints.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[demo,dev,plots,serving]'
	touch $@

$(DATA)/manifest.json: | $(READY)
	$(PYTHON) -m data_pipeline.prepare --recipe=completejourney --output_dir=$(DATA)

quickstart: $(READY) $(DATA)/manifest.json  ## Trains, exports, asks and evaluates a model of real data.
	$(PYTHON) -m atrank_tf.train --data_dir=$(DATA) --model_dir=$(RUN)/popularity --model=popularity
	$(PYTHON) -m atrank_tf.train --data_dir=$(DATA) --model_dir=$(RUN)/own_history --model=own_history
	$(PYTHON) -m atrank_tf.train --data_dir=$(DATA) --model_dir=$(RUN)/last_feature --model=last_feature
	$(PYTHON) -m atrank_tf.train --data_dir=$(DATA) --model_dir=$(RUN)/bpr --model=bpr \
	  --epochs=2 --max_history=1 --learning_rate=0.003
	$(PYTHON) -m atrank_tf.train --data_dir=$(DATA) --model_dir=$(RUN) --epochs=2 --num_negatives=2
	$(PYTHON) -m export.export_model --model_dir=$(RUN) --export_base=$(SERVING)
	$(PYTHON) -m export.score --saved_model=$(LATEST) --requests=examples/completejourney.jsonl
	$(PYTHON) -m atrank_tf.evaluate --data_dir=$(DATA) --model_dir=$(RUN) \
	  --baselines=$(RUN)/own_history,$(RUN)/last_feature,$(RUN)/bpr,$(RUN)/popularity
	@echo "try: $(VENV)/bin/tensorboard --logdir=$(RUN)   (curves)"
	@echo "try: another of 'make help', or your own logs: see 'Your own data' in README.md"

$(ML)/raw/u.data: | $(READY)
	$(PYTHON) -m data_pipeline.recipes.movielens_100k --output_dir=$(ML)/raw

$(ML)/data/manifest.json: $(ML)/raw/u.data
	$(PYTHON) -m data_pipeline.prepare --recipe=movielens --input_dir=$(ML)/raw --output_dir=$(ML)/data

movielens: $(READY) $(ML)/data/manifest.json  ## Trains and evaluates on MovieLens-100k.
	$(PYTHON) -m atrank_tf.train --data_dir=$(ML)/data --model_dir=$(ML)/popularity --model=popularity
	$(PYTHON) -m atrank_tf.train --data_dir=$(ML)/data --model_dir=$(ML)/bpr --model=bpr --epochs=40 \
	  --rows=queries --max_history=1 --max_tokens=512 --learning_rate=0.001 --decay=1
	$(PYTHON) -m atrank_tf.train --data_dir=$(ML)/data --model_dir=$(ML)
	$(PYTHON) -m atrank_tf.evaluate --data_dir=$(ML)/data --model_dir=$(ML) \
	  --baselines=$(ML)/bpr,$(ML)/popularity

benchmark: $(READY) $(ML)/data/manifest.json  ## Measures speed, and that of other libraries (takes its time, and downloads much).
	$(PYTHON) -m benchmarks --data_dir=$(ML)/data --output_dir=runs/benchmark

test: $(READY)  ## Runs every test.
	$(PYTHON) -m pytest

chaos: $(READY)  ## Kills processes and damages files thirty times as often as the tests.
	CHAOS_RUNS=30 $(PYTHON) -m pytest -n 2 tests/test_chaos.py

lint: $(READY)  ## Checks style and types.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY)  ## Puts the code into the project's format.
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(DOCS_READY): $(READY)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[docs]'
	touch $@

docs: $(DOCS_READY)  ## Builds the documentation, with the API reference, into build/site.
	$(PYTHON) -m mkdocs build --strict

clean:  ## Removes the environment, every run and the built pages.
	rm -rf $(VENV) runs build
