# Everything a stranger needs: `make demo` and `make test`, on a fresh Debian or Ubuntu with Python 3.11,
# its venv module and a C++ compiler. Safe to run again. PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMPS = $(VENV)/.stamps
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BUILT_FROM = pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*)

.PHONY: help demo roads-quick roads-docs test test-frameworks test-slow lint tidy docs conformance architectures pictures gallery bench bench-torch predicted cycles sanitize bits neon clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/demo: $(STAMPS)/venv $(BUILT_FROM)
	$(INSTALL) --editable '.[demo]'
	touch $@

$(STAMPS)/roads: $(STAMPS)/venv $(BUILT_FROM)
	$(INSTALL) --editable '.[roads]'
	touch $@

$(STAMPS)/test: $(STAMPS)/demo
	$(INSTALL) --editable '.[demo,dev,docs,roads]'
	touch $@

$(STAMPS)/frameworks: $(STAMPS)/test
	$(INSTALL) --editable '.[demo,dev,docs,roads,jax,keras,onnx,bench,port]'
	touch $@

## make demo             run the main job on real digits; writes demo/report.html
demo: $(STAMPS)/demo
	$(BIN)/backstride demo --out demo

## make roads-quick      train a road network on synthetic scenes, measure it, draw what it finds and what not; writes roads-quick/
roads-quick: $(STAMPS)/roads
	$(BIN)/backstride roads train --config examples/roads/quick.toml --resume --out roads-quick
	$(BIN)/backstride roads evaluate --checkpoint roads-quick --out roads-quick/evaluation
	$(BIN)/backstride roads synthesize --clear --seed 1 --count 12 --size 360x640 --out roads-quick/scenes
	$(BIN)/backstride roads predict roads-quick/scenes/training/image_2 --checkpoint roads-quick --write overlay --out roads-quick/found
	@echo 'look at roads-quick/found/overlays, scenes held out, and roads-quick/evaluation/worst, what it gets wrong'

## make roads-docs       the pictures of docs/roads.md anew, from the quick run, and its table of times
roads-docs: roads-quick
	cp roads-quick/curves.png docs/pictures/roads-curves.png
	cp roads-quick/evaluation/precision_recall.png docs/pictures/roads-precision-recall.png
	$(BIN)/python docs/roads_sheet.py roads-quick/evaluation/worst docs/pictures/roads-worst.jpg
	$(BIN)/python docs/roads_sheet.py roads-quick/found/overlays docs/pictures/roads-found.jpg
	$(BIN)/python benchmarks/roads_run.py --results

