# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Tiers, and the sessions of noxfile.py in each, long ones first: `make -j` starts them in this order, and a long one
# at the end would run alone.

quick := unit lint license-check extra-checks docs-check scripts docs
static := sanity-newest sanity-floor sanity-middle ansible-lint build-import-check artifact
pythons := pythons-i386 $(foreach minor,8 9 10 11 12 13 14,pythons-3.$(minor))
kernel := kernel-newest kernel-6.1 kernel-6.12
e2e := e2e-rotation e2e-wire e2e-fleet e2e-boot e2e-traffic e2e-cores e2e-backends
liar := liar-newest liar-middle liar-floor liar-lab
# The longest of all tiers; `coverage` waits for two of them.
long := molecule e2e-rotation e2e-wire e2e-boot kernel-newest controller unit
rest := $(e2e) faults $(kernel) leak $(static) lab $(liar) $(quick) $(pythons) browser coverage
all := $(long) $(filter-out $(long),$(rest))

sessions := $(foreach word,$(TIER),$(or $($(word)),$(word)))

.PHONY: test $(sessions)
test: $(sessions)
$(sessions):
	@tests/session $@
coverage: $(filter unit kernel-newest,$(sessions))
