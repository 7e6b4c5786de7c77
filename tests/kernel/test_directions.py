# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The direction that an SA is bound to, from Linux 6.10 on: it is compared only if the kernel reports it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import SadbError
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import command
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.plan import plan
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm import netlink
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.uapi import XFRM_MSG_NEWSA
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.tests.kernel import witness
from ansible_collections.ipsec.manual.tests.kernel.witness import add, sa_of

_SA_DIR = 33


def bound_to() -> bytes:
    """The direction that the kernel shows of the only SA."""
    return witness.attributes()[0x1000].get(_SA_DIR, b"")


def test_the_kernel_is_asked_and_not_its_version(sadb: XfrmSadb) -> None:
    assert sadb.tells_directions() == witness.knows_directions()


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("", "inbound", b"\1"),
        ("", "outbound", b"\2"),
        ("inbound", "", b""),
        ("outbound", "", b""),
        ("inbound", "outbound", b"\2"),
    ],
)
def test_a_direction_is_added_removed_and_changed(sadb: XfrmSadb, before: str, after: str, shown: bytes) -> None:
    sa = sa_of(0x1000, direction=before)
    sadb.apply(add(sa))
    wanted, tells = sa._replace(direction=after), sadb.tells_directions()
    operations = plan([wanted], sadb.dump(), "present", tells_directions=tells).operations
    assert [(step.kind, step.fields) for step in operations] == ([("replace", ("direction",))] if tells else [])
    sadb.apply(operations)
    assert bound_to() == (shown if tells else b"")
    assert plan([wanted], sadb.dump(), "present", tells_directions=tells).operations == ()


def test_a_file_that_says_more_of_an_sa_is_applied(
    sadb: XfrmSadb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sa, file = sa_of(0x1000), tmp_path / "ipseckeys"
    sadb.apply(add(sa))
    file.write_text(language.render([sa._replace(direction="inbound")]), encoding="ascii")
    changes = [1, 0] if witness.knows_directions() else [0, 0]
    for replaced in changes:
        assert command.main(["--allow-unsafe-file", "--compare", str(file)]) == replaced
        assert command.main(["--allow-unsafe-file", "--apply", str(file)]) == 0
        assert capsys.readouterr().out.count(f"0 added, {replaced} replaced, 0 removed") == 2
    assert bound_to() == (b"\1" if witness.knows_directions() else b"")


def test_an_outbound_sa_with_a_window_stays_unbound(sadb: XfrmSadb) -> None:
    sa = sa_of(0x1000, direction="outbound", replay_window=32)
    sadb.apply(add(sa))
    assert bound_to() == b""
    assert plan([sa], sadb.dump(), "present", tells_directions=sadb.tells_directions()).operations == ()


def test_an_outbound_sa_with_long_sequence_numbers_needs_no_window(sadb: XfrmSadb) -> None:
    sa = sa_of(0x1000, direction="outbound", esn=True)
    (text,) = language.parse(language.render([sa])).sas
    assert text == sa
    if not witness.knows_directions():
        (problem,) = sadb.refusals(sa)
        assert problem.place == "esn" and "Linux 6.12" in problem.hint
        with pytest.raises(SadbError, match="the kernel requires a replay window with extended sequence numbers"):
            sadb.apply(add(sa))
        return
    sadb.apply(add(sa))
    assert "flag esn" in witness.states()["esp", 0x1000] and bound_to() == b"\2"
    assert sadb.refusals(sa) == [] and [entry.sa for entry in sadb.dump()] == [sa]


@pytest.mark.parametrize("difference", ["direction", "flags"])
def test_a_similar_sa_is_restored_if_answers_are_lost(
    sadb: XfrmSadb, monkeypatch: pytest.MonkeyPatch, difference: str
) -> None:
    sa = sa_of(0x1000)
    if difference == "flags":
        witness.run(*f"ip {witness.as_command(sa)}".split(), "flag", "noecn")
    else:
        sadb.apply(add(sa._replace(direction="inbound")))
    before = witness.attributes()
    (operation,) = plan([sa], sadb.dump(), "present", tells_directions=True).operations or [None]
    if operation is None:
        pytest.skip("this kernel does not report directions")
    send = netlink.Netlink.send
    changes: list[int] = []

    def deaf(link: netlink.Netlink, requests: t.Sequence[bytes]) -> t.Any:
        answer = send(link, requests)
        if not changes and any(netlink.kind_of(request) == XFRM_MSG_NEWSA for request in requests):
            changes.append(len(requests))
            raise netlink.AnswersLost
        return answer

    monkeypatch.setattr(netlink.Netlink, "send", deaf)
    with pytest.raises(SadbError, match="The SADB is as it was before"):
        sadb.apply([operation])
    assert witness.attributes() == before
