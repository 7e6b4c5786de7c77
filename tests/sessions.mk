# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Tiers, and the sessions of noxfile.py in each, long ones first: `make -j` starts them in this order.

quick := unit lint license-check extra-checks docs-check scripts docs
static := sanity-newest sanity-middle sanity-floor ansible-lint build-import-check artifact
pythons := pythons-i386 $(foreach minor,8 9 10 11 12 13 14,pythons-3.$(minor))
kernel := kernel-6.1 kernel-6.12 kernel-newest
e2e := e2e-rotation e2e-wire e2e-boot e2e-traffic e2e-cores e2e-solaris
liar := liar-newest liar-lab liar-middle liar-floor
all := molecule $(e2e) faults $(kernel) leak $(static) lab $(liar) controller browser $(quick) $(pythons) coverage

sessions := $(foreach word,$(TIER),$(or $($(word)),$(word)))

.PHONY: test $(sessions)
test: $(sessions)
$(sessions):
	@tests/session $@
coverage: $(filter unit kernel-newest,$(sessions))
