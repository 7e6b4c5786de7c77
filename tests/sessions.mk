# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Tiers, and the sessions of noxfile.py in each, long ones first: `make -j` starts them in this order, and a long one
# at the end would run alone.

quick := unit lint license-check extra-checks docs-check scripts docs
static := sanity-newest sanity-floor sanity-middle ansible-lint build-import-check artifact
pythons := pythons-i386 $(foreach minor,8 9 10 11 12 13 14,pythons-3.$(minor))
kernel := programs kernel-newest kernel-6.1 kernel-6.12
e2e := e2e-rotation e2e-wire e2e-audit e2e-fleet e2e-boot e2e-traffic e2e-settings e2e-interrupted e2e-modes \
    e2e-cores e2e-backends
liar := liar-newest liar-middle liar-floor liar-lab
# What needs many labs, controllers or kernels takes turns: `make test` runs one of these parts, which the commit draws,
# so that it takes a quarter of an hour and not an hour. All of them: TIER=all.
part-1 := e2e-traffic e2e-settings sanity-floor
part-2 := e2e-wire
part-3 := e2e-rotation liar-lab
part-4 := molecule pythons-3.9
part-5 := e2e-boot e2e-backends
part-6 := leak e2e-cores
part-7 := controller lab
part-8 := liar-newest pythons-3.10
part-9 := invariants e2e-fleet
part-10 := kernel-6.1 e2e-audit liar-middle pythons-3.11
part-11 := kernel-6.12 sanity-middle browser pythons-3.12 pythons-3.13
part-12 := programs coverage
part-13 := e2e-modes liar-floor
part-14 := e2e-interrupted
parts := $(foreach number,1 2 3 4 5 6 7 8 9 10 11 12 13 14,part-$(number))
drawn := $(word $(shell expr $$(printf %s '$(SEED)' | cksum | cut -d' ' -f1) % $(words $(parts)) + 1),$(parts))
always := kernel-newest unit faults sanity-newest ansible-lint build-import-check artifact \
    $(filter-out unit,$(quick)) pythons-3.8 pythons-3.14 pythons-i386
commit := $($(drawn)) $(always)
all := $(foreach part,$(parts),$($(part))) $(always)

sessions := $(foreach word,$(TIER),$(or $($(word)),$(word)))
# With coverage the tests of the core take twice as long.
export MEASURED := $(filter coverage,$(sessions))

.PHONY: test list waiting $(sessions)
test: $(sessions)
list:
	@echo $(sessions)
waiting:
	@echo $(filter-out $(sessions),$(all))
$(sessions):
	@tests/session $@
coverage: $(filter unit kernel-newest programs,$(sessions))
