# Everything runs in a virtual environment of its own; only Python, a C++ compiler and make must be
# there. `make demo` and `make test` are all that a fresh clone needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.built
DATA := $(VENV)/.test-data
DEPENDENTS := tests/.cache/dependents
SUITE := tests/.cache/json-schema-suite
# What the native libraries and the environment are made from. A change here builds again, and
# compiles only what changed.
SOURCES := pyproject.toml CMakeLists.txt $(wildcard cmake/* bridge/* bridge/*/* vendor/patches/*) \
           vendor/fetch_llama_cpp.py vendor/apply_patches.py vendor/llama.cpp.toml vendor/llama.cpp.lock

.PHONY: build demo test lint format types bindings bench llama-server tinychat clean

build: $(BUILT)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Without build isolation the build folder stays valid from one build to the next.
$(BUILT): $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --upgrade pip "scikit-build-core>=0.10" "cmake>=3.21" ninja \
	    "patch-ng>=1.17"
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[test,dev]"
	touch $@

demo: build
	$(BIN)/python examples/high_level_api/completion.py
	$(BIN)/python examples/high_level_api/chat.py

test: build $(DATA) $(DEPENDENTS)/.installed $(SUITE)/.installed
	tools/get_chromium.sh $(BIN)/python
	$(BIN)/python -m pytest

$(DATA): tests/requirements-no-deps.txt | $(BUILT)
	$(BIN)/python -m pip install --quiet --no-deps --requirement $<
	touch $@

# They are read, not imported: no matter which Python they are for, or what else they need.
$(DEPENDENTS)/.installed: tests/requirements-dependents.txt | $(BUILT)
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --only-binary :all: \
	    --ignore-requires-python --target $(@D) --requirement $<
	touch $@

# JSON Schema's own test suite is in the source distribution of jsonschema (MIT) only.
$(SUITE)/.installed: tests/requirements-suite.txt | $(BUILT)
	rm -rf $(@D)
	$(BIN)/python -m pip download --quiet --no-deps --no-binary jsonschema --dest $(@D) --requirement $<
	tar --extract --gzip --file $(@D)/jsonschema-*.tar.gz --directory $(@D) --strip-components 2 \
	    --wildcards '*/json/tests/*' '*/json/LICENSE'
	touch $@

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: build
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: build
	$(BIN)/mypy

bindings: build
	$(BIN)/python -m tools.bindgen
	$(BIN)/python -m pytest --quiet tests/native/test_bindings.py

bench: build
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/parallel.py
	$(BIN)/python benchmarks/processors.py
	$(BIN)/python benchmarks/chats.py
	$(BIN)/python benchmarks/caches.py
	$(BIN)/python benchmarks/threads.py
	$(BIN)/python benchmarks/handles.py

# build/llama-server/bin: what benchmarks/server.py and flash_attention.py compare with. About six minutes.
llama-server: build
	$(BIN)/cmake -S . -B build/llama-server -G Ninja -DWITH_LLAMA_SERVER=ON \
	    -DPython3_EXECUTABLE="$(abspath $(BIN)/python)"
	$(BIN)/cmake --build build/llama-server --target llama-server llama-batched-bench

# Makes the bundled model anew, from its corpus to its evaluation: about three hours on two cores.
tinychat: build
	$(BIN)/python -m pip install --quiet --requirement tools/tinychat/requirements.txt
	$(BIN)/python -m tools.tinychat

clean:
	rm -rf build dist $(VENV) $(DEPENDENTS) $(SUITE) vendor/llama.cpp .mypy_cache .pytest_cache .ruff_cache .hypothesis
