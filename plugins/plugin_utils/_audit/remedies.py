# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How to fix each finding: what to know or to edit first, in words, and commands to copy. Pure.

People paste commands into a root shell, and a host chooses the names of its files. Placeholders in commands are
therefore quoted for a shell, and a name that cannot be copied exactly, such as one with control characters, stands in
no command. No command for Ansible contains what a host said, because Ansible evaluates templates in its arguments.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import typing as t

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.login import CLEAR_TEXT_SERVERS
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import OPENRC, SMF, SMF_SERVICE, SYSVINIT
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.ways import PORTS
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.algorithms import BY_NAME, ENCRYPTION

from . import counters

Words = t.Mapping[str, str]

# A command that begins with one of these runs on the controller, any other on the host, as root.
ON_CONTROLLER = ("ansible ", "ansible-playbook ", "cat host-key ", "getent ", "ssh-keyscan ")
# Where the directory of the keystore has to be filled in.
KEYSTORE = "KEYSTORE"
# The playbooks that use a keystore.
_WITH_KEYSTORE = ("audit", "rotate")
# How the names of the servers end that serve each port.
_SERVERS = {"telnet": "telnetd", "rlogin": "rlogind", "rsh": "rshd", "rexec": "rexecd"}
# Some shells read ! in quotes, and names that are not UTF-8 were written with \\.
_UNSAFE = re.compile(r"[\\!]")
# Words of extra variables that need no quotes of their own.
_SIMPLE = re.compile(r"[A-Za-z0-9_./+@-]+")


class Remedy(t.NamedTuple):
    """``words`` say what to do, or what to know or to edit before ``commands``. If the place of the finding cannot
    be copied, ``instead`` are the commands that show it.
    """

    words: str
    commands: tuple[str, ...]
    instead: tuple[str, ...] = ("ls -lab -- {parent}",)


class Variant(t.NamedTuple):
    """A remedy for findings in which the word named ``word`` matches ``pattern``."""

    word: str
    pattern: t.Pattern[str]
    remedy: Remedy


class ShellCommand(t.NamedTuple):
    """A command to copy. ``host`` is where root runs it, empty for the controller."""

    host: str
    command: str


_PLAY = "ansible-playbook ipsec.manual."
_ROTATE = _PLAY + "rotate -e {only}"
_ROTATE_HOST = _PLAY + "rotate -e {only_host}"
_AGAIN = _PLAY + "rotate -e rotate_new_keys=false"
_AGAIN_HERE = _AGAIN + " -e {only}"
_BOOT = _PLAY + "boot --limit {host}"
_AUDIT = _PLAY + "audit"
# Checks the file as it is, on hosts without the command, too.
_CHECK_FILE = "ansible {hosts} -b -m ipsec.manual.ipseckeys_file -a {itself} --check"
_INSTALL = "ansible {hosts} -b -m ipsec.manual.ipseckey_command"
# What the service does at boot, first without doing it.
_COMPARE, _APPLY = "ipseckey -n --compare {file}", "ipseckey -n --apply {file}"
# After the inventory has another path of the file.
_MOVED = (_ROTATE_HOST, _BOOT, "rm -i -- {file}")
_SHOW_SAS = "ansible {hosts} -b -m ipsec.manual.ipsec_sa_info"
# All names of the file, which are on its file system. Then the file is written anew, and its first content keeps one
# more name, by which all others are found. If that failed, both are the same file, and nothing is removed.
_NAMES = 'find "$(stat -c %m -- {file})" -xdev -samefile {file}'
_UNLINK = "ln -- {file} {linked} && install -m 600 -- {linked} {fresh} && mv -f -- {fresh} {file}"
_REMOVE_NAMES = 'find "$(stat -c %m -- {linked})" -xdev -samefile {linked} ! -samefile {file} -delete'
# Daemons of IKE listen on these ports.
_SHOW_DAEMONS = "ss -lunp '( sport = :500 or sport = :4500 )'"
_STOP = ("ss -ltnp {listening}", "systemctl disable --now {service}.socket", "update-inetd --disable {service}")

_COUNTERS = "cat /proc/net/xfrm_stat"
# The file that a link leads to.
_TARGET = '"$(readlink -f -- {place})"'
# Whose SAs a file has, in findings.
OURS, OF_OTHERS = "connections of the inventory", "pairs of addresses that are in none"

