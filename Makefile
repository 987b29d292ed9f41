# make demo   set up, build, and run the hexane example
# make test   set up, build, then ctest and pytest
# make test-fast  the tests that start no LAMMPS and take no longer than a second each
# make check  formatting, lint, types, layers, documentation
#             (the C++ tests and clang-tidy on them need doctest, Debian: doctest-dev)
# make docs   the documentation as a site, build/docs/index.html; a warning is an error
# make check-sanitize  the C++ tests and LAMMPS runs under the address and undefined-behavior sanitizers,
#                      and the readers of model files on FUZZ_RUNS damaged inputs each
#                      (Debian: clang libclang-rt-14-dev; left out where they are missing)
# make check-aarch64   the C++ tests built for 64-bit ARM, run by an emulator; the cross compiler is named
#                      in CMakePresets.json (Debian: g++-aarch64-linux-gnu qemu-user-static)
# make check-gpu       on a machine with CUDA: every test of the pair style on the device, training of
#                      a member of each family there, and what a step costs (DEVICE=cpu GPU_ARGS="--atoms 20" tries it)
# make wheel       dist/: the source distribution and the wheel that is built from it, for this machine's Python;
#                  MORE_TORCH=FOLDER adds engines for the releases of torch in it (cmake/fetch_torch.sh)
# make wheel-test  installs that wheel in a new environment, with no compiler on PATH, and uses it
PYTHON ?= python3
VENV ?= .venv
BUILD ?= build/wheel
JOBS ?= 2
FUZZ_RUNS ?= 100000
DEVICE ?= cuda
MORE_TORCH ?=

BIN := $(VENV)/bin
TORCH := torch==2.13.0
PIP := $(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt
SOURCES := CMakeLists.txt pyproject.toml $(shell find src cmake python -type f \
  -not -path '*/__pycache__/*' 2>/dev/null)
CXX_FILES := $(shell find src tests/cpp tests/fuzz -name '*.cpp' -o -name '*.h')
# clang-tidy goes over the headers with the files that include them; clang has no omp.h of GCC's.
TIDY_FILES := $(shell find src tests/cpp -name '*.cpp')
TIDY := $(BIN)/clang-tidy -p $(BUILD) --quiet --extra-arg=-fno-openmp

.PHONY: install demo test test-fast check docs check-sanitize check-aarch64 check-gpu format constraints \
  clean configure-tests wheel wheel-test

install: $(VENV)/.installed

# What pyproject.toml asks for: the package itself, then by the name of an extra.
dependencies = $$($(BIN)/python cmake/requirements.py $(1))

# torch comes first and alone, so that no other package chooses its build.
$(VENV)/.dependencies: constraints.txt pyproject.toml
	@sh cmake/check_machine.sh "$(PYTHON)" "$(CXX)"
	@echo "Setting up $(VENV): about 2 minutes the first time"
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) $(TORCH)
	@$(PIP) $(call dependencies,dependencies build)
	@touch $@

# One stamp for each extra, so that nobody installs what their target does without. They wait for
# the package (|) but are not made again with it.
$(VENV)/.extra-%: constraints.txt pyproject.toml | $(VENV)/.installed
	@$(PIP) $(call dependencies,$*)
	@touch $@

# A wheel is built without the package installed.
$(VENV)/.extra-wheel: $(VENV)/.dependencies
	@$(PIP) $(call dependencies,wheel)
	@touch $@

test test-fast: $(VENV)/.extra-test $(VENV)/.extra-torchani $(VENV)/.extra-cluster
check format: $(VENV)/.extra-check $(VENV)/.extra-cluster
docs: $(VENV)/.extra-docs

# The versions that .venv holds become the constraints; the head of that file says how to renew.
constraints: $(VENV)/.extra-test $(VENV)/.extra-torchani $(VENV)/.extra-check \
  $(VENV)/.extra-cluster $(VENV)/.extra-docs $(VENV)/.extra-wheel
	@sed -i '/^[^#]/d' constraints.txt
	@$(BIN)/pip --disable-pip-version-check freeze --all --exclude alrare --exclude pip \
	  | sed 's/+.*//' >> constraints.txt

