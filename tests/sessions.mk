# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Tiers, and the sessions of noxfile.py in each, long ones first: `make -j` starts them in this order, and a long one
# at the end would run alone.

quick := unit lint license-check extra-checks docs-check scripts docs
static := sanity-newest sanity-floor sanity-middle ansible-lint build-import-check artifact
pythons := pythons-i386 $(foreach minor,8 9 10 11 12 13 14,pythons-3.$(minor))
kernel := $(foreach name,newest 6.12 6.1,$(addsuffix -$(name),modules command kernel))
measured := modules-newest command-newest kernel-newest unit coverage
e2e := $(addprefix e2e-,rotation wire audit fleet boot traffic settings interrupted modes cores backends)
controller := controller-plugins controller-role controller-runner
liar := $(addprefix liar-,newest leaving audit middle floor lab)
# What needs many labs, controllers or kernels takes turns: `make test` runs one of these parts, which the commit draws,
# so that it takes a quarter of an hour. All of them, in an hour and a half: TIER=all.
part-1 := e2e-traffic e2e-settings liar-floor
part-2 := e2e-wire e2e-cores sanity-floor
part-3 := e2e-rotation liar-lab
part-4 := molecule
part-5 := e2e-boot controller-role
part-6 := leak browser
part-7 := controller-plugins controller-runner lab
part-8 := liar-newest liar-leaving pythons-3.9
part-9 := e2e-fleet liar-audit
part-10 := kernel-6.1 kernel-6.12 pythons-3.10
part-11 := e2e-audit liar-middle
part-12 := modules-newest command-newest coverage
part-13 := e2e-modes build-import-check
part-14 := e2e-interrupted
part-15 := e2e-backends pythons-3.11
part-16 := invariants sanity-middle pythons-3.12
part-17 := command-6.12 pythons-3.13
part-18 := modules-6.12
part-19 := command-6.1
part-20 := modules-6.1
parts := $(foreach number,1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20,part-$(number))
drawn := $(word $(shell expr $$(printf %s '$(SEED)' | cksum | cut -d' ' -f1) % $(words $(parts)) + 1),$(parts))
always := pythons-3.8 kernel-newest unit faults sanity-newest ansible-lint artifact $(filter-out unit,$(quick)) \
    pythons-3.14 pythons-i386
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
coverage: $(filter-out coverage,$(filter $(measured),$(sessions)))
