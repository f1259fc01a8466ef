# The whole project by a few words. Everything needed beyond a Rust toolchain comes by cargo.
.PHONY: demo test lint bench fmt

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

# Every figure, side by side with peers; also in target/bench/results.json. Instruction counts need valgrind.
bench:
	$(CARGO) build --locked --profile bench --package mesh-benches
	target/release/mesh-benches $(BENCH_ARGS)

fmt:
	$(CARGO) fmt --all
