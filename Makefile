# `make demo` shows what Ocicat does; `make test` shows that it does it. Both install what they need.

SHELL := /bin/bash
CARGO_DENY := 0.20.2

.PHONY: demo test check bench build packages test-packages tools

# A lab of a small web shop: built, proven with real packets, explained, taken down.
demo: build
	@examples/shop/demo.sh

# The checks of the house and all tests. The last line counts passed, failed and skipped.
test: packages test-packages tools
	cargo xtask test

# Only the checks: format, clippy, directions, lengths, tidiness, licences.
check: packages tools
	cargo xtask check

# Measures what SPECIFICATION.md promises; instructions are counted in a second run, which takes minutes.
bench: packages
	@command -v valgrind >/dev/null || $(call install,valgrind)
	cargo build --release --locked --package ocicat-bench
	cargo run --release --locked --package ocicat-bench --bin measure -- --results bench/results
	cargo run --release --locked --package ocicat-bench --bin scale

build: packages
	cargo build --release --locked --package ocicat-cli

# What the build needs besides Rust. Nothing else is needed to run.
packages:
	@command -v cargo >/dev/null || { echo 'Rust is missing: https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || $(call install,build-essential)

# What the tests look at the result with. The product calls none of them.
test-packages:
	@missing=; \
	command -v nft >/dev/null || missing="$$missing nftables"; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	command -v conntrack >/dev/null || missing="$$missing conntrack"; \
	command -v kubectl >/dev/null || missing="$$missing kubernetes-client"; \
	[ -z "$$missing" ] || $(call install,$$missing)

# The licence check. Fetches crates, so that the check itself needs no network.
tools:
	@cargo fetch --locked --quiet
	@cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked --version $(CARGO_DENY)

install = { apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1); }
