# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The completion of a rotation whose generation was approved: hosts use its SAs alone, in the kernel, in the protected
file and at boot, and remove the previous ones. Pure.
"""

from __future__ import annotations

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import ROTATION_DUE

from . import decisions, due, policies, questions, taking
from .rotation import ACCEPT, PERSIST, TIDY, UNNEST, Questions, Rotation


def accept(run: Rotation, host: str) -> Questions:
    yield from policies.alone(run, host, run.unnesting, switched=False)


def unnest(run: Rotation, host: str) -> Questions:
    yield from policies.alone(run, host, run.unnesting - policies.unconfirmed(run, ACCEPT), switched=True)


def persist(run: Rotation, host: str) -> Questions:
    """No host sends through the previous SAs, also after a reboot, so they are removed. What the host
    holds is compared once more: it may have rebooted since it was asked. If settings change with a gap, its file still
    held the previous SAs then. Other outbound SAs that it has lost are not loaded again, since their
    sequence numbers would begin again. The outbound policies, too, are named again. The host waits for the next run if
    a peer did not confirm what has to be done before.
    """
    if policies.held(run).intersection(run.expected["hosts"][host]["connections"]):
        return
    rows = [row for row in run.expected["connections"] if not (row["counter_mode"] or row["anti_replay"])]
    whole = run.pairs({row["name"] for row in rows} & run.gaps.keys(), host)
    behind = {"remove_src": run.replaced_file(host)} if run.left_behind(host) else {}
    yield questions.change_file(run, host, {"src": run.next_file(host), **behind})
    limits = {"direction": "inbound", "both_directions": decisions.listed(whole)}
    yield questions.change_sadb(run, host, {"src": run.next_file(host), "state": "exact", **limits})
    yield from policies.installed(run, host, policies.of_host(run, host))
    if behind:
        yield questions.removal(run, host)
    yield from taking.removal(run, host)
    # After the policies; otherwise the service would load them host by host.
    yield from policies.boot(run, host)
    # Last: the next run needs the files if this host has not done everything.
    yield questions.tidy(run, host, [ROTATION_DUE] if due.is_done(run, host) else [])


def problems(run: Rotation) -> list[str]:
    """Hosts whose protected file or SADB differs from the keystore, or that have not done everything else
    that they should.
    """
    unasked = run.unasked(
        PERSIST,
        lambda host: [
            *("file", "sadb", TIDY),
            *([policies.POLICIES] if run.own(host)["policies"] else []),
            *(["removal"] if run.left_behind(host) else []),
            *(question.name for question in taking.removal(run, host)),
            *([policies.SERVICE] if run.own(host)["boot"] else []),
        ],
    )
    return (
        run.problems(ACCEPT, UNNEST, PERSIST)
        or unasked
        or decisions.file_problems(run.results(PERSIST, "file"), run.expected)
        or decisions.agreement(run.results(PERSIST, "sadb"), run.expected)
    )
