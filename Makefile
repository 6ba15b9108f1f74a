# Every target installs what it needs. `make run` and `make test` are all that a newcomer needs.

CARGO ?= $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)
PREFIX ?= /usr
DESTDIR ?=
ARGS ?=
# cargo's profile: `release` is quick to build; `dist` is for packages and measurements (Cargo.toml).
PROFILE ?= release
PLUGINS = rules-falco $(sort $(notdir $(wildcard plugins/output-*)))
# The machine that is built for: this one, or aarch64 from another one.
ARCH = $(shell uname -m)
FOREIGN = $(filter-out $(shell uname -m),$(ARCH))
$(if $(filter-out aarch64,$(FOREIGN)),$(error ARCH=$(ARCH): only aarch64 can be built for on another machine))
BUILT = target/$(FOREIGN:%=%-unknown-linux-gnu/)$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

.PHONY: run build test test-packages test-packages-quick lint fuzz bench bench-quick install install-built packages pages \
	setup clean docs header conformance-report test-kernels bypass-page pictures one-file static image cross-arm64 test-kernels-arm64 \
	test-packages-arm64

# ARGS are arguments of `lanner run`, or a whole command line that begins with one of lanner's verbs.
VERB = $(if $(filter run trace top record convert drivers syscalls fields rules plugins outputs config help copy,$(firstword $(ARGS))),,run)

run: build
	@if [ "$$(id -u)" != 0 ] && [ -z '$(ARGS)' ]; then \
		echo "without root, lanner cannot watch the whole host: it watches this shell instead"; \
		exec $(BUILT)/lanner run -- "$${SHELL:-/bin/sh}"; \
	fi; \
	exec $(BUILT)/lanner $(VERB) $(ARGS)

# One invocation of cargo for the program and its plugins: it settles the features of shared dependencies once, so
# that each is compiled once. libbpf is built by a make of its own, which must not see the DESTDIR and PREFIX of this one.
COMPILE = MAKEFLAGS= $(if $(FOREIGN),tools/arm64/cargo,$(CARGO)) build --profile $(PROFILE) --no-default-features --features $$(tools/features) \
	-p lanner $(addprefix -p ,$(PLUGINS))

build: setup
	$(COMPILE)

setup:
	@tools/setup build

test:
	@tools/setup test
	@tools/runtimes
	@tools/peers
	tools/test

lint:
	@tools/setup test
	tools/lint

# A short run of each fuzz target: FUZZ_SECONDS of each (60). ARGS are names of targets (all).
fuzz:
	@tools/setup build
	tools/fuzz $(ARGS)

# What the drivers cost, compared with other tracers; writes docs/performance.md. bench-quick takes a few minutes.
# ARGS are those of lanner-bench (--help lists them).
bench: PROFILE = dist
bench:
	@tools/setup bench
	$(COMPILE) -p bench
	$(BUILT)/lanner-bench --markdown docs/performance.md $(ARGS)

bench-quick:
	@$(MAKE) --no-print-directory bench ARGS="--quick $(ARGS)"

# The reference pages that are made from the tables.
docs: build
	$(BUILT)/lanner fields --markdown > docs/fields.md
	$(BUILT)/lanner syscalls --markdown > docs/syscalls.md

# The C headers that are made from Rust: of the plugin border, and of what the BPF programs share with user space.
header:
	LANNER_WRITE_HEADER=1 $(CARGO) test --quiet -p lanner-plugin --test header the_header_is_current
	LANNER_WRITE_HEADER=1 $(CARGO) test --quiet -p bpf-headers --test headers

# What each driver delivers of each call. Only root can run all drivers.
conformance-report:
	$(CARGO) test -p drivers --no-default-features --features $$(tools/features) --test syscalls -- --report

# What becomes of ways past a monitor: docs/bypass.md, after a run of all of them. Only root can run all drivers.
bypass-page:
	LANNER_WRITE_PAGE=1 $(CARGO) test -p lanner --no-default-features --features $$(tools/features) --test bypass \
		the_page_is_current

# The pictures in docs/images: of the page by a browser, and of `lanner top` in a terminal.
pictures:
	@tools/setup test
	LANNER_WRITE_PICTURES=1 $(CARGO) test -p lanner --no-default-features --features $$(tools/features) --test delivery \
		the_pictures_are_small_and_there
	tools/top-picture target/debug/lanner docs/images/top.svg

# The drivers on other kernels, in virtual machines: the matrix of docs/drivers.md, which the default kernels write.
# ARGS are those of tools/test-kernels (--row WORD).
KERNELS ?= 5.10 6.1 6.12 7.2

test-kernels:
	@tools/setup kernels
	tools/test-kernels $(if $(filter file,$(origin KERNELS)),--write docs/drivers.md) $(ARGS) $(KERNELS)

# The workspace for aarch64, from any machine; and the conformance suite on arm64 kernels in qemu (ARGS: kernels).
cross-arm64:
	@tools/setup build
	tools/arm64/cargo build --workspace --all-targets

