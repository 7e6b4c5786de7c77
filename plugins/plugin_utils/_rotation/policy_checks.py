# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hosts say before a rotation about their policies and what they load at boot, and what follows: reasons not
to begin, and warnings. Pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import TUNNEL

from . import decisions, policies
from .rotation import BOOT, PREFLIGHT, Question, Questions, Result, Rotation

_SMF = "smf"  # service manager of Solaris and illumos
# Settings that policies repeat.
_SELECTING = frozenset(("reqid", "mark", "other_mark", "if_id", "mode", "protocols", "other_protocols"))


def checked(run: Rotation, host: str) -> Questions:
    """What the host says before the run about its service at boot, and about what it would change."""
    own = run.own(host)
    if own["policies"] or own["boot"]:
        query = {"state": "query", "service_manager": own["boot_options"]["service_manager"]}
        yield Question(BOOT, "ipsec_boot", query)
    for question in policies.installed(run, host, policies.of_host(run, host)):
        # Nothing changes, so there is no deadline; the host's clock is not known yet.
        options = {name: value for name, value in question.options.items() if name != "deadline"}
        yield question._replace(options=options, check=True)
    yield from policies.boot(run, host, check=True)


def out_of_place(run: Rotation) -> list[tuple[str, str]]:
    """The hosts that would change their policies or what they load at boot, and which of the two."""
    return [
        (host, word)
        for host in run.hosts
        for name, word in ((policies.POLICIES, "the SPD"), (policies.SERVICE, BOOT))
        if run.answers(PREFLIGHT, host).get(name).get("changed")
    ]


def boot_problems(run: Rotation, host: str) -> list[str]:
    """Why loading at boot cannot be set up on a host, or why it would load SAs at boot without the
    policies of this run. The answers only decide whether the run continues.
    """
    own, service = run.own(host), run.answers(PREFLIGHT, host).get(BOOT)
    if decisions.was_skipped(service) or decisions.has_failed(service):
        return []
    if own["boot"]:
        return [f"{host}: {problem}" for problem in _service_problems(own, service)]
    if not policies.is_loaded_at_boot(run, host):
        return []
    loaded = frozenset(service["policies"])
    labels = [policies.labelled(policy) for policy in policies.of_host(run, host)]
    # A policy for all protocols will do.
    missing = [text for text in labels if loaded.isdisjoint((text, text.partition(" protocol ")[0]))]
    if not missing:
        return []
    more = f" and {len(missing) - 1} more" if missing[1:] else ""
    return [
        f"{host}: it loads SAs at boot, but not policy {missing[0]}{more}, so after a reboot traffic"
        " would leave unencrypted: run with rotate_boot, too, or name the policies in boot_policies and run"
        " the role boot first"
    ]


def overtaken(run: Rotation) -> list[str]:
    """Hosts where a policy would lose its place, so that traffic might pass in the clear from then on."""
    found = []
    for host in run.hosts:
        rows = run.answers(PREFLIGHT, host).get(policies.POLICIES).get("overtaken", ())
        if rows:
            row, ours = rows[0], run.own(host)["policy_priority"]
            kept = min(row["priority"] for row in rows)
            found.append(
                f"{host}: policy {row['policy']} has priority {row['priority']} now. With {ours}, policy"
                f" {row['other']} with priority {row['other_priority']} would come first: set rotate_policy_priority to"
                f" {kept} for this host, or remove that policy"
            )
    return found


def boot_warnings(run: Rotation) -> list[str]:
    """Hosts that load another file at boot than that of this run, as operators may have arranged, and hosts that go on
    loading policies which were made for other SAs than those of this run. They name policies by direction and addresses
    only, so it is not known whether somebody has adapted them.
    """
    found = []
    for host in run.hosts:
        own, loads = run.own(host), policies.is_loaded_at_boot(run, host)
        service = run.answers(PREFLIGHT, host).get(BOOT)
        if service.get("installed") and service.get("enabled") and not own["boot"] and not loads:
            found.append(
                f"{host}: it loads {service['file']} at boot, which is not the file of this run, so a reboot brings"
                " other SAs than these: run with rotate_boot: true, or run the role boot with boot_file."
            )
        rows = run.expected["connections"] if own["policies"] and not own["boot"] and loads else []
        names = [
            row["name"] for row in rows if host in row["endpoints"] and _SELECTING.intersection(row.get("changing", ()))
        ]
        if names:
            found.append(
                f"{host}: it loads SAs and policies at boot, and without rotate_boot these policies stay as they are,"
                f" although settings of {', '.join(decisions.summed_up(run.expected, names))} change that say which"
                " SAs they use. So its traffic may stop at the next boot: run with rotate_boot: true, or run the role"
                " boot with the new policies at once."
            )
    return found


def pauses(run: Rotation) -> list[str]:
    """Warnings about traffic that a tunnel with keys does not carry yet, and will: no order of the hosts spares it,
    since one that has the inbound policies of the tunnel drops clear text, and one that lacks them drops what
    arrives through the tunnel.
    """
    keyed = {row["name"] for row in run.expected["connections"] if row["current"]}.difference(run.gaps)
    found = set()
    for host in run.hosts:
        added = frozenset(run.answers(PREFLIGHT, host).get(policies.POLICIES).get("added", ()))
        for name, now, earlier in run.units(host, keyed) if added else ():
            before = policies.of_unit(run, earlier, host)
            # Those for another mark or address are new, too, but their traffic has policies.
            rows = [
                policy
                for policy in policies.of_unit(run, now, host)
                if any(policies.is_same(policy, other) for other in before)
            ]
            if now.mode == TUNNEL and any(policies.labelled(policy) in added for policy in rows):
                found.add(name)
    return [
        f"connection {name}: traffic between networks that its tunnel does not carry yet pauses between the cut-overs"
        " of its hosts. All other traffic goes on."
        for name in decisions.summed_up(run.expected, found)
    ]


def _service_problems(own: Result, service: Result) -> t.Iterator[str]:
    """Why rotate_boot would fail on a host after its keys have changed."""
    manager = service.get("service_manager")
    if not manager:
        yield (
            "rotate_boot cannot set up loading at boot, since no known service manager was found on this host: name it"
            " in boot_service_manager, or run without rotate_boot"
        )
    elif not service.get("running", True) and own["boot_options"].get("load", True):
        yield (
            f"rotate_boot cannot start the service, since {manager} does not run on this host, as in many containers:"
            " run without rotate_boot, or set boot_load to false for a host that will be booted"
        )
    if manager == _SMF and (own["policies"] or own["boot_policies"]):
        yield (
            "rotate_boot cannot load policies at boot on this system, which has /etc/inet/ipsecinit.conf for them: run"
            " without rotate_policies and rotate_boot_policies there"
        )
