# SPDX-License-Identifier: GPL-3.0-or-later
# Shortcuts; the build itself is Meson's. BUILD names the build folder.
BUILD ?= build

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD)

.PHONY: all
