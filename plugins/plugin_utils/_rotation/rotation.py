# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One rotation: its steps by name, what the run decided, and what the hosts answered. Pure."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import mark_text

from .._connections.model import Connection, Unit, as_it_was, as_replaced
from .._connections.units import connection_of, names_at
from .._keystore.records import RETIRING
from . import decisions, nesting
from .record import Answers

Result = t.Dict[str, t.Any]

# The steps in which hosts are asked.
PREFLIGHT = "preflight"
STAGE = "stage"
CUT_OVER = "cut_over"
SEND = "send"
ARRIVALS = "arrivals"
GO_BACK = "go_back"
FORGET = "forget"
ACCEPT = "accept"
UNNEST = "unnest"
PERSIST = "persist"
LEAVE = "leave"
# Questions that belong to several steps.
TIDY = "tidy"
BOOT = "boot"
_POLICIES = "policies"


def _replaces(connection: Connection) -> bool:
    return connection.replaces_reqid is not None


class Question(t.NamedTuple):
    """One call of a module: its name within the step, the module of this collection, its options, and
    whether it only predicts what it would change.
    """

    name: str
    module: str
    options: dict[str, t.Any]
    check: bool = False


# What a host is asked in a step, in one go: a question that fails is the last.
Questions = t.Iterator[Question]


