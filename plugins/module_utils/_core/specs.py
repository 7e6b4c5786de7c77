# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Argument specs, as dictionaries that can be merged: those that modules share, and those of modules
whose actions inspect the options before they are sent.

This file imports nothing, since the controller reads it for every task."""

from __future__ import annotations

import typing as t

Arguments = t.Dict[str, t.Any]

DEFAULT_PATH = "/etc/inet/secret/ipseckeys"

# The doc fragments `_backend` and `_text` document these.
BACKEND: Arguments = {"backend": {"type": "str", "choices": ["auto", "xfrm", "solaris", "pfkey"], "default": "auto"}}
COUNTER_MODE: Arguments = {"allow_static_counter_mode": {"type": "bool", "default": False}}
RESERVED_SPI: Arguments = {"allow_reserved_spi": {"type": "bool", "default": False}}
SHARED_KEY: Arguments = {"allow_shared_key": {"type": "bool", "default": False, "no_log": False}}
READING: Arguments = {"resolve_names": {"type": "bool", "default": False}}
TEXT: Arguments = {
    "content": {"type": "str", "no_log": True},
    "src": {"type": "path"},
    **READING,
    **COUNTER_MODE,
    **RESERVED_SPI,
    **SHARED_KEY,
}
DEADLINE: Arguments = {"deadline": {"type": "float"}}

# Options that limit an operation to some SAs.
LIMITS: Arguments = {
    "direction": {"type": "str", "choices": ["both", "inbound", "outbound"], "default": "both"},
    "leave": {"type": "list", "elements": "str", "default": []},
}

DIGEST: Arguments = {"digest_key": {"type": "str", "no_log": True}}

# Traffic, in ipsec_sa and ipsec_policy.
SELECTOR: Arguments = {
    "source": {"type": "str"},
    "destination": {"type": "str"},
    "protocol": {"type": "str"},
    "source_port": {"type": "int", "default": 0},
    "destination_port": {"type": "int", "default": 0},
}

_LIFETIMES = [f"{end}_{kind}" for kind in ("bytes", "packets", "addtime", "usetime") for end in ("soft", "hard")]

IPSEC_SA: Arguments = {
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "protocol": {"type": "str", "choices": ["ah", "esp"], "required": True, "aliases": ["type"]},
    "spi": {"type": "str", "required": True},
    "source": {"type": "str", "aliases": ["src"]},
    "destination": {"type": "str", "required": True, "aliases": ["dst"]},
    "mode": {"type": "str", "choices": ["transport", "tunnel"], "default": "transport"},
    "encryption_algorithm": {"type": "str", "aliases": ["encr_alg"]},
    "encryption_key": {"type": "str", "no_log": True, "aliases": ["encrkey"]},
    "authentication_algorithm": {"type": "str", "aliases": ["auth_alg"]},
    "authentication_key": {"type": "str", "no_log": True, "aliases": ["authkey"]},
    "icv_bits": {"type": "int"},
    "replay_window": {"type": "int", "default": 0, "aliases": ["replay"]},
    "esn": {"type": "bool", "default": False},
    "reqid": {"type": "int", "default": 0},
    "mark": {"type": "str"},
    "if_id": {"type": "int", "default": 0},
    "lifetimes": {"type": "dict", "options": {name: {"type": "int", "default": 0} for name in _LIFETIMES}},
    "encapsulation": {
        "type": "dict",
        "options": {
            "type": {"type": "str", "choices": ["udp"], "default": "udp"},
            "source_port": {"type": "int", "default": 4500},
            "destination_port": {"type": "int", "default": 4500},
            "nat_local": {"type": "str"},
            "nat_remote": {"type": "str"},
        },
    },
    "selector": {"type": "dict", "options": SELECTOR},
    "direction": {"type": "str", "choices": ["inbound", "outbound"]},
    "output_mark": {"type": "str"},
    "tfc_padding": {"type": "int", "default": 0},
    "nat_keepalive": {"type": "int", "default": 0},
    **BACKEND,
    **COUNTER_MODE,
    **RESERVED_SPI,
    **SHARED_KEY,
}

IPSEC_SADB: Arguments = {
    "state": {"type": "str", "choices": ["present", "exact", "absent", "flushed"], "default": "present"},
    "scope": {"type": "str", "choices": ["peers", "protocol", "all"], "default": "peers"},
    "scope_src": {"type": "path"},
    "protocols": {"type": "list", "elements": "str", "choices": ["ah", "esp"], "default": []},
    **LIMITS,
    "both_directions": {"type": "list", "elements": "str", "default": []},
    "beside": {"type": "list", "elements": "str", "default": []},
    "backup": {"type": "path"},
    "backup_label": {"type": "str"},
    "src_label": {"type": "str"},
    "ignore_missing": {"type": "bool", "default": False},
    "at": {"type": "float"},
    **DEADLINE,
    **TEXT,
    **DIGEST,
    **BACKEND,
}

IPSECKEYS_FILE: Arguments = {
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "path": {"type": "path", "default": DEFAULT_PATH},
    "others": {"type": "list", "elements": "path", "default": []},
    "scope": {"type": "str", "choices": ["all", "peers"], "default": "all"},
    "keep": {"type": "bool", "default": False},
    **LIMITS,
    "remove_src": {"type": "path"},
    "omit_counter_mode": {"type": "bool", "default": False},
    "target": {"type": "str", "choices": ["linux", "solaris"], "default": "linux"},
    **DEADLINE,
    "policies_file": {"type": "path"},
    **TEXT,
    **DIGEST,
}

_ONE_TEXT = [("content", "src")]
# What Ansible calls required_if and the like, of the modules that have it.
SADB_RULES: Arguments = {
    "mutually_exclusive": _ONE_TEXT,
    "required_if": [("state", state, ("content", "src"), True) for state in ("present", "exact", "absent")],
}
FILE_RULES: Arguments = {
    "mutually_exclusive": _ONE_TEXT,
    "required_if": [("state", "present", ("content", "src"), True)],
}

TEMPLATE: Arguments = {
    "protocol": {"type": "str", "choices": ["ah", "esp"], "default": "esp"},
    "mode": {"type": "str", "choices": ["transport", "tunnel"], "default": "transport"},
    "source": {"type": "str"},
    "destination": {"type": "str"},
    "reqid": {"type": "int", "default": 0},
    "spi": {"type": "str"},
    "level": {"type": "str", "choices": ["required", "use"], "default": "required"},
}
_DIRECTION: Arguments = {"direction": {"type": "str", "choices": ["in", "out", "fwd"]}}
# One policy, as the list of ipsec_policy and the files of policies have it.
POLICY: Arguments = {
    "direction": {**_DIRECTION["direction"], "required": True},
    "selector": {"type": "dict", "options": SELECTOR},
    "action": {"type": "str", "choices": ["allow", "block"], "default": "allow"},
    "priority": {"type": "int", "default": 0},
    "mark": {"type": "str"},
    "if_id": {"type": "int", "default": 0},
    "templates": {"type": "list", "elements": "dict", "default": [], "options": TEMPLATE},
}
IPSEC_POLICY: Arguments = {
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    **POLICY,
    **_DIRECTION,
    "policies": {"type": "list", "elements": "dict", "options": POLICY},
    **DEADLINE,
}
POLICY_RULES: Arguments = {
    "mutually_exclusive": [("direction", "policies")],
    "required_one_of": [("direction", "policies")],
}
IPSEC_POLICY_INFO: Arguments = {**_DIRECTION}

# The core checks policies; its messages name the place of a problem.
IPSEC_BOOT: Arguments = {
    "state": {"type": "str", "choices": ["absent", "present", "query"], "default": "present"},
    "file": {"type": "path", "default": DEFAULT_PATH},
    "policies": {"type": "list", "elements": "dict", "default": []},
    "purge": {"type": "bool", "default": True},
    "removed": {"type": "list", "elements": "dict", "default": []},
    "load": {"type": "bool", "default": True},
    "ask_for_rotation": {"type": "bool", "default": False},
    "operators": {"type": "str"},
    "operators_rights": {
        "type": "list",
        "elements": "str",
        "choices": [
            "look",
            "load",
            "flush",
            "get",
            "delete",
            "policies",
            "keys",
            "files",
            "boot_file",
            "boot_without_policies",
            "save",
            "prompt",
            "service",
            "all",
        ],
        "default": ["look", "load", "flush"],
    },
    "service_manager": {"type": "str", "choices": ["auto", "openrc", "smf", "systemd", "sysvinit"], "default": "auto"},
    **DEADLINE,
}

IPSEC_SA_INFO: Arguments = {
    "protocol": {"type": "str", "choices": ["ah", "esp"], "aliases": ["type"]},
    "spi": {"type": "str"},
    "source": {"type": "str"},
    "destination": {"type": "str", "aliases": ["dst"]},
    "src": {"type": "path"},
    **DIGEST,
    **READING,
    **BACKEND,
}

IPSEC_PROBE: Arguments = {
    "src": {"type": "path", "required": True},
    "count": {"type": "int", "default": 1},
    **READING,
    **BACKEND,
}

IPSEC_PREFLIGHT: Arguments = {
    "path": {"type": "path", "default": DEFAULT_PATH},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "associations": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "protocol": {"type": "str", "choices": ["ah", "esp"], "default": "esp"},
            "mode": {"type": "str", "choices": ["transport", "tunnel"], "default": "transport"},
            "encryption_algorithm": {"type": "str"},
            "encryption_bits": {"type": "int"},
            "authentication_algorithm": {"type": "str"},
            "icv_bits": {"type": "int"},
            "replay_window": {"type": "int", "default": 0},
            "esn": {"type": "bool", "default": False},
            "udp_port": {"type": "int", "default": 0},
        },
    },
    "expected": {"type": "dict", "default": {}},
    "usage": {"type": "bool", "default": False},
    **DIGEST,
    **READING,
    **COUNTER_MODE,
    **BACKEND,
}

IPSEC_AUDIT: Arguments = {
    "path": {"type": "path", "default": DEFAULT_PATH},
    **DIGEST,
    **BACKEND,
}

IPSEC_STATUS: Arguments = {
    "path": {"type": "path"},
    **DIGEST,
    **BACKEND,
}

IPSECKEY_COMMAND: Arguments = {
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "prefix": {"type": "path", "default": "/usr/local"},
    "python": {"type": "path"},
}

IPSEC_BATCH: Arguments = {"calls": {"type": "str", "required": True, "no_log": True}}