$(VENV)/.installed: $(VENV)/.dependencies $(SOURCES)
	@echo "Building the LAMMPS plugin and installing alrare: about 2 minutes the first time"
	@CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(PIP) --no-build-isolation --no-deps --force-reinstall \
	  -C build-dir=$(BUILD) -C cmake.define.BUILD_TESTING=OFF .
	@touch $@

demo: install
	$(BIN)/alrare run examples/hexane/al.toml

# The tests are no part of the wheel: a machine without doctest can install.
configure-tests: install
	@sh cmake/check_doctest.sh "$(CXX)"
	@$(BIN)/cmake -S . -B $(BUILD) -DBUILD_TESTING=ON > $(BUILD)/configure.log || \
	  { cat $(BUILD)/configure.log; exit 1; }

test: configure-tests
	$(BIN)/cmake --build $(BUILD) --parallel $(JOBS)
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-fast: install
	$(BIN)/python -m pytest -m "not (slow or needs_lmp or needs_dftb)" $(PYTEST_ARGS)

# Pages made from the code come from the installed package.
docs: install
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky --fresh-env \
	  --doctree-dir build/docs/.doctrees docs build/docs
	@echo "build/docs/index.html"

check: configure-tests docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples/paper
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	printf '%s\n' $(TIDY_FILES) | xargs -P $(JOBS) -n 1 $(TIDY)
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/cmake --build $(BUILD) --target check-no-lammps-headers
	$(BIN)/python src/nnp/native/kernels/make_polynomials.py --check

check-sanitize: install
	@sh cmake/check_doctest.sh "$(CXX)"
	$(BIN)/cmake --preset sanitize
	$(BIN)/cmake --build --preset sanitize --parallel $(JOBS)
	$(BIN)/ctest --preset sanitize
	@if sh cmake/check_fuzzer.sh; then \
	  $(BIN)/cmake --preset fuzz > /dev/null && \
	  $(BIN)/cmake --build --preset fuzz --parallel $(JOBS) && \
	  sh tests/fuzz/run_fuzzers.sh build/fuzz $(FUZZ_RUNS); fi

check-gpu: install $(VENV)/.extra-test $(VENV)/.extra-torchani
	$(BIN)/python -m pytest tests/lammps/test_native_engine.py tests/lammps/test_given_again.py \
	  tests/lammps/test_pair_nnp_ensemble.py \
	  tests/lammps/test_message_passing.py tests/lammps/test_schnet.py \
	  tests/python/training/test_device.py --device $(DEVICE) $(PYTEST_ARGS)
	$(BIN)/python benchmarks/gpu_step.py --device $(DEVICE) $(GPU_ARGS)

check-aarch64: install
	$(BIN)/cmake --preset aarch64
	$(BIN)/cmake --build --preset aarch64 --parallel $(JOBS)
	$(BIN)/ctest --preset aarch64

wheel: $(VENV)/.extra-wheel
	@rm -rf build/dist dist/alrare-* && mkdir -p build
	@echo "Building the source distribution, and from it the wheel: about 3 minutes"
	@CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(BIN)/python -m build --no-isolation \
	  --skip-dependency-check --outdir build/dist -C cmake.define.ALRARE_PORTABLE=ON \
	  -C cmake.define.ALRARE_MORE_TORCH="$(abspath $(MORE_TORCH))" . > build/dist.log || \
	  { cat build/dist.log; exit 1; }
	@PATH="$(abspath $(BIN)):$$PATH" sh cmake/repair_wheel.sh build/dist/alrare-*.whl dist
	@cp build/dist/alrare-*.tar.gz dist
	@$(BIN)/python tests/distribution_contents.py dist/alrare-*
	@ls -l dist

wheel-test:
	@sh tests/distribution/try_wheel.sh dist/alrare-*.whl $(BIN)/python $(TORCH)

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

clean:
	rm -rf build $(VENV)/.installed
