# A thin front: every target is a line of help. CMake does the work (presets release, debug, asan, ubsan, tsan, fuzz).
.DEFAULT_GOAL := build
SHELL := /bin/bash
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60

.PHONY: help build check test demo models bench ppl profile logits lint format debug asan ubsan tsan fuzz install clean
help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build/hearth, the program (optimised)
	@[ -f build/build.ninja ] || { tools/deps.sh build && cmake --preset release >/dev/null; }
	@cmake --build build -j $(JOBS)

demo: ## from nothing to a cited answer: packages, build, models, the PostgreSQL manual, questions and cited answers
	@tools/demo.sh

test: ## install what the tests need, build, run every test (what CI runs)
	@tools/test.sh

check: build ## the fast tests of the edit loop (under a minute)
	@ctest --test-dir build -j $(JOBS) --output-on-failure -L 'unit|kernels' -LE slow

models: ## bring the two demo models into models/
	@tools/deps.sh demo
	@tools/models.sh

bench: build models ## hearth beside its peers, one table (docs/benchmarks.md)
	@bench/setup.sh
	@bench/.venv/bin/python bench/run.py $(BENCH_ARGS)

ppl: build models ## perplexity of every weight type beside the plain path and llama.cpp (docs/accuracy.md)
	@bench/setup.sh
	@bench/.venv/bin/python bench/ppl.py

profile: build models ## where the time of a prompt, of generation and of texts goes (perf; docs/benchmarks.md)
	@bench/setup.sh
	@bench/.venv/bin/python bench/shares.py

logits: build models ## log-probabilities of every weight type beside transformers and llama.cpp (docs/accuracy.md)
	@bench/setup.sh
	@bench/.venv/bin/python bench/logits.py

lint: ## layers, formatting
	@tools/lint.sh

format: ## clang-format everything
	@clang-format -i src/*/*.[ch] tests/*/*.[ch]

asan: ## the tests that need no models under address and undefined-behaviour sanitizers
	@tools/preset.sh asan

ubsan: ## the same under the undefined-behaviour sanitizer alone
	@tools/preset.sh ubsan

tsan: ## the same under the thread sanitizer
	@tools/preset.sh tsan

debug: ## the same without optimisation
	@tools/preset.sh debug

fuzz: ## run every fuzzer for FUZZ_SECONDS (60) each (clang)
	@tools/fuzz.sh $(FUZZ_SECONDS)

install: build ## copy the program to PREFIX/bin (/usr/local)
	@install -D -m 755 build/hearth $(DESTDIR)$(PREFIX)/bin/hearth

clean: ## remove build folders (models and demo-home stay)
	@rm -rf build build-*
