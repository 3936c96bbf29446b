# Two commands on a fresh machine: `make demo` shows what this is, `make test` proves that it works.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
WEB := .venv-web
RAY := .venv-ray
VLLM := .venv-vllm
LMMS := .venv-lmms
SHAPES := playground/shapes
SCORES := playground/data/demo
# As many tests at once as there are cores, neighbours on the same one: they share what was loaded.
PARALLEL := -n auto --dist worksteal
MODEL := $(if $(CKPT),--model-path $(CKPT))
BENCHMARK := scripts/v1_5/visiondrop_eval/shapes.sh
PICTURE := $(SHAPES)/images/00000.png
QUESTION := 'Where is the white ring?'

.PHONY: demo gpu curve figures shapes shapes-lora web web-test test fuzz check test-lowest test-ray test-vllm test-harness
.PHONY: install environments test-long clean

install: $(VENV)/installed

# An environment of its own, with the tested versions: torch is pinned because an open range pulls gigabytes of CUDA
# packages. pip compiles what it installs: where PYTHONDONTWRITEBYTECODE is set, every process would do it again.
define environment
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet $(PINNED) $(word 2,$^) $(WANTED)
	$(if $(MENDED_BY),$(@D)/bin/python $(MENDED_BY))
	touch $@
endef
PINNED = --constraint
WANTED = --editable '.[dev]'

$(VENV)/installed: pyproject.toml constraints.txt
	$(environment)

.venv-%/installed: pyproject.toml constraints-%.txt
	$(environment)

$(WEB)/installed: WANTED = --editable '.[web]' pytest playwright
$(RAY)/installed: WANTED = --editable '.[ray]' pytest openai
$(LMMS)/installed: WANTED = --editable '.[lmms]' pytest pytest-xdist
# vLLM names some hundred megabytes that a CPU and pictures do not need, so its environment is a list of all it has.
# PyPI's torchvision is a CUDA build, which the script makes do with a torch that is none.
$(VLLM)/installed: PINNED = --no-deps --requirement
$(VLLM)/installed: WANTED = --editable .
$(VLLM)/installed: MENDED_BY = scripts/torchvision_without_cuda.py

# All of them: with --jobs, one unpacks while another waits for the network.
environments: $(patsubst %,%/installed,$(VENV) $(LOWEST) $(WEB) $(RAY) $(VLLM) $(LMMS))

# The shapes benchmark on the model that ships with the project (CKPT: on another): all visual tokens, then a ninth.
demo: export OMP_WAIT_POLICY = PASSIVE
demo: install
	rm -rf $(SCORES)
	DATA=$(SCORES) METHOD=none PYTHON=$(BIN)/python bash $(BENCHMARK)
	DATA=$(SCORES) METHOD=visiondrop RETAIN=28 PYTHON=$(BIN)/python bash $(BENCHMARK)
	$(BIN)/python -m llava.eval.visualize $(MODEL) --image $(PICTURE) --question $(QUESTION) \
		--retain 28 --output $(SCORES)/kept.png
	$(BIN)/python -m llava.eval.report --results $(SCORES)/results --no-paper
	@echo 'What was kept of one picture: $(SCORES)/kept.png'

# One GPU examined in one call of at most ten minutes: are answers right there, how fast, how far from its peak. Nothing
# is installed or fetched: PYTHON is any Python that has torch and transformers, a machine's own or this project's.
gpu:
	PYTHONPATH=. $(PYTHON) -m llava.eval.gpu --output figures/speed_gpu

# Every method at four budgets on that model: table, JSON and picture; some minutes.
curve: export OMP_WAIT_POLICY = PASSIVE
curve: install
	$(BIN)/python -m llava.eval.curve $(MODEL) --device cpu --dtype float32

figures: install
	$(BIN)/python -m llava.eval.diagram --output figures/method.png
	$(BIN)/python -m llava.eval.visualize $(MODEL) --image $(PICTURE) --question $(QUESTION) \
		--method visiondrop --retain 28 --compare visionzip,random --output figures/shapes_kept.png

# The page, in an environment of its own: Gradio wants other versions than the tests are run with (CKPT: a checkpoint).
web: $(WEB)/installed
	$(WEB)/bin/python -m llava.serve.web $(MODEL)

# The page in a real Chromium; skipped with a reason where there is none (Debian: apt-get install chromium).
web-test: $(WEB)/installed
	$(WEB)/bin/python -m pytest -rs tests/serve/test_page_*.py

# Train the small LLaVA from nothing: under two hours on two idle cores, minutes on a GPU. Interrupt it as you like;
# started again, it goes on from its last checkpoint. Waiting threads sleep, or a busy machine would be slowed by them.
shapes: install
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m playground.shapes.train --output $(SHAPES)/run
	$(BIN)/python -m playground.shapes.curve --run $(SHAPES)/run --output $(SHAPES)/run
	$(BIN)/python -m playground.shapes.score --checkpoint $(SHAPES)/run/llava-shapes

# The shipped model learns a new kind of question from data of one's own (docs/training.md), in minutes: accuracy before
# and after, with all image tokens and with a ninth.
shapes-lora: install
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m playground.shapes.lora --output $(SHAPES)/run-lora

test: install
	$(BIN)/python -m pytest $(PARALLEL) -m 'not long'

# What takes longest: runs that are killed again and again, processes that train together, whole runs.
test-long: install
	$(BIN)/python -m pytest $(PARALLEL) -m long

# 100,000 damaged files, pictures and flags through every reader: each is read, or refused in one line. Some minutes.
fuzz: install
	FUZZ=100000 $(BIN)/python -m pytest $(PARALLEL) tests/fuzz

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The same code against the lowest transformers that pyproject.toml admits, but for what has nothing to do with it: rules
# of reduction on plain tensors, readers of files, scorers, scripts that start a stub.
WITH_TRANSFORMERS := %/test_random.py %/test_fetching.py %/test_mmbench.py %/test_weight_scripts.py %/test_training_scripts.py
PLAIN := $(wildcard tests/reduction/test_*.py tests/reduction/*/test_*.py tests/files/test_*.py tests/scripts/test_*.py)
PLAIN += $(wildcard tests/fuzz/test_*.py tests/eval/test_eval_*.py tests/eval/benchmarks/test_*.py tests/eval/results/test_*.py)
test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/python -m pytest $(PARALLEL) -m 'not slow and not long' \
		$(patsubst %,--ignore=%,$(filter-out $(WITH_TRANSFORMERS),$(PLAIN)))

# The application on Ray Serve, and the plug-in in vLLM on a CPU: each pins what the tests have in other versions.
test-ray: $(RAY)/installed
	$(RAY)/bin/python -m pytest -rs tests/serve/test_ray_app.py tests/serve/test_ray_parts.py

test-vllm: $(VLLM)/installed
	$(VLLM)/bin/python -m pytest -rs tests/vllm_plugin

# lmms-eval's own command line and classes, in an environment of their own.
test-harness: export PYTHONPATH = tests/eval/harness/site
test-harness: export OMP_NUM_THREADS = 1
test-harness: $(LMMS)/installed
	$(LMMS)/bin/python -m pytest $(PARALLEL) -rs tests/eval/harness $(addprefix tests/hf/,test_hf_pipeline.py test_hf_processing.py)

clean:
	rm -rf $(VENV) $(LOWEST) $(WEB) $(RAY) $(VLLM) $(LMMS) $(SCORES)