NEW_KEYS = Remedy("give {connection} new keys", (_ROTATE,))
NEW_KEYS_OF_HOST = Remedy("give the host new keys", (_ROTATE_HOST,))
# Only for files. SAs that a kernel lost must not be loaded again with the same keys, whose counters would restart.
AGAIN_HERE = Remedy("bring both hosts to the keystore's generation", (_AGAIN_HERE,))
AGAIN = Remedy("bring the hosts to the keystore's generation", (_AGAIN,))
POLICIES = Remedy(
    "have policies encrypt all traffic of {connection}; first make exceptions for what must pass in the clear",
    (_AGAIN_HERE + " -e rotate_policies=true",),
)
MODE = Remedy(
    "close the file; others may know the keys, so give the host new ones", ("chmod 600 {place}", _ROTATE_HOST)
)
STRONGER = Remedy(
    "in ipsec_connections, set {fields} in the associations of {connection}, then give it new keys", (_ROTATE,)
)
INTEGRITY = Remedy(
    "in ipsec_connections, add authentication_algorithm: hmac-sha256 to the ESP association of {connection}, then give"
    " it new keys",
    (_ROTATE,),
)
# For SAs that belong to no connection of the inventory.
FOREIGN = Remedy(
    "no connection of the inventory has these SAs: find out who manages them, and get new keys there. This shows them,"
    " without keys",
    (_SHOW_SAS,),
)

