# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx settings of the docs site, which `make docs` builds. No other site is contacted during the
build: labels of other sites become links here.
"""

from __future__ import annotations

import typing as t

from docutils import nodes

project = "ipsec.manual"
copyright = "ipsec.manual contributors"  # noqa: A001 (Sphinx wants this name)
title = html_short_title = "ipsec.manual: manual IPsec keying for fleets"
extensions = ["sphinx_antsibull_ext"]
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_smartypants = False
html_use_index = False
html_copy_source = False
default_role = "any"
nitpicky = True

# Labels that antsibull-docs refers to and that the site of ansible-core has.
ELSEWHERE = {
    "action_plugins": "https://docs.ansible.com/ansible/latest/plugins/action.html",
    "common_return_values": "https://docs.ansible.com/ansible/latest/reference_appendices/common_return_values.html",
    "ansible_configuration_settings": "https://docs.ansible.com/ansible/latest/reference_appendices/config.html",
}


def elsewhere(dummy_app: t.Any, dummy_env: t.Any, node: t.Any, content: t.Any) -> nodes.reference | None:
    """The link for a label of another site, None for an unknown label."""
    if node["reftarget"] not in ELSEWHERE:
        return None
    return nodes.reference("", "", content, refuri=ELSEWHERE[node["reftarget"]], internal=False)


def setup(app: t.Any) -> None:
    app.connect("missing-reference", elsewhere)
