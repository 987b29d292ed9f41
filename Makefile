# make demo   set up, build, and run the hexane example
# make test   set up, build, then ctest and pytest
# make test-fast  the tests that start no LAMMPS and take no longer than two seconds each
# make check  formatting, lint, types, layers
# make check-sanitize  the C++ tests and LAMMPS runs under the address and undefined-behaviour sanitizers
# make check-aarch64   the C++ tests built for 64-bit ARM, run by an emulator; the cross compiler is named
#                      in CMakePresets.json (Debian: g++-aarch64-linux-gnu qemu-user-static)
PYTHON ?= python3
VENV ?= .venv
BUILD ?= build/wheel
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt
SOURCES := CMakeLists.txt pyproject.toml $(shell find src cmake python tests/cpp -type f \
  -not -path '*/__pycache__/*' 2>/dev/null)
CXX_FILES := $(shell find src tests/cpp -name '*.cpp' -o -name '*.h')

.PHONY: install demo test test-fast check check-sanitize check-aarch64 format clean

install: $(VENV)/.installed

# torch comes first and alone, so that no other package chooses its build.
$(VENV)/.dependencies: constraints.txt pyproject.toml
	@sh cmake/check_machine.sh "$(PYTHON)" "$(CXX)"
	@echo "Setting up $(VENV): about 2 minutes the first time"
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) torch==2.13.0
	@$(PIP) $$($(BIN)/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	  print(*(d.replace(' ', '') for d in sum(p['optional-dependencies'].values(), p['dependencies'])))")
	@touch $@

$(VENV)/.installed: $(VENV)/.dependencies $(SOURCES)
	@echo "Building the LAMMPS plugin and installing alrare: about 2 minutes the first time"
	@CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(PIP) --no-build-isolation --no-deps --force-reinstall \
	  -C build-dir=$(BUILD) -C cmake.define.BUILD_TESTING=ON .
	@touch $@

demo: install
	$(BIN)/alrare run examples/hexane/al.toml

test: install
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-fast: install
	$(BIN)/python -m pytest -m "not (slow or needs_lmp or needs_dftb)" $(PYTEST_ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples/paper
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/cmake --build $(BUILD) --target check-no-lammps-headers

check-sanitize: install
	$(BIN)/cmake --preset sanitize
	$(BIN)/cmake --build --preset sanitize --parallel $(JOBS)
	$(BIN)/ctest --preset sanitize

check-aarch64: install
	$(BIN)/cmake --preset aarch64
	$(BIN)/cmake --build --preset aarch64 --parallel $(JOBS)
	$(BIN)/ctest --preset aarch64

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

clean:
	rm -rf build $(VENV)/.installed
