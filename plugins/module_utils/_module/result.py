# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module of the collection shares: how one runs, warns, and shows a difference."""

from __future__ import annotations

import typing as t

from .._core.errors import IpsecError

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from .._core.sa.model import SecurityAssociation
    from .._core.sa.plan import Operation

Result = t.Dict[str, t.Any]


KEYS_HIDDEN = (
    "This kernel hides the keys of SAs (lockdown), so whether the right ones are installed cannot be seen. Everything"
    " else was compared."
)


def run(module: AnsibleModule, work: t.Callable[[AnsibleModule], Result]) -> None:
    """End the module with what ``work`` returns, or with the problems it raises."""
    try:
        result = work(module)
    except IpsecError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


def warn(module: AnsibleModule, found: t.Iterable[tuple[str, str]]) -> None:
    """One warning for each text of (text, place), with its first place and how many more there are."""
    places: dict[str, list[str]] = {}
    for text, place in found:
        places.setdefault(text, []).append(place)
    for text, where in places.items():
        more = f" (and {len(where) - 1} more)" if len(where) > 1 else ""
        module.warn(f"{where[0]}{more}: {text.rstrip('.')}." if where[0] else f"{text.rstrip('.')}.")


def diff(header: str, before: t.Sequence[SecurityAssociation], after: t.Iterable[SecurityAssociation]) -> Result:
    """Ansible's difference of two sets of SAs: ipseckeys lines with fingerprints in place of keys."""
    from .._core.sa.model import identity
    from .._core.text.render import render

    earlier = {identity(sa): sa for sa in before}
    shown = render(after, hide_keys=True, earlier=earlier)
    return {"before_header": header, "after_header": header, "before": render(before, hide_keys=True), "after": shown}


def sadb_diff(operations: t.Sequence[Operation]) -> Result:
    """What the operations take out of the SADB and what they bring."""
    return diff(
        "SADB",
        [step.old.sa for step in operations if step.old is not None],
        [step.new for step in operations if step.new is not None],
    )
