PREFIX ?= /usr/local
export CARGO_TARGET_DIR ?= $(CURDIR)/target

# Also a shell that does not know of rustup finds it.
ifeq ($(shell command -v cargo),)
ifneq ($(wildcard $(HOME)/.cargo/bin/cargo),)
export PATH := $(PATH):$(HOME)/.cargo/bin
endif
endif

.PHONY: help setup build demo deb test test-long test-kernels test-package check-arm64 fuzz mutants bench lint install clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing to build, test and lint
	@scripts/setup build demo test fuzz lint

build: ## build ./tcp-bounce and ./tcp_bounce.bpf.o, and set up what that takes
	@scripts/setup build
	cargo build --release
	@install -m 755 "$(CARGO_TARGET_DIR)/release/tcp-bounce" tcp-bounce
	@out_dir=$$(cargo build --release --quiet --message-format json | sed -n 's/.*tcp-bounce[@#][0-9].*"out_dir":"\([^"]*\)".*/\1/p'); \
		install -C -m 644 "$$out_dir/tcp_bounce.bpf.o" tcp_bounce.bpf.o

demo: ## build, and watch it answer on a network of its own (asks for root)
	@scripts/setup demo build
	@$(MAKE) --no-print-directory build
	@scripts/demo

deb: ## build the Debian package, in target/debian
	@scripts/deb

test: ## run all tests; those that need root only as root, or with SUDO=sudo
	@scripts/test

test-long: ## the same with ten times as many packets and loads, all combinations of settings, floods of 100 million SYNs; then ten minutes of fuzzing
	@scripts/setup build test fuzz
	@TCP_BOUNCE_TEST_PACKETS=10000000 TCP_BOUNCE_TEST_LOADS=1000 TCP_BOUNCE_TEST_FLOOD=100 scripts/test
	@scripts/fuzz 600

test-kernels: ## boot Debian's kernels in qemu, two of them for ARM, and test it on each, as root; KERNELS=... for some
	@scripts/setup build kernels
	@scripts/test-kernels

test-package: ## install the Debian package on clean systems, use it, upgrade and purge it; SUITES=... of Debian, as root
	@scripts/test-package $(SUITES)

check-arm64: ## build the command and its package for 64-bit ARM, as root
	@scripts/check-arm64

fuzz: ## fuzz the packet logic for SECONDS=60
	@scripts/setup build fuzz
	@scripts/fuzz "$(or $(SECONDS),60)"

mutants: ## change the packet logic in one small way after another, and see that a test fails each time; an hour
	@scripts/setup build mutants
	@scripts/mutants

bench: ## measure it, and write docs/benchmarks.md; with PEER_OBJ=FILE, SYNPROXY_OBJ=FILE also other XDP programs (asks for root)
	@scripts/bench

lint: ## check formatting, and clippy with no warnings
	@scripts/setup build lint
	@scripts/lint

install: ## copy both into /usr/local (or PREFIX=, DESTDIR=): bin/tcp-bounce, lib/tcp-bounce/tcp_bounce.bpf.o
	@test -x tcp-bounce -a -e tcp_bounce.bpf.o || { echo 'error: there is no ./tcp-bounce: run `make build` first' >&2; exit 1; }
	install -D -m 755 tcp-bounce "$(DESTDIR)$(PREFIX)/bin/tcp-bounce"
	install -D -m 644 tcp_bounce.bpf.o "$(DESTDIR)$(PREFIX)/lib/tcp-bounce/tcp_bounce.bpf.o"

clean: ## remove what was built, but keep the tools in .tools
	cargo clean
	rm -rf src/bpf/target fuzz/target tcp-bounce tcp_bounce.bpf.o
