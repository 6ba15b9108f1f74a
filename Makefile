# Every target does its own set-up. `make run` and `make test` are all a newcomer needs.

CARGO ?= $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)
PREFIX ?= /usr
DESTDIR ?=
ARGS ?=
PLUGINS = rules-falco output-console output-file output-program output-syslog output-http output-grpc output-nats
BIN = target/release/lanner

.PHONY: run build test lint bench bench-quick install setup clean docs header conformance-report test-kernels \
	cross-arm64 test-kernels-arm64

# ARGS are those of `lanner run`, or a whole command line that begins with one of lanner's verbs.
VERB = $(if $(filter run trace record drivers syscalls fields rules plugins config help,$(firstword $(ARGS))),,run)

run: build
	@if [ "$$(id -u)" != 0 ] && [ -z '$(ARGS)' ]; then \
		echo "without root the whole host cannot be watched: here is a shell that is"; \
		exec $(BIN) run -- "$${SHELL:-/bin/sh}"; \
	fi; \
	exec $(BIN) $(VERB) $(ARGS)

build: setup
	$(CARGO) build --release --quiet -p lanner --no-default-features --features $$(tools/features)
	$(CARGO) build --release --quiet $(addprefix -p ,$(PLUGINS))

setup:
	@tools/setup build

test:
	@tools/setup test
	@tools/runtimes
	tools/test

lint:
	@tools/setup test
	$(CARGO) fmt --all --check
	@if command -v clang-format >/dev/null || [ -n "$$LANNER_NO_SKIP" ]; then \
		clang-format --dry-run --Werror driver-api/bpf/*.h driver-ebpf/bpf/*.h driver-ebpf-*/bpf/*.[ch] \
			bench/bpf/*.c bench/*.c engine/lanner/tests/scenarios/*.c; \
	else \
		echo "skipped: the layout of C, for which clang-format is not installed"; \
	fi
	$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings

# What the drivers cost, beside their peers; writes docs/performance.md. bench-quick takes under five minutes.
# ARGS are those of lanner-bench (--help lists them).
bench: build
	@tools/setup bench
	$(CARGO) build --release --quiet -p bench --no-default-features --features $$(tools/features quiet)
	target/release/lanner-bench --markdown docs/performance.md $(ARGS)

bench-quick:
	@$(MAKE) --no-print-directory bench ARGS="--quick $(ARGS)"

# The reference pages that are made from the tables.
docs: build
	$(BIN) fields --markdown > docs/fields.md
	$(BIN) syscalls --markdown > docs/syscalls.md

# The C headers that are made from Rust: of the plugin border, and of what the BPF programs share with user space.
header:
	LANNER_WRITE_HEADER=1 $(CARGO) test --quiet -p lanner-plugin --test header the_header_is_current
	LANNER_WRITE_HEADER=1 $(CARGO) test --quiet -p bpf-headers --test headers

# What each driver delivers of each call: as root, all of them.
conformance-report:
	$(CARGO) test --quiet -p drivers --no-default-features --features $$(tools/features) --test syscalls -- --report

# The drivers on other kernels, in virtual machines: the matrix of docs/drivers.md, which the default kernels write.
# ARGS are those of tools/test-kernels (--row WORD).
KERNELS ?= 5.10 6.1 6.12 7.2

test-kernels:
	@tools/setup kernels
	tools/test-kernels $(if $(filter file,$(origin KERNELS)),--write docs/drivers.md) $(ARGS) $(KERNELS)

# The workspace for aarch64, from any machine; and the conformance suite on arm64 kernels in qemu (ARGS: kernels).
cross-arm64:
	@tools/setup build
	tools/arm64/cargo build --quiet --workspace --all-targets

test-kernels-arm64:
	@tools/setup build
	tools/test-kernels-arm64 $(ARGS)

install: build
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/lanner
	install -d -m 755 $(DESTDIR)$(PREFIX)/lib/lanner/plugins $(DESTDIR)/etc/lanner
	$(foreach plugin,$(PLUGINS),install -m 644 target/release/lib$(subst -,_,$(plugin)).so $(DESTDIR)$(PREFIX)/lib/lanner/plugins/ &&) true
	install -D -m 644 plugins/api/include/lanner_plugin.h $(DESTDIR)$(PREFIX)/include/lanner_plugin.h
	install -m 644 rules/lanner_rules.yaml $(DESTDIR)/etc/lanner/lanner_rules.yaml
	[ -e $(DESTDIR)/etc/lanner/lanner.yaml ] || install -m 644 packaging/lanner.yaml $(DESTDIR)/etc/lanner/lanner.yaml
	install -d -m 755 $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's#/usr/bin/#$(PREFIX)/bin/#' packaging/lanner.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/lanner.service

clean:
	$(CARGO) clean
