# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of unexpected types."""

from __future__ import annotations

import typing as t

from hypothesis import strategies as st


def json_values(names: t.Sequence[str]) -> st.SearchStrategy[t.Any]:
    """Any JSON value. Mappings often have ``names``."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.just(10**400)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8)
    )
    known = st.sampled_from([*names, "x"])
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(known | st.text(max_size=4), inner, max_size=4),
        max_leaves=8,
    )
