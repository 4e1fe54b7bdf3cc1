# A thin front: every target is a line of help. CMake does the work (presets release, debug, asan, ubsan, tsan, fuzz).
.DEFAULT_GOAL := build
SHELL := /bin/bash
JOBS ?= $(shell nproc)

.PHONY: help build check test lint format clean
help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build build/hearth (release)
	@[ -f build/build.ninja ] || cmake --preset release >/dev/null
	@cmake --build build -j $(JOBS)

check: build ## the fast tests of the edit loop (under a minute)
	@ctest --test-dir build -j $(JOBS) --output-on-failure -L 'unit|kernels'

test: ## install what the tests need, build, run every test
	@tools/test.sh

lint: ## layers, formatting
	@tools/lint.sh

format: ## clang-format everything
	@clang-format -i src/*/*.[ch] tests/*/*.[ch]

clean: ## remove build folders
	@rm -rf build build-*
