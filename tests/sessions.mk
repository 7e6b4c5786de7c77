# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Tiers, and the sessions of noxfile.py in each, long ones first: `make -j` starts them in this order, and a long one
# at the end would run alone.

quick := unit lint license-check extra-checks docs-check scripts docs
static := sanity-newest sanity-floor sanity-middle ansible-lint build-import-check artifact
pythons := pythons-i386 $(foreach minor,8 9 10 11 12 13 14,pythons-3.$(minor))
kernel := kernel-newest kernel-6.1 kernel-6.12
e2e := e2e-rotation e2e-wire e2e-fleet e2e-boot e2e-traffic e2e-settings e2e-modes e2e-cores e2e-backends
liar := liar-newest liar-middle liar-floor liar-lab
# What needs many labs or controllers takes turns: `make test` runs one of these parts, which the commit draws, so that
# it takes twenty minutes and not fifty. All of them: TIER=all.
part-1 := e2e-traffic e2e-fleet lab
part-2 := e2e-wire
part-3 := e2e-rotation molecule
part-4 := e2e-boot leak e2e-cores liar-middle
part-5 := controller e2e-settings liar-floor
part-6 := liar-newest liar-lab e2e-modes e2e-backends browser
parts := part-1 part-2 part-3 part-4 part-5 part-6
drawn := $(word $(shell expr $$(printf %s '$(SEED)' | cksum | cut -d' ' -f1) % $(words $(parts)) + 1),$(parts))
# `coverage` waits for two of them, the longest.
always := kernel-newest unit faults kernel-6.1 kernel-6.12 $(static) $(filter-out unit,$(quick)) $(pythons) coverage
commit := $($(drawn)) $(always)
all := $(foreach part,$(parts),$($(part))) $(always)

sessions := $(foreach word,$(TIER),$(or $($(word)),$(word)))

.PHONY: test list waiting $(sessions)
test: $(sessions)
list:
	@echo $(sessions)
waiting:
	@echo $(filter-out $(sessions),$(all))
$(sessions):
	@tests/session $@
coverage: $(filter unit kernel-newest,$(sessions))
