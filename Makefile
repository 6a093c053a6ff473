PREFIX ?= /usr/local
export CARGO_TARGET_DIR ?= $(CURDIR)/target

# Finds rustup's cargo even if PATH lacks it.
ifeq ($(shell command -v cargo),)
ifneq ($(wildcard $(HOME)/.cargo/bin/cargo),)
export PATH := $(PATH):$(HOME)/.cargo/bin
endif
endif

.DEFAULT_GOAL := help

##@ Build

.PHONY: build install clean

build: ## build ./tcp-bounce and ./tcp_bounce.bpf.o
	@scripts/setup build
	cargo build --release
	@install -m 755 "$(CARGO_TARGET_DIR)/release/tcp-bounce" tcp-bounce
	@out_dir=$$(cargo build --release --quiet --message-format json | sed -n 's/.*tcp-bounce[@#][0-9].*"out_dir":"\([^"]*\)".*/\1/p'); \
		install -C -m 644 "$$out_dir/tcp_bounce.bpf.o" tcp_bounce.bpf.o

install: ## install the command and the object in /usr/local, or in PREFIX=...
	@test -x tcp-bounce -a -e tcp_bounce.bpf.o || { echo 'error: ./tcp-bounce is missing: run `make build` first' >&2; exit 1; }
	install -D -m 755 tcp-bounce "$(DESTDIR)$(PREFIX)/bin/tcp-bounce"
	install -D -m 644 tcp_bounce.bpf.o "$(DESTDIR)$(PREFIX)/lib/tcp-bounce/tcp_bounce.bpf.o"

clean: ## delete build results, but keep the tools in .tools
	cargo clean
	rm -rf src/bpf/package/target fuzz/target tcp-bounce tcp_bounce.bpf.o

##@ Run

.PHONY: demo lab

demo: ## build and run a demo in network namespaces (root or sudo)
	@scripts/setup demo build
	@$(MAKE) --no-print-directory build
	@scripts/demo

lab: ## build and open a lab of three machines for the recipes (root or sudo)
	@scripts/setup lab build
	@$(MAKE) --no-print-directory build
	@scripts/lab

##@ Test

.PHONY: test test-long test-kernels test-drivers test-package test-dist test-crates fuzz mutants

test: ## run the tests (some need root or SUDO=sudo)
	@scripts/test

test-long: ## run all tests for longer, one for HOURS=1, then fuzz (root)
	@scripts/setup build test fuzz
	@TCP_BOUNCE_TEST_LONG=1 $(if $(HOURS),TCP_BOUNCE_TEST_DAY_SECONDS=$$(($(HOURS) * 1800))) scripts/test
	@scripts/fuzz 600

test-kernels: ## run tests on Debian's kernels in QEMU, or on KERNELS=... (root)
	@scripts/setup build kernels
	@scripts/test-kernels

test-drivers: ## test emulated NICs in QEMU, or DRIVERS=... on KERNELS=... (root)
	@scripts/setup build kernels drivers
	@scripts/test-drivers

test-package: ## test the packages on clean systems, or on SUITES=... (root)
	@scripts/deb
	@scripts/rpm
	@scripts/test-package $(SUITES)

test-dist: ## run the commands of target/dist in minimal systems (root)
	@scripts/test-dist $(SUITES)

test-crates: ## package the crates, and build them from the packages
	@scripts/test-crates

fuzz: ## fuzz the packet logic for SECONDS=60
	@scripts/setup build fuzz
	@scripts/fuzz "$(or $(SECONDS),60)"

mutants: ## run mutation tests on the packet logic (takes an hour)
	@scripts/setup build mutants
	@scripts/mutants

##@ Package

.PHONY: deb rpm dist check-arm64

deb: ## build the Debian package in target/debian
	@scripts/deb

rpm: ## build the RPM package in target/rpm
	@scripts/rpm

dist: ## build archives with a static command in target/dist (root)
	@scripts/dist $(ARCHITECTURES)

check-arm64: ## cross-compile the command and its package for 64-bit ARM (root)
	@scripts/check-arm64

##@ Maintain

.PHONY: help setup lint docs bench

help: ## list the targets
	@awk -F ':.*## ' '/^##@ / { printf "%s%s:\n", gap, substr($$0, 5); gap = "\n" } \
		/^[a-z0-9-]+:.*## / { printf "  make %-12s  %s\n", $$1, $$2 }' Makefile

setup: ## install missing tools for build, demo, test, fuzz and lint
	@scripts/setup build demo test fuzz lint deny

lint: ## check formatting, lints and dependencies
	@scripts/setup build lint deny
	@scripts/lint

docs: ## write the pages of the command line and build the book in target/book
	@scripts/docs

bench: ## run the benchmarks and write their report to docs (root or sudo)
	@scripts/bench
