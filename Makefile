# The whole project by a few words. Everything needed beyond a Rust toolchain comes by cargo.
.PHONY: demo test lint

CARGO ?= cargo
# e.g. DEMO_ARGS='--for 10s'; DEMO_PROFILE=release builds longer and answers faster.
DEMO_ARGS ?=
DEMO_PROFILE ?= dev

# The main job: the book shop under load, steered by Istio YAML.
demo:
	$(CARGO) run --locked --profile $(DEMO_PROFILE) --package bookinfo -- $(DEMO_ARGS)

# Tests, doctests and examples, as CI runs them.
test:
	$(CARGO) test --locked --workspace

lint:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