test-kernels-arm64:
	@tools/setup build
	tools/test-kernels-arm64 $(ARGS)

# Manual pages and completions for shells, in target/pages. They are the same for every machine. What writes them is built together
# with the program: alone, it would need most crates once more, with other features.
pages:
	@tools/setup build
	$(if $(FOREIGN),$(CARGO) build --no-default-features --features $$(tools/features quiet) -p command-line,$(COMPILE)) -p pages
	$(if $(FOREIGN),target/debug,$(BUILT))/pages target/pages

install: build pages
	@$(MAKE) --no-print-directory install-built

# Installs what was built before, and the pages in target/pages.
install-built:
	install -D -m 755 $(BUILT)/lanner $(DESTDIR)$(PREFIX)/bin/lanner
	install -d -m 755 $(DESTDIR)$(PREFIX)/lib/lanner/plugins $(DESTDIR)/etc/lanner/rules.d
	$(foreach plugin,$(PLUGINS),install -m 644 $(BUILT)/lib$(subst -,_,$(plugin)).so $(DESTDIR)$(PREFIX)/lib/lanner/plugins/ &&) true
	install -D -m 644 plugins/api/include/lanner_plugin.h $(DESTDIR)$(PREFIX)/include/lanner_plugin.h
	install -m 644 rules/lanner_rules.yaml $(DESTDIR)/etc/lanner/lanner_rules.yaml
	[ -e $(DESTDIR)/etc/lanner/lanner.yaml ] || install -m 644 packaging/lanner.yaml $(DESTDIR)/etc/lanner/lanner.yaml
	install -d -m 755 $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/doc/lanner
	for page in target/pages/man/*.1; do \
		gzip -9n < $$page > $(DESTDIR)$(PREFIX)/share/man/man1/$${page##*/}.gz || exit 1; done
	install -m 644 LICENSE README.md CHANGELOG.md $(DESTDIR)$(PREFIX)/share/doc/lanner/
	install -D -m 644 target/pages/bash/lanner $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lanner
	install -D -m 644 target/pages/zsh/_lanner $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lanner
	install -D -m 644 target/pages/fish/lanner.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lanner.fish
	install -d -m 755 $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's#/usr/bin/#$(PREFIX)/bin/#' packaging/lanner.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/lanner.service

# A .deb and an .rpm in target/package, and the debug information of their build. ARGS: another version. ARCH=aarch64 makes those
# of that machine on another one.
packages: PROFILE = dist
packages:
	@tools/setup packages
	@$(if $(FOREIGN),tools/setup arm64)
	tools/package $(FOREIGN:%=--for %) $(PROFILE) $(ARGS)

# lanner with plugins built in, as target/lanner-one-file.
BUILT_IN ?= rules-falco output-console

one-file: PROFILE = dist
one-file:
	@tools/setup build
	tools/one-file $(PROFILE) $(BUILT_IN)

# lanner with all its plugins built in, without any library, as target/lanner-static.
static: PROFILE = dist
static: BUILT_IN = $(PLUGINS)
static:
	@tools/setup static
	tools/static/build $(PROFILE) $(BUILT_IN)

# The container image, from the file of `make one-file` and the other plugins, into podman's storage.
IMAGE ?= localhost/lanner:$(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1)

image: PROFILE = dist
image: build
	@tools/setup image
	tools/one-file $(PROFILE) $(BUILT_IN)
	tools/image $(IMAGE) target/lanner-one-file $(BUILT)

# Installs, upgrades, runs and purges the packages, runs built-in plugins and the image, and validates the manifests. Needs root.
test-packages: PROFILE = dist
test-packages:
	@tools/setup packages
	@tools/setup static
	@tools/setup image
	tools/test-packages --profile $(PROFILE) $(ARGS)
	tools/one-file $(PROFILE) $(BUILT_IN)
	tools/test-one-file target/lanner-one-file $(BUILT_IN)
	tools/static/build $(PROFILE) $(PLUGINS)
	tools/test-one-file target/lanner-static $(PLUGINS)
	tools/test-old-host target/lanner-static
	tools/image localhost/lanner-test:latest target/lanner-one-file $(BUILT)
	tools/test-image localhost/lanner-test:latest
	tools/test-manifests

# The same in a few minutes, with what `make test` has built: without an upgrade, built-in plugins and a static program, which need
# builds of their own.
test-packages-quick:
	@tools/setup packages
	@tools/setup image
	tools/test-packages --quick $(ARGS)
	tools/image localhost/lanner-test:latest target/debug/lanner target/debug
	tools/test-image localhost/lanner-test:latest
	tools/test-manifests

# The packages for aarch64, made on another machine: what they say and have, and the programs under qemu.
test-packages-arm64: PROFILE = release
test-packages-arm64:
	@tools/setup packages
	@tools/setup arm64
	tools/package --for aarch64 $(PROFILE)
	tools/test-packages-arm64

clean:
	$(CARGO) clean