REMEDIES: t.Mapping[str, Remedy] = {
    "key-age": NEW_KEYS,
    "key-age-unknown": Remedy("let the audit read the keystore", (_AUDIT,)),
    "due-packets": NEW_KEYS,
    "due-bytes": NEW_KEYS,
    "due-blocks": NEW_KEYS,
    "due-now": NEW_KEYS,
    "key-reloaded": NEW_KEYS,
    "generation-behind": NEW_KEYS,
    "peers-differ": NEW_KEYS,
    "agreement-unknown": Remedy(
        "audit both hosts as root; if both answer and a kernel hides its keys, nothing is missing", (_AUDIT + " -b",)
    ),
    "no-sas": NEW_KEYS,
    "drift-keystore": NEW_KEYS,
    "drift-file": AGAIN_HERE,
    "drift-file-keystore": NEW_KEYS,
    "rotation-unfinished": Remedy("finish it with the same keys", (_AGAIN_HERE,)),
    "key-shared": NEW_KEYS,
    "key-retired": NEW_KEYS,
    "spi-shared": NEW_KEYS,
    "algorithm-must-not": STRONGER,
    "algorithm-should-not": STRONGER,
    "no-integrity": INTEGRITY,
    "integrity-by-ah": INTEGRITY,
    "counter-mode": STRONGER,
    "keys-hidden": Remedy(
        "nothing is wrong. To be sure that both ends hold the same keys, give the host new ones: the rotation tests"
        " them with packets",
        (_ROTATE_HOST,),
    ),
    "keystore-unread": Remedy("let the audit read the keystore", (_AUDIT,)),
    "no-policy": POLICIES,
    "no-inbound-policy": POLICIES,
    "policy-without-sa": NEW_KEYS_OF_HOST,
    "level-use": Remedy(
        "write level: required where the policy is defined, such as boot_policies in the inventory, and load it again",
        (_BOOT,),
    ),
    "integrity-failures": Remedy(
        "give {connection} new keys, so that both hosts have the same. If packets still fail after that, a faulty"
        " device changes them on their way, or somebody forges them",
        (_ROTATE,),
    ),
    "replayed": Remedy(
        "a few such packets are normal. If there are many, set a larger replay_window in the associations of"
        " {connection}, and give it new keys, with which the count starts again. If many still arrive after that,"
        " somebody may send copies",
        (_ROTATE,),
    ),
    "no-state-packets": Remedy(
        "if there was a rotation since the previous audit, wait for the next one. If the counter still rises then, give"
        " the host new keys, so that its peers have the same. Packets that arrive after that are from elsewhere",
        (_ROTATE_HOST,),
    ),
    "counter-rose": Remedy(
        "no command fixes this, since this collection does not know the counter. If it still rises,"
        " linux/Documentation/networking/xfrm_proc.rst may say why",
        (_COUNTERS,),
    ),
    "counter-expected": Remedy("nothing needs fixing. The command shows whether it still rises", (_COUNTERS,)),
    "file-world-readable": MODE,
    "file-mode": MODE,
    "file-owner": Remedy(
        "give the file to root; its owner may know the keys, so give the host new ones",
        ("chown root {place}", _ROTATE_HOST),
    ),
    "file-path": Remedy(
        "the first command shows every directory of the path: each must belong to root, only root may write to it, and"
        " none may be a symbolic link. This one cannot be made so: in the inventory, set rotate_file, boot_file and"
        " audit_file of {host} to another path, such as below /etc. Then give it new keys, have them loaded at boot,"
        " and remove the old file",
        ("namei -l {file}", *_MOVED),
    ),
    "file-acl": Remedy(
        "remove the access list; others may know the keys, so give the host new ones",
        ("setfacl -b -k {place}", _ROTATE_HOST),
    ),
    "file-links": Remedy(
        "the first command shows the names that the file has where its file system is mounted. The second one writes it"
        " anew, so that the other names lead to the old copy, and the third one removes them. Others may know the keys,"
        " so give the host new ones",
        (_NAMES, _UNLINK, _REMOVE_NAMES, _ROTATE_HOST),
    ),
    "file-network": Remedy(
        "in the inventory, set rotate_file, boot_file and audit_file of {host} to a path on a local file system. Then"
        " give it new keys, have them loaded at boot, and remove the old file",
        _MOVED,
    ),
    "file-system-unknown": Remedy(
        "the first command mounts /proc, where the types are, if it is missing. If it is there, in the inventory set"
        " rotate_file, boot_file and audit_file of {host} to a path on a local file system, give it new keys, have them"
        " loaded at boot, and remove the old file",
        ("findmnt /proc || mount -t proc proc /proc", *_MOVED),
    ),
    "file-copy": Remedy(
        "remove it, unless it is something else; if others could read it, make new keys",
        ("ls -l -- {place}", "rm -i -- {place}", _ROTATE_HOST),
    ),
    "file-leftover": Remedy("finish the rotation, which removes it", (_AGAIN,)),
    "file-missing": NEW_KEYS_OF_HOST,
    "file-invalid": Remedy(
        "the first command says what is wrong and where. If SAs of others are in the file, correct it; if not, remove"
        " it and have it written again, with new keys",
        (_CHECK_FILE, "rm -i -- {file}", _ROTATE_HOST),
    ),
    "file-names": Remedy(
        "the first command lists the names with their lines: make sure that they mean what they should. The second one"
        " writes the addresses instead that the naming service of the host gives now",
        (
            _CHECK_FILE,
            "ansible {hosts} -b -m ipsec.manual.ipseckeys_file -a {addresses_for_names}",
        ),
    ),
    "key-in-history": Remedy(
        "delete the lines, or the whole history with this command, and give the host new keys",
        ("rm -i -- {place}", _ROTATE_HOST),
    ),
    "key-in-script": Remedy(
        "delete the keys in the file, since the keystore holds those of connections, and give the host new ones",
        ("vi -- {place}", _ROTATE_HOST),
    ),
    "transport-clear": Remedy(
        "if the first command works, in the inventory set ansible_connection: ssh for {host}; the second command audits"
        " it in this way at once",
        (
            "ansible {host} -m ansible.builtin.ping -e ansible_connection=ssh",
            _AUDIT + " --limit {host} -e ansible_connection=ssh",
        ),
    ),
    "host-key-unchecked": Remedy(
        "compare what the first command shows with what the second one shows at the host's own console. Go on only if"
        " it is the same key: the third command has ssh know it, the fourth one uses that. To stay so, remove"
        " host_key_checking=false, StrictHostKeyChecking=no and UserKnownHostsFile=/dev/null from the settings of"
        " Ansible",
        (
            "ssh-keyscan {port}-t ed25519 -- {detail} >host-key; ssh-keygen -lf host-key",
            "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            "cat host-key >>~/.ssh/known_hosts",
            _AUDIT + " -e ansible_host_key_checking=true",
        ),
    ),
    "login-clear": Remedy(
        "the first command ends the sessions of that server, the second one shows what listens. Stop it with the third"
        " if that is systemd, with the fourth if it is inetd, and use ssh",
        ("pkill -x {servers}", *_STOP),
        instead=("ss -tnp",),
    ),
    "server-clear": Remedy(
        "the first command shows what listens. Stop it with the second if that is systemd, with the third if it is"
        " inetd, and use ssh",
        _STOP,
        instead=("ss -ltnp",),
    ),
    "name-resolved": Remedy(
        "in the inventory, set ansible_host of {host} to one of its addresses, which the first command shows. Or have"
        " the controller look the name up by itself: if the first address that the second command shows is one of them,"
        " the third one writes it to /etc/hosts",
        (
            "ip -brief address",
            "getent ahosts {detail}",
            "getent ahosts {detail} | sed -n {first_named} | sudo tee -a /etc/hosts",
        ),
    ),
    "facts-change-inputs": Remedy(
        "find out what on the host reports them, such as a file in /etc/ansible/facts.d, and empty the fact cache",
        ("ls -l /etc/ansible/facts.d", _AUDIT + " --flush-cache"),
    ),
    "service-absent": Remedy(
        "install it; boot_policies in the inventory are the policies that it loads, too", (_BOOT + " -e {boot_file}",)
    ),
    "service-disabled": Remedy(
        "enable it; boot_policies in the inventory are the policies that it loads, too", (_BOOT + " -e {boot_file}",)
    ),
    "service-failed": Remedy(
        "the first command says why. Fix that, then start it", ("{service_log}", "{service_start}")
    ),
    "service-other-file": Remedy(
        "if the other file is right, set rotate_file and audit_file to it. If not, have the service load this one",
        (_BOOT + " -e {boot_file}",),
    ),
    "service-without-policies": Remedy(
        "have it load policies, too: boot_policies in the inventory are those that it loads",
        (_BOOT + " -e {boot_file}",),
    ),
    "service-overridden": Remedy(
        "look at the file, remove its lines ExecStart=, ExecReload= and ExecStop=, or the file, and then run: systemctl"
        " daemon-reload",
        ("cat -- {place}",),
    ),
    "file-newer": Remedy(
        "give the host new keys, which are loaded and written to the file. The keys in the file may have been in use"
        " before, so do not load them",
        (_ROTATE_HOST,),
    ),
    "clock-offset": Remedy(
        "synchronise the clock; without systemd, start the NTP client of the host", ("timedatectl set-ntp true",)
    ),
    "swap": Remedy(
        "encrypt the swap (crypttab), or remove it from /etc/fstab and turn it off, which needs as much free memory as"
        " the swap holds",
        ("swapoff -- {place}",),
        instead=("swapon --show",),
    ),
    "core-dumps": Remedy(
        "unless somebody needs core dumps, turn them off, now and after a reboot",
        (
            "echo 'kernel.core_pattern=|/bin/false' >/etc/sysctl.d/60-no-core-dumps.conf",
            "sysctl -p /etc/sysctl.d/60-no-core-dumps.conf",
        ),
    ),
    "others-sas": Remedy(
        "nothing needs fixing, since another program manages them. The first command shows them, without keys, the"
        " second one a daemon of IKE, if that is whose they are",
        (_SHOW_SAS, _SHOW_DAEMONS),
    ),
    "others-file": Remedy(
        "the first command installs ipseckey if it is missing, the second one shows these SAs, without keys, as what"
        " the next boot loads. If another administrator needs them, nothing needs fixing. If nobody does, delete their"
        " lines with the third one",
        (_INSTALL, _COMPARE, "vi -- {file}"),
    ),
    "others-policies": Remedy(
        "nothing needs fixing, since another program manages them. The first command shows them, the second one a"
        " daemon of IKE, if that is whose they are",
        ("ip xfrm policy", _SHOW_DAEMONS),
    ),
    "absent": Remedy(
        "the first command says why. Start the host, or at its console the server of ssh (second command), or remove it"
        " from the inventory if it is gone for good. Once it answers, give it new keys, since it may have lost its"
        " SAs",
        ("ansible {host} -m ansible.builtin.ping", "systemctl restart sshd", _ROTATE_HOST),
    ),
    "unread": Remedy(
        "audit the host as root; if it was root, fix what the message says",
        (_AUDIT + " -b",),
    ),
}

