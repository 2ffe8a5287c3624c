# Every target works on a fresh clone. PYTHON is any Python 3.11 to 3.13 with pip 22.3 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TRAIN := .venv-train
TPY := $(TRAIN)/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check
AUDIO ?= examples/quartet.flac
OUT ?= out
DATA ?= data
RUNS ?= runs
MINUTES ?= 80
REAL ?= $(DATA)/real

.PHONY: install preview demo test test-slow test-daw test-train train train-rhythm results lint format bench bench-bridge clean

install: $(VENV)/core.stamp

# pip stays outside the environment: the product does not need it
$(VENV)/core.stamp: requirements/core.txt pyproject.toml
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PIP) --python $(BIN)/python install --quiet --no-deps -r requirements/core.txt
	$(PIP) --python $(BIN)/python install --quiet --no-deps --editable .
	$(BIN)/python -m score_pipeline doctor --quiet
	touch $@

preview: $(VENV)/preview.stamp

$(VENV)/preview.stamp: $(VENV)/core.stamp requirements/preview.txt
	$(PIP) --python $(BIN)/python install --quiet --no-deps -r requirements/preview.txt
	touch $@

demo: install
	$(BIN)/score-pipeline convert --force --stems -o $(OUT) "$(AUDIO)"

$(VENV)/test.stamp: $(VENV)/core.stamp requirements/test.txt
	$(PIP) --python $(BIN)/python install --quiet --no-deps -r requirements/test.txt
	touch $@

test: $(VENV)/test.stamp lint
	$(BIN)/python -m pytest

test-slow: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m slow

test-daw: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m daw

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(TRAIN)/train.stamp: requirements/core.txt requirements/test.txt requirements/train.txt
	$(PYTHON) -m venv --without-pip $(TRAIN)
	$(PIP) --python $(TRAIN)/bin/python install --quiet --no-deps \
		-r requirements/core.txt -r requirements/test.txt -r requirements/train.txt
	touch $@

test-train: $(TRAIN)/train.stamp
	$(TRAIN)/bin/python -m pytest tests/models

# DATA holds notes/, scores/, real/, teachers/ and dev/ as the READMEs of models/ and its docstrings describe them.
# Each step goes on where it was stopped. More folders of real solos can be named for the detector: REAL="a b".
train: $(TRAIN)/train.stamp
	$(TPY) -m models.detection.overlap --real $(REAL) --dev $(DATA)/dev
	$(TPY) -m models.data.render --notes $(DATA)/notes --scores $(DATA)/scores --out $(RUNS)/renders/train \
		--split train --clips 3000 --seconds 12 --seed 1
	$(TPY) -m models.data.render --notes $(DATA)/notes --scores $(DATA)/scores --out $(RUNS)/renders/dev \
		--split dev --clips 150 --seconds 10 --seed 2
	$(TPY) -m models.data.chorales --out $(RUNS)/chorales
	$(TPY) -m models.data.render --notes $(DATA)/notes --scores $(RUNS)/chorales --out $(RUNS)/renders/chorales \
		--split train --clips 320 --seconds 12 --seed 31
	for kind in train chorales; do $(TPY) -m models.detection.examples --renders $(RUNS)/renders/$$kind --stems \
		--out $(RUNS)/detection/$$kind --teacher $(DATA)/teachers || exit; done
	$(TPY) -m models.detection.examples --renders $(RUNS)/renders/dev --whole \
		--out $(RUNS)/detection/dev --teacher $(DATA)/teachers
	for folder in $(REAL); do $(TPY) -m models.detection.examples --real $$folder \
		--out $(RUNS)/detection/real --teacher $(DATA)/teachers || exit; done
	$(TPY) -m models.detection.encounters --real $(REAL) --renders $(RUNS)/renders/train --clips 2600 \
		--out $(RUNS)/detection/encounters --teacher $(DATA)/teachers
	$(TPY) -m models.train_detection --train $(RUNS)/detection/train $(RUNS)/detection/chorales \
		--real $(RUNS)/detection/real $(RUNS)/detection/encounters \
		--dev $(RUNS)/detection/dev --run $(RUNS)/detection/run --steps 11000
	$(TPY) -m models.detection.band_scenes --real $(REAL) --renders $(RUNS)/renders/train $(RUNS)/renders/chorales \
		--teacher $(DATA)/teachers --scenes 30000 --seed 1 --out $(RUNS)/bands/train
	$(TPY) -m models.detection.band_scenes --renders $(RUNS)/renders/dev --scenes 600 --seed 77 \
		--out $(RUNS)/bands/held
	$(TPY) -m models.train_full_band --scenes $(RUNS)/bands/train --apart $(RUNS)/bands/held --run $(RUNS)/full_band
	$(TPY) -m models.train_attribution --train $(RUNS)/detection/train $(RUNS)/detection/chorales \
		--real $(RUNS)/detection/real --run $(RUNS)/attribution
	$(TPY) -m models.train_separation --renders $(RUNS)/renders --real $(DATA)/real --out $(RUNS)/separation/run \
		--minutes $(MINUTES)
	$(TPY) -m models.export_detection --run $(RUNS)/detection/run --full-band $(RUNS)/full_band \
		--scenes $(RUNS)/bands/train --real $(RUNS)/detection/real --dev $(RUNS)/detection/dev \
		--renders $(RUNS)/renders/train $(RUNS)/renders/chorales --data $(DATA) --out models/weights/detector
	$(TPY) -m models.export_attribution --run $(RUNS)/attribution --real $(RUNS)/detection/real \
		--renders $(RUNS)/renders/train $(RUNS)/renders/chorales --data $(DATA)
	$(TPY) -m models.export_separation --run $(RUNS)/separation/run --out models/weights/separator

# The tables that find beats and bars. MORE names further scores, see models.rhythm_scores and models.mutopia_scores.
train-rhythm: $(TRAIN)/train.stamp
	for step in rhythm listener; do $(TPY) -m models.fit_$$step --scores $(DATA)/scores --more $(MORE) || exit; done
	$(TPY) -m models.fit_critic --scores $(DATA)/scores --more $(MORE) --checkpoint $(RUNS)/rhythm/critic.pt

# every table of models/RESULTS.md
results: $(TRAIN)/train.stamp
	$(TPY) -m models.evaluate_detection --data $(DATA) --renders $(RUNS)/renders/dev --dev $(RUNS)/detection/dev \
		--results models/RESULTS.md --confusion models/confusion.png
	$(TPY) -m models.paper_table --train $(RUNS)/detection/train $(RUNS)/renders/train \
		--dev $(RUNS)/detection/dev $(RUNS)/renders/dev --data $(DATA) --out $(RUNS)/paper --results models/RESULTS.md
	$(TPY) -m models.evaluate_separation --data $(DATA)/dev --renders $(RUNS)/renders
	$(TPY) -m models.evaluate_notes --data $(DATA) --renders $(RUNS)/renders/dev --results models/RESULTS.md
	$(TPY) -m models.evaluate_rhythm --scores $(DATA)/scores --performances $(DATA)/performances

clean:
	rm -rf $(VENV) $(TRAIN) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

bench: install
	$(BIN)/python -m models.bench

# the bridge's promises, a line each (10 minutes on two busy cores)
bench-bridge: $(VENV)/test.stamp
	$(BIN)/python -m tests.plugin_bridge.bars
