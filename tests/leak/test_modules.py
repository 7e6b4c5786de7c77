# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules that take keys or read them, at maximum verbosity, on a host that would store them in temporary files."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import IpsecError
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import language
from ansible_collections.ipsec.manual.tests.leak import marker
from ansible_collections.ipsec.manual.tests.leak.stage import CONTROLLER, HOSTS, Stage

SOURCE, DESTINATION = "192.168.116.16", "192.168.13.213"
ADD = (
    f"add esp spi 0x{{spi:x}} src {SOURCE} dst {DESTINATION} encralg aes-cbc authalg hmac-sha256 encrkey {{one}}"
    " authkey {two}\n"
)
# A good line, and what makes it a bad one: (old, new); {one} to {four} are keys of 256 bits, {cut}
# lacks the last digit of one.
FLAWS: dict[str, tuple[str, str]] = {
    "odd": ("{one}", "{cut}"),
    "short": ("{one}", "{cut:.62}"),
    "not a hex digit": ("{two}", "{cut:.62}zz"),
    "key as SPI": ("0x{spi:x}", "{three}"),
    "key as hexadecimal SPI": ("0x{spi:x}", "0x{three}"),
    "key as address": (SOURCE, "{three}"),
    "key as type": ("esp", "{three}"),
    "key as algorithm": ("hmac-sha256", "{three}"),
    "key as keyword": ("encrkey", "{three}"),
    "key as command": ("add", "{three}"),
    "key given twice": ("authkey", "encrkey {three} authkey"),
    "same key twice": ("{two}", "{one}"),
    "key without its keyword": ("encrkey ", ""),
    "key joined to its keyword": ("encrkey ", "encrkey"),
    "keys joined by a colon": ("{one}", "{one}:{three}"),
    "key in two words": ("{one}", "{one:.32} {three:.32}"),
    "key as number": ("authkey", "replay {three} authkey"),
    "key after the end": ("{two}", "{two} {three}"),
    "quote that does not end": ("{one}", '"{one}'),
}


def flawed(name: str, maker: marker.Keys, spi: int) -> str:
    """A line with one flaw."""
    keys = {word: maker.key(32).hex() for word in ("one", "two", "three")}
    return ADD.replace(*FLAWS[name]).format(spi=spi, cut=maker.key(32).hex()[:-1], **keys)


@pytest.mark.parametrize("name", FLAWS)
def test_refusals_of_texts_never_quote_a_key(name: str) -> None:
    pattern = marker.new()
    text = flawed(name, marker.Keys(pattern), 0x1000)
    search = marker.Search(pattern)
    assert search.first(text.encode())
    with pytest.raises(IpsecError) as refusal:
        language.parse(text + flawed("odd", marker.Keys(pattern), 0x1001), name="text")
    shown = (
        f"{refusal.value} {refusal.value!r} {vars(refusal.value)!r} {refusal.value.args!r}"
        f" {refusal.value.__context__!r}"
    )
    assert search.first(shown.encode()) == "", shown


PLANTED = "/run/planted"
# sudo's part in become: another program starts the shell, whose command line is seen and whose input is not.
SUDO = """\
#!/bin/sh
while [ "$1" != /bin/sh ]; do shift; done
exec "$@"
"""
# Python imports this first. Writing files fails, and so does netlink except for dumps.
THROWING = """\
import os, socket, struct

class Socket(socket.socket):
    def send(self, data, *arguments):
        if self.family == socket.AF_NETLINK and struct.unpack_from("=H", data, 6)[0] & 0x300 != 0x300:
            throw()
        return super().send(data, *arguments)

def throw(*arguments):
    raise RuntimeError("thrown in the middle")

os.fsync, socket.socket = throw, Socket
"""


def plant(stage: Stage) -> None:
    """What the playbook needs on the host."""
    for name, content in {"sudo": SUDO, "sitecustomize.py": THROWING}.items():
        script = f"mkdir -p {PLANTED} && cat > {PLANTED}/{name} && chmod 755 {PLANTED}/{name}"
        assert stage.run(HOSTS[0], "sh", "-c", script, stdin=content.encode()).status == 0


def variables(stage: Stage) -> dict[str, t.Any]:
    """Variables for playbooks/modules.yml."""

    def key(bits: int) -> str:
        return stage.keys.key(bits // 8).hex()

    def esp(spi: int) -> str:
        return ADD.format(spi=spi, one=key(256), two=key(256))

    def ah(spi: int) -> str:
        return f"add ah spi 0x{spi:x} src {DESTINATION} dst {SOURCE} authalg hmac-sha512 authkey {key(512)}\n"

    return {
        "leak_sa": {
            "protocol": "esp",
            "spi": "0x1234",
            "source": DESTINATION,
            "destination": SOURCE,
            "encryption_algorithm": "3des-cbc",
            "encryption_key": "0x" + key(192).upper(),
            "authentication_algorithm": "hmac-md5",
            "authentication_key": key(128),
        },
        "leak_planted": PLANTED,
        "leak_other_key": key(192),
        "leak_loop_keys": [key(192), key(192)],
        "leak_bad_sas": {
            "short and odd": {"encryption_key": key(192)[:-2], "authentication_key": key(128)[:-1]},
            "both keys exchanged": {"encryption_key": key(128), "authentication_key": key(192)},
            "in other options too": {
                **dict.fromkeys(("spi", "encryption_algorithm", "encryption_key"), key(192)),
                "authentication_key": key(120) + "zz",
            },
            **{
                f"as {option} alone": {option: key(192)}
                for option in ("protocol", "spi", "source", "encryption_algorithm", "mark", "reqid")
            },
            "in an option that does not exist": {"encryption-key": key(192)},
        },
        "leak_texts": {"one": esp(0x1001) + ah(0x1002), "two": esp(0x1003) + esp(0x1004) + ah(0x1005)},
        "leak_bad_text": "".join(flawed(name, stage.keys, 0x2000 + number) for number, name in enumerate(FLAWS)),
    }


def test_modules_leak_no_key(stage: Stage) -> None:
    values = variables(stage)
    stage.write_variables(values)
    plant(stage)
    with stage.history(HOSTS[0]):
        outcome = stage.playbook("modules.yml", "-e", "@variables.yml", pipelining=False, debug=True)
    stage.clear()
    assert [str(leak) for leak in outcome.leaks] == []
    assert outcome.status == 0, outcome.output
    assert outcome.output.count("changed: [enigma] => (item=(censored due to no_log))") == len(values["leak_loop_keys"])
    assert outcome.output.count("RuntimeError: thrown in the middle") >= 2
    assert {leak.finding.place for leak in outcome.allowed} >= {
        "/etc/inet/secret/ipseckeys",
        "/etc/inet/secret/ipseckeys.previous",
    }
    assert {
        "ansible-ipsec.manual.ipsec_audit",
        "ansible-ipsec.manual.ipsec_batch",
        "ansible-ipsec.manual.ipsec_sa",
        "ansible-ipsec.manual.ipsec_sadb",
        "ansible-ipsec.manual.ipsec_status",
        "ansible-ipsec.manual.ipseckeys_file",
    } <= outcome.invocations[HOSTS[0]]
    assert outcome.counts[CONTROLLER]["execs"] > 0
    keys = stage.kernel_keys(HOSTS[0])
    assert len(keys) == 5
    assert all(map(stage.search.first, keys))