_LOAD = (_INSTALL, _COMPARE, _APPLY)
_AS_AT_BOOT = (
    "for SAs that are in no connection, the first command on the host shows what the second one changes: it loads the"
    " file as the service does at boot, and removes other SAs between its addresses. It does not remove SAs in counter"
    " mode, which are in no file, nor those between addresses that the file never had. SAs that it adds count from the"
    " beginning, so if their keys were in use before, get new ones where they are managed"
)


def _of_counters(is_expected: bool) -> t.Iterator[Variant]:
    """What to do about the counters that this collection knows."""
    first = "nothing needs fixing" if is_expected else "no command fixes this"
    still = "whether it still rises"
    remedies = {
        counters.NEW_KEYS: ("{text}. Give the host new keys", (_ROTATE_HOST,)),
        counters.POLICIES: (first + ": {text}. The command shows the policies of the host", ("ip xfrm policy",)),
        counters.MACHINE: (
            first + f": {{text}}. The first command shows {still}, the second one what the kernel says about it",
            (_COUNTERS, "dmesg"),
        ),
        counters.NOTHING: (first + f": {{text}}. The command shows {still}", (_COUNTERS,)),
    }
    for cause in counters.CAUSES:
        if cause.is_expected == is_expected:
            words, commands = remedies[cause.remedy]
            pattern = re.compile(f"^(?:{'|'.join(cause.counters)})$")
            yield Variant("place", pattern, Remedy(words.format(text=cause.text), commands))


