# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulated host for tests of the controller: a program in place of the host's Python answers for
the modules. It keeps its SAs and protected files in a JSON file, and falsifies answers as another
file says. Lying hosts with real kernels are tested in the lab (`test_lab.py`).

`serve` answers for all hosts. What `hosts.Fleet` writes in place of a host's Python sends it each call.
"""

from __future__ import annotations

import ast
import json
import os
import pathlib
import select
import signal
import socket
import sys
import time
import traceback
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import evidence
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.digest import digest, digest_by_owner
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Counters,
    Entry,
    format_address,
    identity,
    pair,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language

State = t.Dict[str, t.Any]
Options = t.Dict[str, t.Any]

EMPTY: State = {"kernel": "", "files": {}, "policies": []}


# In place of a host's Python, with the port of `serve`. A module arrives on standard input, as Ansible's pipelining
# sends it; Ansible's own modules arrive as files.
CLIENT = """#!/bin/bash
said=$0.$$ module=${1:-$0.$$.module}
[ $# -gt 0 ] || cat >"$module"
exec 3<>/dev/tcp/127.0.0.1/%d
printf '%%s\\t%%s\\t%%s\\n' "${0%%/*}" "$module" "$said" >&3
read -r status <&3
cat "$said"
rm -f "$said" "$0.$$.module"
exit "$status"
"""


def serve() -> None:
    """Print a port, and answer there until standard input ends. Each call has its own process, a fork of this one, so
    that none has to import anything.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, dummy = listener.accept()
            with connection:
                if os.fork() == 0:
                    _serve_call(connection)


def _serve_call(connection: socket.socket) -> t.NoReturn:
    """Answer one call, a line of the folder, the module's file and the file for the output, with the exit status."""
    try:
        folder, module, said = connection.makefile(encoding="utf-8").readline().rstrip("\n").split("\t")
        status: t.Any = 0
        with open(said, "w", encoding="utf-8") as sys.stdout:
            try:
                main(pathlib.Path(folder), pathlib.Path(module).read_text(encoding="utf-8"))
            except SystemExit as exc:
                status = exc.code
            except Exception:
                traceback.print_exc(file=sys.stdout)
                status = 1
        connection.sendall(f"{status}\n".encode())
    finally:
        os._exit(0)


def main(folder: pathlib.Path, source: str) -> None:
    module, options = _called(source)
    lies = json.loads((folder / "lies.json").read_text(encoding="utf-8"))
    if module != "ipsec_batch":
        print(json.dumps(_answer(folder, lies, module, options)))
        return
    answers = []
    for call in json.loads(options["calls"]):
        answers.append(_answer(folder, lies, call["module"], call["options"], bool(call.get("check"))))
        if answers[-1].get("failed"):
            break
    print(json.dumps({"changed": any(answer.get("changed") for answer in answers), "answers": answers}))


def _answer(folder: pathlib.Path, lies: State, module: str, options: Options, is_check: bool = False) -> t.Any:
    """The answer of one module, or what a lie makes of it. A raw lie is all that the host says."""
    with (folder / "asked.jsonl").open("a", encoding="utf-8") as log:
        print(json.dumps({"module": module, "options": options}), file=log)
    state: State = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    answer: t.Any = _ANSWERS[module](state, options)
    lie = lies.get(f"{module}:{options.get('state', 'present')}") or lies.get(module) or {}
    if not (lie.get("unchanged") or is_check):
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    time.sleep(lie.get("sleep", 0))
    if "raw" in lie:
        sys.stdout.write(lie["raw"])
        sys.exit(lie.get("status", 0))
    answer.update(lie.get("set", {}))
    for path, value in lie.get("at", {}).items():
        *way, last = path.split(".")
        place = answer
        for name in way:
            place = place[name]
        place[last] = value
    return answer


def _called(source: str) -> tuple[str, Options]:
    """The module that a payload would run, and its options."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and {"ansible_module", "params"} <= {keyword.arg for keyword in node.keywords}:
            values = {
                keyword.arg: keyword.value.value for keyword in node.keywords if isinstance(keyword.value, ast.Constant)
            }
            options = json.loads(t.cast(str, values["params"]))["ANSIBLE_MODULE_ARGS"]
            return str(values["ansible_module"]).rpartition(".")[2], {
                key: value for key, value in options.items() if not key.startswith("_")
            }
    raise ValueError("this is not a module")


def _sas(text: str) -> list[t.Any]:
    return list(language.parse(text, name="state", allow_static_counter_mode=True).sas)


def _digest(sas: t.Iterable[t.Any], options: Options) -> dict[str, str]:
    return digest(sas, bytes.fromhex(options.get("digest_key") or ""))


def _preflight(state: State, options: Options) -> t.Any:
    sas, stored = _sas(state["kernel"]), _sas(state["files"].get(options["path"], ""))
    return {
        "changed": False,
        "epoch": time.time(),
        "file": {"path": options["path"], "sas": len(stored), "digest": _digest(stored, options)},
        "held": digest_by_owner(sas, bytes.fromhex(options.get("digest_key") or "")),
        "leftovers": [
            path
            for path in (options["path"] + end for end in (".next", ".previous", ".replaced"))
            if path in state["files"]
        ],
        "keys_hidden": False,
        "asked": [],
        **({"usage": {}} if options.get("usage") else {}),
        "spis": sorted({f"0x{sa.spi:08x}" for sa in (*sas, *stored)}),
        "backend": "xfrm",
    }


def _audit(state: State, options: Options) -> t.Any:
    """Answer like a host on which nothing is wrong. Its SAs are an hour old, and so is its file."""
    path, now = options["path"], time.time()
    sas, stored = _sas(state["kernel"]), _sas(state["files"].get(path, ""))
    observed = evidence.Observed([Entry(sa, Counters(add_time=int(now) - 3600)) for sa in sas], stored)
    ends: list[set[bytes]] = [{sa.source, sa.destination} for sa in sas]
    local = set.intersection(*ends) if ends else set()
    return {
        "changed": False,
        "epoch": now,
        "kernel": "Linux 6.12.48",
        "uptime": 864000,
        "backend": "xfrm",
        "keys_hidden": False,
        "file": {"path": path, "exists": bool(stored), "mode": "0600", "modified": now - 3600, "sas": len(stored)},
        "service": {"manager": "systemd", "installed": True, "enabled": True, "state": "active", "file": path},
        "counters": {"XfrmInNoStates": 0},
        "policies": {},
        "pairs": evidence.rows(observed, local, now, bytes.fromhex(options["digest_key"]), hidden=False),
        "remarks": [],
        "unread": [],
    }


def _limited(sas: t.Iterable[t.Any], options: Options) -> t.Callable[[t.Any], bool]:
    """Whether a request is about an SA, by its direction and pair of addresses. All SAs of a host have
    one address in common.
    """
    ends: list[set[bytes]] = [{sa.source, sa.destination} for sa in sas]
    local = set.intersection(*ends) if ends else set()
    left = {frozenset(text.split("|")) for text in options.get("leave", ())}
    wanted = {"inbound": lambda sa: sa.destination in local, "outbound": lambda sa: sa.source in local}
    towards = wanted.get(options.get("direction", "both"), lambda sa: True)
    return lambda sa: frozenset(map(format_address, pair(sa))) not in left and towards(sa)


def _file(state: State, options: Options) -> t.Any:
    files, path = state["files"], options["path"]
    if options.get("state") == "absent":
        gone = [name for name in (path, *options.get("others", ())) if files.pop(name, None) is not None]
        return {"changed": bool(gone), "path": path, "sas": 0, "digest": {}}
    sas = _sas(options["content"] if "content" in options else files[options["src"]])
    if options.get("scope") == "peers":
        removed = _sas(files[options["remove_src"]]) if "remove_src" in options else []
        gone = set(map(identity, removed))
        old = [sa for sa in _sas(files.get(path, "")) if sa not in sas]
        limited = _limited([*sas, *removed], options)
        pairs = set(map(pair, sas))
        kept = [
            sa
            for sa in old
            if not limited(sa) or (identity(sa) not in gone and (options.get("keep") or pair(sa) not in pairs))
        ]
        there = set(_sas(files.get(path, "")))
        sas = [*kept, *(sa for sa in sas if limited(sa) or sa in there)]
    new = language.render(sorted(sas))
    changed = files.get(path) != new
    files[path] = new
    return {
        "changed": changed,
        "path": path,
        "mode": "0600",
        "owner": "root",
        "sas": len(sas),
        "digest": _digest(sas, options),
    }


def _sadb(state: State, options: Options) -> t.Any:
    files = state["files"]
    none = {"added": 0, "replaced": 0, "deleted": 0, "unchanged": 0, "foreign": 0}
    if options.get("ignore_missing") and options["src"] not in files:
        return {"changed": False, "operations": [], "counts": none, "backend": "xfrm", "missing": True}
    wanted = _sas(options["content"] if "content" in options else files[options["src"]])
    old = _sas(state["kernel"])
    others = _sas(files.get(options.get("scope_src", ""), ""))
    limited = _limited([*wanted, *others], options)
    scope, named = {pair(sa) for sa in (*wanted, *others)}, set(map(identity, wanted))
    removed = {
        "absent": lambda sa: identity(sa) in named and limited(sa),
        "exact": lambda sa: sa not in wanted and limited(sa) and pair(sa) in scope,
    }.get(options["state"], lambda sa: False)
    added = [sa for sa in wanted if limited(sa) and sa not in old] if options["state"] != "absent" else []
    new = [*(sa for sa in old if not removed(sa)), *added]
    changed = set(new) != set(old)
    if changed and "backup" in options:
        files[options["backup"]] = language.render([sa for sa in old if pair(sa) in scope])
    state["kernel"] = language.render(new)
    return {
        "changed": changed,
        "operations": [],
        "counts": {
            **none,
            "added": len(added),
            "deleted": len(set(old) - set(new)),
            "unchanged": len([sa for sa in wanted if limited(sa) and sa in old]),
        },
        "digest": _digest([sa for sa in wanted if sa in new], options),
        "backend": "xfrm",
        **({"applied": {"began": time.time(), "ended": time.time()}} if changed else {}),
        **({"missing": False} if options.get("ignore_missing") else {}),
    }


def _probe(state: State, options: Options) -> t.Any:
    """Answer like a host without policies: no packet leaves."""
    return {"changed": False, "sent": [], "received": [], "failures": [], "backend": "xfrm"}


def _policy(state: State, options: Options) -> t.Any:
    if options.get("state") == "absent":
        rest = [policy for policy in state["policies"] if policy not in options["policies"]]
        changed, state["policies"] = rest != state["policies"], rest
        return {"changed": changed, "operations": [], "added": [], "replaced": [], "overtaken": []}
    new = [policy for policy in options["policies"] if policy not in state["policies"]]
    state["policies"] += new
    return {"changed": bool(new), "operations": [], "added": [], "replaced": [], "overtaken": []}


def _boot(state: State, options: Options) -> t.Any:
    """Load policies at boot, and keep those that are no longer named, as without purge."""
    old, wanted = state.get("boot"), options.get("state", "present")
    if wanted == "absent":
        state["boot"] = None
    elif wanted == "present":
        removed = options.get("removed", ())
        kept = [policy for policy in old or () if policy not in options["policies"] and policy not in removed]
        state["boot"] = [*options["policies"], *kept]
    return {
        "changed": state.get("boot") != old,
        "service_manager": "systemd",
        "running": True,
        "installed": state.get("boot") is not None,
        "enabled": state.get("boot") is not None,
        "file": options.get("file", ""),
        "policies_file": "",
        "policies": [],
        "kept": [],
        "files": [],
    }


def _status(state: State, options: Options) -> t.Any:
    """Answer like a host without policies and without a service."""
    path = options.get("path", "/etc/inet/secret/ipseckeys")
    held = digest_by_owner(_sas(state["kernel"]), bytes.fromhex(options["digest_key"]))
    return {
        "changed": False,
        "epoch": time.time(),
        "service": {
            **{"manager": "systemd", "installed": False, "enabled": False},
            **{"state": "unknown", "file": "", "policies_file": ""},
        },
        "file": {"path": path, "exists": True, "sas": len(_sas(state["files"].get(path, ""))), "pending": 0},
        "backend": "xfrm",
        "keys_hidden": False,
        "held": held,
        "pairs": {name: {"sas": 2, "age": 3 * 86400, "limit": "sequence numbers", "left": 100} for name in held},
        "usage": {name: {"packets": 5} for name in held},
        "asked": [],
        "policies": {"total": 0, "leaking": sorted(held), "open": sorted(held), "waiting": 0, "optional": 0},
        "wrong": ["no policy uses 2 outbound SAs"],
        "due": [],
        "unseen": [],
    }


def _setup(state: State, options: Options) -> t.Any:
    return {"changed": False, "ansible_facts": {"ansible_system": "Linux"}}


_ANSWERS: t.Mapping[str, t.Callable[[State, Options], t.Any]] = {
    "ipsec_audit": _audit,
    "ipsec_preflight": _preflight,
    "ipseckeys_file": _file,
    "ipsec_sadb": _sadb,
    "ipsec_probe": _probe,
    "ipsec_boot": _boot,
    "ipsec_policy": _policy,
    "ipsec_status": _status,
    "setup": _setup,
}
