PREFIX ?= /usr/local
export CARGO_TARGET_DIR ?= $(CURDIR)/target

# Finds rustup's cargo even if PATH lacks it.
ifeq ($(shell command -v cargo),)
ifneq ($(wildcard $(HOME)/.cargo/bin/cargo),)
export PATH := $(PATH):$(HOME)/.cargo/bin
endif
endif

.PHONY: help setup build demo lab docs deb test test-long test-kernels test-package check-arm64 fuzz mutants bench lint install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install missing tools for build, demo, test, fuzz and lint
	@scripts/setup build demo test fuzz lint deny

build: ## build ./tcp-bounce and ./tcp_bounce.bpf.o
	@scripts/setup build
	cargo build --release
	@install -m 755 "$(CARGO_TARGET_DIR)/release/tcp-bounce" tcp-bounce
	@out_dir=$$(cargo build --release --quiet --message-format json | sed -n 's/.*tcp-bounce[@#][0-9].*"out_dir":"\([^"]*\)".*/\1/p'); \
		install -C -m 644 "$$out_dir/tcp_bounce.bpf.o" tcp_bounce.bpf.o

demo: ## build and run a demo in network namespaces (root or sudo)
	@scripts/setup demo build
	@$(MAKE) --no-print-directory build
	@scripts/demo

lab: ## build and open a lab of three machines for the recipes (root or sudo)
	@scripts/setup lab build
	@$(MAKE) --no-print-directory build
	@scripts/lab

docs: ## write docs/reference/command-line.md and build the book in target/book
	@scripts/docs

deb: ## build the Debian package in target/debian
	@scripts/deb

test: ## run the tests (some need root or SUDO=sudo)
	@scripts/test

test-long: ## run all tests for longer, then fuzz for 10 minutes (root)
	@scripts/setup build test fuzz
	@TCP_BOUNCE_TEST_LONG=1 scripts/test
	@scripts/fuzz 600

test-kernels: ## run tests on Debian's kernels in QEMU, or on KERNELS=... (root)
	@scripts/setup build kernels
	@scripts/test-kernels

test-package: ## test the Debian package on clean systems, or on SUITES=... (root)
	@scripts/deb
	@scripts/test-package $(SUITES)

check-arm64: ## cross-compile the command and its package for 64-bit ARM (root)
	@scripts/check-arm64

fuzz: ## fuzz the packet logic for SECONDS=60
	@scripts/setup build fuzz
	@scripts/fuzz "$(or $(SECONDS),60)"

mutants: ## run mutation tests on the packet logic (takes an hour)
	@scripts/setup build mutants
	@scripts/mutants

bench: ## run the benchmarks and write their report to docs (root or sudo)
	@scripts/bench

lint: ## check formatting, lints and dependencies
	@scripts/setup build lint deny
	@scripts/lint

install: ## install the command and the object in /usr/local, or in PREFIX=...
	@test -x tcp-bounce -a -e tcp_bounce.bpf.o || { echo 'error: ./tcp-bounce is missing: run `make build` first' >&2; exit 1; }
	install -D -m 755 tcp-bounce "$(DESTDIR)$(PREFIX)/bin/tcp-bounce"
	install -D -m 644 tcp_bounce.bpf.o "$(DESTDIR)$(PREFIX)/lib/tcp-bounce/tcp_bounce.bpf.o"

clean: ## delete build results, but keep the tools in .tools
	cargo clean
	rm -rf src/bpf/target fuzz/target tcp-bounce tcp_bounce.bpf.o