# Remedies that depend on a word of the finding, by what it matches; the first one counts.
VARIANTS: t.Mapping[str, tuple[Variant, ...]] = {
    "file-path": (
        Variant(
            "detail",
            re.compile("^it is a symbolic link$"),
            Remedy(
                "the first command shows the link, and the file that it points to. Remove first that file, unless it is"
                " something else, then the link, and give the host new keys, which are written to a new file",
                (f"ls -l -- {{place}} {_TARGET}", f"rm -i -- {_TARGET}", "rm -i -- {place}", _ROTATE_HOST),
            ),
        ),
        Variant(
            "detail",
            re.compile("^it is "),
            Remedy(
                "the first command shows what is in the place of the file. Remove it, and give the host new keys, which"
                " are written to a new file",
                ("ls -ld -- {place}", "rm -ri -- {place}", _ROTATE_HOST),
            ),
        ),
        Variant(
            "detail",
            re.compile("^the directory belongs to |^users other than root can write in the directory, mode [0-7]+$"),
            Remedy(
                "if nobody else uses the directory, give it to root alone; others could replace the file, so give the"
                " host new keys. If somebody does, set rotate_file, boot_file and audit_file of {host} to another path",
                ("chown root -- {place}", "chmod go-w -- {place}", _ROTATE_HOST),
            ),
        ),
    ),
    "file-newer": (
        Variant(
            "detail",
            re.compile(f"^{OURS} and {OF_OTHERS}$"),
            Remedy(f"give the host new keys, for its connections; {_AS_AT_BOOT}", (_ROTATE_HOST, *_LOAD)),
        ),
        Variant("detail", re.compile(f"^{OF_OTHERS}$"), Remedy(_AS_AT_BOOT, _LOAD)),
    ),
    "counter-rose": tuple(_of_counters(is_expected=False)),
    "counter-expected": tuple(_of_counters(is_expected=True)),
}

_CIPHER, _HASH = "encryption_algorithm: aes-cbc", "authentication_algorithm: hmac-sha256"
# How each service manager says why the service failed, and starts it. A restart would remove SAs first.
_SERVICES = {
    OPENRC: ("dmesg | grep ipseckey", "rc-service ipseckeys start"),
    SYSVINIT: ("dmesg | grep ipseckey", "/etc/init.d/ipseckeys start"),
    SMF: (f"svcs -xv {SMF_SERVICE}", f"svcadm clear {SMF_SERVICE}"),
}
_OF_SYSTEMD = ("journalctl -b -u ipseckeys.service", "systemctl start ipseckeys.service")


def remedy(kind: str, words: Words, is_exact: bool = True) -> tuple[str, tuple[ShellCommand, ...]]:
    """What to do about a finding, and the commands for it. ``words`` are those of the finding, not quoted;
    ``is_exact`` says that none was cut.
    """
    row = next(
        (row.remedy for row in VARIANTS.get(kind, ()) if row.pattern.search(words[row.word])),
        REMEDIES[kind],
    )
    if any("{only}" in template for template in row.commands) and not words["connection"]:
        row = FOREIGN
    text, templates = row.words, row.commands
    if any("{place}" in template for template in templates) and not (is_exact and _can_be_copied(words["place"])):
        templates = row.instead
        text = f"its name cannot be copied, so find it with this command; then {text}"
    elif "{service}" in "".join(templates) and not _port_of(words):
        templates = row.instead
    made = {**{name: shlex.quote(value) for name, value in words.items()}, **_made(words)}
    lines = (template.format(**made) for template in templates)
    return text.format(**{**words, "fields": _fields(words["detail"]), "connection": words["connection"]}), tuple(
        ShellCommand("" if line.startswith(ON_CONTROLLER) else words["host"], line) for line in lines
    )


