# SPDX-License-Identifier: GPL-3.0-or-later
# Shortcuts; the build itself is Meson's.
#
#   make          build (installs nothing; names missing packages)
#   make setup    install the missing Debian packages (root)
#   make check    set-up, build, every test suite, sanitised run
#   make demo     set-up, build, three guests, measured figures
#   make bench    speed and memory as ratios, into doc/performance.md
#   make bench-live       packets a second that capture takes (root)
#   make bench-overhead   what being measured costs a guest (root)
#   make comparison   beside tcptrace, tshark, tcpdump and the truth, into doc/comparison.md
#                     and sample by sample into doc/rtt-peers.md
#   make install  PREFIX=/usr/local DESTDIR=
#   make asan     sanitised build and its tests    make fuzz   fuzz every parser, FUZZ_SECONDS each
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 20
ASAN_BUILD := $(BUILD)-asan
FUZZ_BUILD := $(BUILD)-fuzz
# Neighbours of a build machine keep their cores; tests measure, so they are not niced.
NINJA := nice ninja

all: $(BUILD)/build.ninja
	@$(NINJA) -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/setup.sh --check build
	@meson setup $(BUILD) --prefix=$(PREFIX)

$(ASAN_BUILD)/build.ninja:
	@meson setup $(ASAN_BUILD) -Db_sanitize=address,undefined -Db_lundef=false \
		-Darm64_agent=disabled

$(FUZZ_BUILD)/build.ninja:
	@CC=clang meson setup $(FUZZ_BUILD) -Dwerror=true -Dfuzz=true -Db_sanitize=address,undefined \
		-Db_lundef=false -Darm64_agent=disabled -Dc_args=-fsanitize=fuzzer-no-link

setup:
	@tools/setup.sh

# Installs what is missing; an older build folder then looks anew for what the build may use.
define install_missing
@if ! tools/setup.sh --check $(1) 2>/dev/null; then tools/setup.sh $(1) || exit 1; \
	[ ! -e $(BUILD)/build.ninja ] || meson setup --reconfigure $(BUILD); fi
endef

check:
	$(call install_missing)
	@$(MAKE) --no-print-directory all $(ASAN_BUILD)/build.ninja
	@$(NINJA) -C $(ASAN_BUILD)
	@python3 tools/run_tests.py $(BUILD) $(ASAN_BUILD):unit,fuzz,cli

demo:
	$(call install_missing,build run)
	@$(MAKE) --no-print-directory all
	@$(BUILD)/cli/vnetscope demo $(DEMO_ARGS)

bench-live: all
	@meson test -C $(BUILD) --no-rebuild --benchmark --verbose ebpf_cost tap_cost live

bench-overhead: all
	@meson test -C $(BUILD) --no-rebuild --benchmark --verbose overhead

bench: all
	@meson test -C $(BUILD) --no-rebuild --benchmark --verbose performance

comparison:
	$(call install_missing)
	@$(MAKE) --no-print-directory all
	@meson test -C $(BUILD) --no-rebuild --benchmark --verbose comparison rtt-peers

asan: $(ASAN_BUILD)/build.ninja
	@$(NINJA) -C $(ASAN_BUILD)
	@python3 tools/run_tests.py $(ASAN_BUILD):unit,fuzz,cli

fuzz: $(FUZZ_BUILD)/build.ninja
	@$(NINJA) -C $(FUZZ_BUILD) fuzzers
	@tools/fuzz.sh $(FUZZ_BUILD) $(FUZZ_SECONDS)

# A build folder remembers its prefix; it is told anew only when another one is asked for.
install: all
	@meson configure $(BUILD) --prefix=$(PREFIX) >/dev/null
	@$(NINJA) -C $(BUILD)
	@meson install -C $(BUILD) --no-rebuild --quiet $(if $(DESTDIR),--destdir=$(abspath $(DESTDIR)))

clean:
	rm -rf $(BUILD) $(ASAN_BUILD) $(FUZZ_BUILD)

.PHONY: all setup check demo bench bench-live bench-overhead comparison asan fuzz install clean