## make lint             formatting, lint and strict types of Python, formatting and lint of C++
lint: $(STAMPS)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run --Werror native/*.cpp native/*.h native/*.inl
	@$(MAKE) --no-print-directory $(PARALLEL) tidy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

## make test             lint, types, documentation and the tests that need no heavy framework
test: lint docs
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not frameworks and not slow'

## make test-frameworks  compare with TensorFlow, Keras, JAX, Flax, Equinox, ONNX, ONNX Runtime, OpenVINO
test-frameworks: $(STAMPS)/frameworks
	$(BIN)/python -m pytest -n auto --dist loadgroup -m 'frameworks and not slow' tests

## make test-slow        the long suites: installs without the compiled part, many random calls, the whole demo
test-slow: $(STAMPS)/test
	$(BIN)/python -m pytest -m slow tests
	$(BIN)/python -m pytest --hypothesis-profile=slow tests/test_laws.py

## make docs             build the documentation; any warning is an error
docs: $(STAMPS)/test
	$(BIN)/sphinx-build --quiet --fail-on-warning --builder html docs docs/_build/html

## make conformance      write docs/conformance.md anew from every framework installed
conformance: $(STAMPS)/frameworks
	$(BIN)/backstride conform --out docs/conformance.md

## make architectures    write docs/architectures.md anew: classifiers of others, transposed, proved and timed
architectures: $(STAMPS)/frameworks
	$(INSTALL) transformers
	$(INSTALL) --no-deps pytorchcv
	$(BIN)/python -m backstride.survey --out docs/architectures.md --kept build/architectures.json

## make bench            time real layers against nine ways to run them; adds this processor to benchmarks/results.md (an hour and a half)
bench: $(STAMPS)/frameworks
	$(BIN)/python benchmarks/run.py --results

## make bench-torch      time whole PyTorch models before and after accelerate; adds this processor to benchmarks/torch_results.md
bench-torch: $(STAMPS)/frameworks
	$(BIN)/python benchmarks/torch_run.py --results

## make predicted        compare the times that plan.explain predicts with measured ones; writes this processor's page (5 minutes)
predicted: $(STAMPS)/frameworks
	$(BIN)/python benchmarks/predicted.py --results

## make cycles           inner loops of the hot kernels on other processors, by llvm-mca (package llvm-19); writes docs/kernels.md's table
cycles:
	@$(PYTHON) benchmarks/cycles.py

## make sanitize         random problems through the compiled kernels under AddressSanitizer and UndefinedBehaviorSanitizer
sanitize:
	@$(MAKE) --no-print-directory $(PARALLEL) build/fuzz
	build/fuzz $(or $(PROBLEMS),2000) $(or $(SEED),0)

## make bits             a hash of the results of random problems for each instruction set: before and after a change that must not change bits
bits:
	@$(MAKE) --no-print-directory $(PARALLEL) build/fuzz-bits
	build/fuzz-bits $(or $(PROBLEMS),300) $(or $(SEED),0) bits

## make neon             the same problems through the NEON kernels under QEMU (packages g++-aarch64-linux-gnu and qemu-user)
neon:
	@$(MAKE) --no-print-directory $(PARALLEL) build/fuzz-neon
	qemu-aarch64 build/fuzz-neon $(or $(PROBLEMS),300) $(or $(SEED),0)

## make tidy             what of make lint looks for faults in C++: .clang-tidy says which
# Clang knows nothing of the pragmas that name GCC an instruction set: loops are looked at as the baseline has them.
TIDIED = $(filter-out native/target_avx% native/target_amx%,$(wildcard native/*.cpp))
tidy: $(TIDIED:native/%.cpp=build/tidy/%)

build/tidy/bindings: INCLUDED = $(shell $(BIN)/python -c 'import nanobind, sysconfig; \
	print("-isystem", nanobind.include_dir(), "-isystem", sysconfig.get_path("include"))')
build/tidy/%: native/%.cpp $(wildcard native/*.h native/*.inl) .clang-tidy
	@mkdir -p $(@D)
	$(BIN)/clang-tidy --quiet $< -- -std=c++20 $(INCLUDED)
	@touch $@

FUZZED = $(filter-out native/bindings.cpp,$(wildcard native/*.cpp))
FUZZED_NEON = $(filter-out native/target_avx% native/target_amx%,$(FUZZED))
PARALLEL = --jobs=$(shell getconf _NPROCESSORS_ONLN)

build/fuzz: $(FUZZED:native/%.cpp=build/sanitize/%.o)
	$(CXX) -fsanitize=address,undefined $^ -o $@ -lpthread

build/fuzz-bits: $(FUZZED:native/%.cpp=build/bits/%.o)
	$(CXX) $^ -o $@ -lpthread

build/fuzz-neon: $(FUZZED_NEON:native/%.cpp=build/neon/%.o)
	aarch64-linux-gnu-g++ -static $^ -o $@ -lpthread

build/sanitize/%.o: native/%.cpp $(wildcard native/*.h native/*.inl)
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -O1 -g -ffp-contract=fast -fsanitize=address,undefined -fno-sanitize-recover=undefined -c $< -o $@

build/bits/%.o: native/%.cpp $(wildcard native/*.h native/*.inl)
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -O3 -ffp-contract=fast -c $< -o $@

build/neon/%.o: native/%.cpp $(wildcard native/*.h native/*.inl)
	@mkdir -p $(@D)
	aarch64-linux-gnu-g++ -std=c++20 -O2 -ffp-contract=fast -c $< -o $@

## make pictures         make the pictures of the documentation anew
pictures: $(STAMPS)/demo
	$(BIN)/backstride demo --out demo
	cp demo/overview.png docs/pictures/demo.png

## make gallery          draw the gallery and the pictures of docs/explain.md anew; the page's needs Chromium
gallery: $(STAMPS)/test
	$(BIN)/python docs/gallery/build.py
	$(BIN)/python docs/gallery/screenshots.py

clean:
	rm -rf $(VENV) build docs/_build demo