def variable(name: str, value: str) -> str:
    """The value of the option -e of Ansible that sets a variable to a text, quoted for a shell."""
    return f"{name}={value}" if _SIMPLE.fullmatch(value) else shlex.quote(json.dumps({name: value}))


def _can_be_copied(place: str) -> bool:
    return place.startswith("/") and place.isprintable() and not _UNSAFE.search(place)


def _made(words: Words) -> dict[str, str]:
    """The parts of commands that are made from words: only from those of this collection and of the inventory, or
    from paths.
    """
    parent = os.path.dirname(words["place"])
    while parent.strip("/") and not _can_be_copied(parent):
        parent = os.path.dirname(parent)
    port = _port_of(words)
    servers = sorted(name for name in CLEAR_TEXT_SERVERS if name.endswith(_SERVERS.get(PORTS.get(port, ""), "-")))
    log, start = _SERVICES.get(words["manager"], _OF_SYSTEMD)
    return {
        "only": variable("rotate_only", words["connection"]),
        "only_host": variable("rotate_only", words["host"]),
        "hosts": shlex.quote(words["host"] or "all"),
        "boot_file": variable("boot_file", words["file"]),
        "linked": shlex.quote(words["file"] + ".linked"),
        "fresh": shlex.quote(words["file"] + ".fresh"),
        "itself": shlex.quote(json.dumps({"path": words["file"], "src": words["file"]})),
        "addresses_for_names": shlex.quote(
            json.dumps({"path": words["file"], "src": words["file"], "resolve_names": True})
        ),
        "port": f"-p {words['port']} " if words["port"].isdecimal() and words["port"] != "22" else "",
        # Of what getent shows, the first address, with the name that was asked for.
        "first_named": shlex.quote("1s/ .*/ " + re.sub(r"[\\/&]", r"\\\g<0>", words["detail"]) + "/p"),
        "parent": shlex.quote(parent or "/"),
        "servers": shlex.quote("|".join(servers)),
        "service": PORTS.get(port, ""),
        "listening": shlex.quote(f"sport = :{port}"),
        "service_log": log,
        "service_start": start,
    }


def _port_of(words: Words) -> int:
    """The port of the logins in clear text that the finding is about, 0 if it says none that is known."""
    server = words["detail"].partition(",")[0]
    named = {service for service, name in _SERVERS.items() if server in CLEAR_TEXT_SERVERS and server.endswith(name)}
    return next((port for port, service in PORTS.items() if service in (named or {words["place"]})), 0)


def _fields(algorithm: str) -> str:
    """What to write instead of an algorithm. A cipher in a counter mode may be both at once."""
    row = BY_NAME.get(algorithm)
    if row is None or row.counter_mode:
        return f"{_CIPHER} and {_HASH}"
    return _CIPHER if row.kind == ENCRYPTION else _HASH


class CommandLine(t.NamedTuple):
    """What commands for Ansible need to work as this audit did. ``options`` and ``vault`` are words of its command
    line. ``keystore`` is the directory of the keystore, empty if it is unknown; no command needs it if the
    inventory sets rotate_keystore (``is_named``).
    """

    options: tuple[str, ...] = ()
    vault: tuple[str, ...] = ("--ask-vault-password",)
    keystore: str = ""
    is_named: bool = False

    def complete(self, text: str, commands: t.Iterable[ShellCommand]) -> tuple[str, tuple[ShellCommand, ...]]:
        """A remedy with the options that this run had."""
        done = tuple(ShellCommand(row.host, self._completed(row.command)) for row in commands)
        if any(KEYSTORE in row.command for row in done):
            text += f" (write the directory of the keystore instead of {KEYSTORE})"
        return text, done

    def _completed(self, command: str) -> str:
        program, dummy, rest = command.partition(" ")
        if program == "ansible":
            return " ".join((command, *map(shlex.quote, self.options)))
        if program != "ansible-playbook":
            return command
        playbook = rest.partition(" ")[0].rpartition(".")[2]
        words = [program, *map(shlex.quote, self.options)]
        if playbook not in _WITH_KEYSTORE:
            return " ".join((*words, rest))
        named = [] if self.is_named else ["-e", variable(f"{playbook}_keystore", self.keystore or KEYSTORE)]
        return " ".join((*words, *map(shlex.quote, self.vault), rest, *named))
