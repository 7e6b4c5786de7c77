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


# The kinds of plugins that pages may name, in the order in which a name is looked up.
KINDS = ("module", "role", "lookup", "filter")


def readable_links(app: t.Any, doctree: nodes.document, page: str) -> None:
    """Make links of the site from links to files and from literals that name plugins. Pages have these
    instead of Sphinx roles, so that they can be read in a checkout.
    """
    if not page.startswith("docsite/"):
        return
    for node in list(doctree.findall(nodes.reference)):
        name, dummy, anchor = node.get("refuri", "").partition(".rst")
        if dummy and f"docsite/{name}" in app.env.found_docs:
            node["refuri"] = app.builder.get_relative_uri(page, f"docsite/{name}") + anchor
    for literal in list(doctree.findall(nodes.literal)):
        found = _page_of(literal, app.env.found_docs)
        if found and not isinstance(literal.parent, nodes.reference):
            link = nodes.reference("", "", internal=True, refuri=app.builder.get_relative_uri(page, found))
            literal.replace_self(link)
            link += literal


def _page_of(literal: nodes.literal, known: t.Container[str]) -> str:
    """The page of the plugin that a literal names, such as ``ipsec.manual.ipsec_sa``; empty if it names none."""
    namespace, dummy, name = literal.astext().rpartition(".")
    if namespace != "ipsec.manual":
        return ""
    position = literal.parent.index(literal)
    before = literal.parent[position - 1].astext().split() if position else []
    kinds = (*(before[-1:] if before[-1:] and before[-1] in KINDS else ()), *KINDS)
    return next((f"{name}_{kind}" for kind in kinds if f"{name}_{kind}" in known), "")


def setup(app: t.Any) -> None:
    app.connect("missing-reference", elsewhere)
    app.connect("doctree-resolved", readable_links)
