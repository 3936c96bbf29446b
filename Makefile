# Two commands on a fresh machine: `make demo` shows what this is, `make test` proves that it works.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
DEMO := playground/demo
SHAPES := playground/shapes
SCORES := playground/data/demo
MODEL := $(if $(CKPT),--model-path $(CKPT))
BENCHMARK := scripts/v1_5/visiondrop_eval/shapes.sh

.PHONY: demo demo-shapes curve figures shapes test check test-lowest install clean

install: $(VENV)/installed

# pip with the tested versions: torch is pinned there because an open range pulls gigabytes of CUDA packages.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/python -m llava.eval.model_vqa_loader --model-path tests/parity/llava-tiny \
		--question-file $(DEMO)/questions.jsonl --image-folder tests/parity/images \
		--answers-file $(DEMO)/answers/answers.jsonl --overwrite --show 4 \
		--conv-mode vicuna_v1 --temperature 0 --max_new_tokens 8 --retain 32
	@echo 'This checkpoint has random weights, so its answers mean nothing; they are the ones the official code gives.'

# The shapes benchmark on a model that `make shapes` trained (CKPT, or playground/shapes/llava-shapes): all visual tokens, then a ninth of them.
demo-shapes: export OMP_WAIT_POLICY = PASSIVE
demo-shapes: install
	rm -rf $(SCORES)
	DATA=$(SCORES) METHOD=none PYTHON=$(BIN)/python bash $(BENCHMARK)
	DATA=$(SCORES) METHOD=visiondrop RETAIN=28 PYTHON=$(BIN)/python bash $(BENCHMARK)
	$(BIN)/python -m llava.eval.report --results $(SCORES)/results --no-paper
	$(BIN)/python -m llava.eval.visualize $(MODEL) --image $(SHAPES)/images/00000.png \
		--question 'Where is the red ring?' --retain 28 --output $(SCORES)/kept.png

# Every method at four budgets on that model: table, JSON and picture; some minutes.
curve: export OMP_WAIT_POLICY = PASSIVE
curve: install
	$(BIN)/python -m llava.eval.curve $(MODEL) --device cpu --dtype float32

figures: install
	$(BIN)/python -m llava.eval.diagram --output figures/method.png

# Train the small LLaVA from nothing: under two hours on two idle cores, minutes on a GPU. Interrupt it as you like;
# started again, it goes on from its last checkpoint. Waiting threads sleep, or a busy machine would be slowed by them.
shapes: install
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m playground.shapes.train --output $(SHAPES)/run
	$(BIN)/python -m playground.shapes.curve --run $(SHAPES)/run --output $(SHAPES)/run
	$(BIN)/python -m playground.shapes.score --checkpoint $(SHAPES)/run/llava-shapes

test: install
	$(BIN)/python -m pytest -n auto

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The same code against the lowest transformers that pyproject.toml admits.
test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/python -m pytest -n auto -m 'not slow'

$(LOWEST)/installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --constraint constraints-lowest.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(DEMO)/answers $(SCORES)