class Rotation:
    """One run, read from its record.

    ``state`` holds the decisions of the run: ``wide`` its inputs, ``own`` those of each host,
    ``expected`` the result of `ipsec_keystore`, and the flags that the steps set. ``answers`` returns
    a host's answers in a step: (step, host). ``text`` returns the ipseckeys text of a host's SAs:
    (names of units, host, generation). ``left`` returns the text that removes a host's SAs of units that
    left: (units by connection, host). ``valid`` returns the text of all SAs of the keystore that a
    host may use, with other keys. ``started`` is when this step began, in seconds since the epoch, controller's clock.
    """

    def __init__(
        self,
        state: dict[str, t.Any],
        answers: t.Callable[[str, str], Answers],
        text: t.Callable[[t.Sequence[str], str, str], str] = lambda names, host, generation: "",
        connections: t.Callable[[], t.Sequence[Connection]] = tuple,
        started: float = 0.0,
        left: t.Callable[[t.Mapping[str, frozenset[Unit]], str], str] = lambda units, host: "",
        valid: t.Callable[[str], str] = lambda host: "",
    ) -> None:
        self.state = state
        self.answers = answers
        self.text = text
        self.connections = functools.lru_cache(maxsize=None)(connections)
        self.started = started
        self.left = left
        self.valid = valid
        self._known: tuple[Result, dict[str, str], frozenset[str], frozenset[str], frozenset[str]] | None = None

    @property
    def expected(self) -> Result:
        return t.cast(Result, self.state["expected"])

    @property
    def wide(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.state["wide"])

    @property
    def hosts(self) -> list[str]:
        return sorted(self.expected["hosts"])

    @property
    def gaps(self) -> dict[str, str]:
        """Why units do not overlap, by name."""
        return self._ways()[0]

    def _ways(self) -> tuple[dict[str, str], frozenset[str], frozenset[str], frozenset[str]]:
        """`gaps`, `beside`, `taking` and `nested`, which are asked for often."""
        if self._known is None or self._known[0] is not self.expected:
            exchanging = {host for host, own in self.state.get("own", {}).items() if own["policies"]}
            taking = frozenset[str]().union(*(self.taken(host) for host in self.hosts))
            nested = self._can_nest() - taking
            gaps = decisions.gaps(self.expected, self.wide["strategy"], exchanging, self.pinned, nested)
            keyed = {row["name"] for row in self.expected["connections"] if row["current"]}
            beside = (decisions.moving(self.expected) | (taking - keyed)).difference(gaps)
            self._known = (self.expected, gaps, frozenset(beside), taking, nested.difference(gaps))
        return self._known[1:]

    def _can_nest(self) -> frozenset[str]:
        """The units whose mode alone changes, and whose hosts can send through SAs of both (`nesting`). A host that
        lacks a policy would send in the clear what the others accept through SAs only.
        """
        rows = decisions.changing_mode(self.expected)
        fit = {connection.name for connection in self.connections() if nesting.is_fit(connection)} if rows else set()
        names = {row["name"] for row in rows if connection_of(row["name"]) in fit and not row["before"].get("udp_port")}
        for host in self.hosts if names else ():
            missing = frozenset(self.answers(PREFLIGHT, host).get(_POLICIES).get("added", ()))
            units = self.units(host, names) if missing else ()
            names -= {name for name, now, dummy in units if nesting.is_lacking(now, host, missing)}
        return frozenset(names)

    @property
    def beside(self) -> frozenset[str]:
        """The units whose previous SAs stay beside the new ones until no host needs them any more: policies,
        and not the SADB alone, decide through which a host sends.
        """
        return self._ways()[1]

    @property
    def nested(self) -> frozenset[str]:
        """The units that change between transport and tunnel mode, and whose hosts send through the SAs of both
        meanwhile (`nesting`).
        """
        return self._ways()[3]

    @property
    def ahead(self) -> frozenset[str]:
        """Those of them for which an earlier run may have done the step `ACCEPT` or more."""
        return self.nested.intersection(self.state.get("ahead", ()))

    @property
    def unnesting(self) -> frozenset[str]:
        """Those of them whose hosts have sent through both since the cut-over of this run, which was approved."""
        return self.nested.intersection(decisions.in_phase(self.expected, RETIRING)) - self.ahead

    @property
    def overtaking(self) -> frozenset[str]:
        """The units whose previous outbound policies can choose the new SAs: they name no other reqid or address, and
        a mark is compared with that of the policy alone (net/xfrm/xfrm_state.c, xfrm_state_find).
        """
        rows = self.expected["connections"]
        return frozenset(row["name"] for row in rows if "mark" in row.get("changing", ()))

    @property
    def accepting_both(self) -> frozenset[str]:
        """The units whose inbound policies accept packets through previous and new SAs meanwhile. Beside those of
        `beside`, which have no other previous SAs, these are all for which SAs are taken over.
        """
        return self.beside | self.taking.difference(self.gaps)

    @property
    def taking(self) -> frozenset[str]:
        """The units for which a host holds SAs that others made, and that those of the units replace."""
        return self._ways()[2]

    def taken(self, host: str) -> dict[str, Connection]:
        """The host's units, by name, for which it holds such SAs itself, each as a connection that has them."""
        there = {connection.name: connection for connection in self.connections() if _replaces(connection)}
        held = self.answers(PREFLIGHT, host).get(PREFLIGHT).get("held", ()) if there else ()
        found = {}
        for row in self.expected["connections"] if held else ():
            connection = there.get(connection_of(row["name"]))
            if connection is not None and host in row["endpoints"]:
                other = as_replaced(connection.only({tuple(sorted(row["endpoints"]))}))
                addresses = frozenset(row["endpoints"].values())
                owner = f"{other.reqid},{mark_text(other.mark)},{other.if_id}"
                if any(decisions.is_between(key, addresses, owner) for key in held):
                    found[row["name"]] = other
        return found

    @property
    def pinned(self) -> frozenset[str]:
        """The groups whose hosts all have policies of this run that can say which SA to send with (`pins`), and had
        them before: a change of settings may change the policies, too.
        """
        rows = [row for row in self.expected["connections"] if row.get("multicast") and row["current"]]
        same = [row for row in rows if not (row["before"] or row.get("changing"))]
        return frozenset(row["name"] for row in same if all(map(self._pins, row["endpoints"])))

    def _pins(self, host: str) -> bool:
        wanted = self.state["own"].get(host, {}).get("policies")
        return bool(wanted) and self.answers(PREFLIGHT, host).get(PREFLIGHT).get("backend") == "xfrm"

    @property
    def delay(self) -> float:
        """Seconds to the instant at which all hosts change together; 0 if every connection overlaps."""
        return float(self.wide["cutover_delay"]) if self.gaps else 0.0

    def overlaps(self, host: str) -> bool:
        """Whether the host has a unit that overlaps."""
        return not self.gaps.keys() >= set(self.expected["hosts"][host]["connections"])

    @property
    def names(self) -> list[str]:
        """The units of the run, by name."""
        return [row["name"] for row in self.expected["connections"]]

    def earlier(self, row: Result, now: Connection) -> Connection | None:
        """A unit as it was when the SAs were made that the host holds; None if there are none. ``row`` is that of
        the keystore.
        """
        if row["current"]:
            return as_it_was(now, row["before"]) if row["before"] else now
        return as_replaced(now) if row["name"] in self.taking else None

    def units(self, host: str, names: t.Collection[str]) -> t.Iterator[tuple[str, Connection, Connection | None]]:
        """A host's units of these names, each as a connection of its own: its name, as it is, and as it was
        (`earlier`).
        """
        rows = {row["name"]: row for row in self.expected["connections"] if row["name"] in names}
        for connection in self.connections():
            for unit, name in names_at(connection, host).items():
                if name in rows:
                    now = connection.only({unit})
                    yield name, now, self.earlier(rows[name], now)

    def pairs(self, names: t.Collection[str], host: str) -> set[decisions.Pair]:
        """The host's pairs of addresses in these units."""
        return decisions.pairs(self.expected, names, host)

    def own(self, host: str) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.state["own"][host])

    def results(self, step: str, question: str) -> dict[str, Result]:
        """The answers to a question, by host."""
        return {host: self.answers(step, host).get(question) for host in self.hosts}

    def problems(self, *steps: str) -> list[str]:
        """One sentence for each question of these steps that failed on a host or was not answered; one
        for all that failed for the same reason.
        """
        return [f"{host}: {reason}" for host, reason in self.failures(*steps)]

    def failures(self, *steps: str) -> list[tuple[str, str]]:
        """The hosts of these questions, and the reasons, each once."""
        found = {
            (host, decisions.reason(result)): None
            for step in steps
            for host in self.hosts
            for result in self.answers(step, host).results.values()
            if decisions.has_failed(result)
        }
        return list(found)

    def unasked(self, step: str, wanted: t.Callable[[str], t.Sequence[str]]) -> list[str]:
        """One sentence for each host that was not asked all questions of the step that ``wanted`` returns.

        The time of a task may run out before or between its questions.
        """
        asked = {host: self.answers(step, host).results for host in self.hosts}
        return [f"{host}: {decisions.UNASKED}" for host in self.hosts if not asked[host].keys() >= set(wanted(host))]

    def left_behind(self, host: str) -> list[str]:
        """The host's units with SAs that the new generation does not replace."""
        view = self.expected["hosts"][host]
        return [*view["left_behind"], *sorted(self.nested.intersection(view["connections"]))]

    def readings(self) -> dict[str, tuple[float, float, float]]:
        """The reading of each host's clock between two readings of the controller's clock."""
        found = {}
        for host in self.hosts:
            answers = self.answers(PREFLIGHT, host)
            epoch = answers.get(PREFLIGHT).get("epoch")
            if epoch is not None:
                found[host] = (answers.asked, float(epoch), answers.answered)
        return found

    def next_file(self, host: str) -> str:
        """The file with the staged SAs."""
        return f"{self.own(host)['file']}.next"

    def previous_file(self, host: str) -> str:
        """The file with the SAs that a host held before, for a rollback."""
        return f"{self.own(host)['file']}.previous"

    def replaced_file(self, host: str) -> str:
        """The file with the SAs to remove because the generation does not replace them."""
        return f"{self.own(host)['file']}.replaced"

    def label(self, host: str) -> str:
        """The label of the rollback file: the host's connections with their new generations. No two
        generations of a connection have the same number. Units that keep their keys are not named, since a run
        that is limited to some units can be followed by one that is not.
        """
        rows = [row for row in self.expected["connections"] if host in row["endpoints"]]
        changing = [row for row in rows if row["generation"] != row["current"]] or rows
        named = sorted({(connection_of(row["name"]), row["generation"]) for row in changing})
        return " ".join(f"{name}:{generation}" for name, generation in named)

    def deadline(self, host: str, more: float = 0) -> dict[str, float]:
        """The option of that name: the latest instant, on the host's clock, at which the task has
        certainly not timed out on the controller. ``more`` seconds are added to the timeout. Empty if
        the timeout is 0, which means no limit.

        The host's clock was read between question and answer, so it is at least as far ahead as the
        time of the answer implies.
        """
        timeout = self.own(host)["timeout"]
        if not timeout:
            return {}
        asked = self.answers(PREFLIGHT, host)
        epoch = asked.get(PREFLIGHT).get("epoch", asked.answered)
        return {"deadline": self.started + timeout + more + float(epoch) - asked.answered}
