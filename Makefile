PREFIX ?= /usr/local
export CARGO_TARGET_DIR ?= $(CURDIR)/target

# Also a shell that does not know of rustup finds it.
ifeq ($(shell command -v cargo),)
ifneq ($(wildcard $(HOME)/.cargo/bin/cargo),)
export PATH := $(PATH):$(HOME)/.cargo/bin
endif
endif

.PHONY: help setup build demo test bench lint install clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing to build, test and lint
	@scripts/setup build demo test lint

build: ## build ./tcp-bounce, and set up what that takes
	@scripts/setup build
	cargo build --release
	@install -m 755 "$(CARGO_TARGET_DIR)/release/tcp-bounce" tcp-bounce

demo: ## build, and watch it answer on a network of its own (asks for root)
	@scripts/setup demo build
	@$(MAKE) --no-print-directory build
	@scripts/demo

test: ## run all tests; those that need root only as root, or with SUDO=sudo
	@scripts/test

bench: ## measure it; with PEER_OBJ=FILE also another XDP program (asks for root)
	@scripts/setup build
	@scripts/bench

lint: ## check formatting, and clippy with no warnings
	@scripts/setup build lint
	@scripts/lint

install: ## copy ./tcp-bounce to /usr/local/bin (or PREFIX=, DESTDIR=)
	@test -x tcp-bounce || { echo 'error: there is no ./tcp-bounce: run `make build` first' >&2; exit 1; }
	install -D -m 755 tcp-bounce "$(DESTDIR)$(PREFIX)/bin/tcp-bounce"

clean: ## remove what was built, but keep the tools in .tools
	cargo clean
	rm -rf src/bpf/target tcp-bounce
