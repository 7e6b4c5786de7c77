# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The messages that the code can fail with, read from its syntax: their constant text, with an
ellipsis for each value.
"""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path

import yaml

VALUE = "\N{HORIZONTAL ELLIPSIS}"

# Callables that make an error, and which of their arguments is the message.
MAKERS = {"_Explanation": 2}


def text_of(node: ast.AST) -> str:
    """A string's constant text; VALUE for what is not constant."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{\w*\}", VALUE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    return VALUE


def branches(node: ast.AST, function: ast.AST) -> t.Iterator[ast.AST]:
    """The values that an expression can have: both arms of a conditional, and everything assigned
    to its name in the function.
    """
    if isinstance(node, ast.IfExp):
        yield from branches(node.body, function)
        yield from branches(node.orelse, function)
    elif isinstance(node, ast.Name):
        for found in ast.walk(function):
            if isinstance(found, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == node.id for target in found.targets
            ):
                yield from branches(found.value, function)
    else:
        yield node


def raised(path: Path, but: str = "") -> t.Iterator[str]:
    """The messages of the errors that a file creates, except those of the class ``but``, and of its
    tables of explanations.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # Calls in nested functions are found twice, which does no harm.
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        yield from _made(function, but)
    # An error that contains its own message.
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name.endswith("Error")):
        yield from (
            text_of(call.args[0])
            for call in ast.walk(node)
            if isinstance(call, ast.Call) and _is_super_init(call) and call.args
        )
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield from _made(node, but)
        if (
            isinstance(node, ast.AnnAssign)
            and "EXPLANATIONS" in getattr(node.target, "id", "")
            and isinstance(node.value, ast.Dict)
        ):
            yield from (text_of(row.elts[0]) for row in node.value.values if isinstance(row, ast.Tuple))


def _is_super_init(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"


def _made(scope: ast.AST, but: str) -> t.Iterator[str]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            index = MAKERS.get(name, 0 if name.endswith("Error") else len(node.args))
            for argument in node.args[index : index + 1] if name != but else ():
                yield from map(text_of, branches(argument, scope))


def problems(path: Path, read: t.Callable[[ast.AST], str]) -> t.Iterator[tuple[str, str, str]]:
    """Message, place and hint of each error that a file creates, and its warnings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name.endswith("Error") or name == "warn":
                parts = [next(map(read, branches(argument, function)), VALUE) for argument in call.args]
                message, place, hint, *dummy = [*parts, "", ""]
                yield message, place, hint


def spoken(path: Path, read: t.Callable[[ast.AST], str] = text_of) -> t.Iterator[str]:
    """All strings of a file except its documentation, for files that build messages in other ways."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and id(node) not in inside | documentation:
            yield read(node)


def failed(path: Path) -> t.Iterator[str]:
    """The messages that the tasks of a role's file fail with, except those that a filter builds."""
    for task in _tasks(yaml.safe_load(path.read_text(encoding="utf-8"))):
        for action, option in (("ansible.builtin.fail", "msg"), ("ansible.builtin.assert", "fail_msg")):
            if action in task:
                yield re.sub(r"\{\{.*?\}\}", VALUE, " ".join(task[action][option].split()))


def _tasks(given: t.Any) -> t.Iterator[dict[str, t.Any]]:
    for task in given or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from _tasks(task.get(part))


def says_something(message: str) -> bool:
    """False for names, for patterns, and for strings with almost no constant text."""
    return sum(map(str.isalpha, message)) >= 10 and re.search(r"[A-Za-z] [A-Za-z(]", message) is not None
