# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ipseckey command as people run it: a copied folder, a process of its own; what it did is seen with ip(8)."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils import _core
from ansible_collections.ipsec.manual.tests.kernel import witness

KEYS = ("6e22b60f98ebd0b73324a4107b80cc9d", "308c9d5d11316f73900c811691eaa6fb9561c2ee", "ca6eb4b0e134bb5664037d3011ed614d341d3635")
ONE = "esp spi 0x1001 dst 192.0.2.2"
ADD = f"add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 encr_alg aes encrkey {KEYS[0]} auth_alg sha1 authkey {KEYS[1]}"
AH = f"add ah spi 0x1002 src 192.0.2.1 dst 192.0.2.2 auth_alg sha1 authkey {KEYS[2]}"


class Result(t.NamedTuple):
    status: int
    out: str
    err: str


class Command:
    """The command in its own folder, and a safe folder for its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(next(iter(_core.__path__)), folder / "lib" / "ipseckey", ignore=shutil.ignore_patterns("__pycache__"))
        self.environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "lib"), "PYTHONDONTWRITEBYTECODE": "1", "TERM": "dumb"}
        self.words = ("/usr/bin/python3", "-m", "ipseckey")
        if "COVERAGE_FILE" in os.environ:
            self.environment["COVERAGE_FILE"] = os.environ["COVERAGE_FILE"]
            self.words = (sys.executable, "-m", "coverage", "run", "--source=ipseckey", "-m", "ipseckey")

    def __call__(self, *words: str, stdin: str = "", secret: bool = True) -> Result:
        """One run; no key in its output where ``secret``."""
        answer = subprocess.run([*self.words, *words], input=stdin, env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        if secret:
            assert not any(key[:8] in answer.stdout + answer.stderr for key in KEYS), answer
        assert "Traceback" not in answer.stderr, answer.stderr
        return Result(answer.returncode, answer.stdout, answer.stderr)

    def good(self, *words: str, stdin: str = "", secret: bool = True) -> str:
        answer = self(*words, stdin=stdin, secret=secret)
        assert answer.status == 0, answer
        return answer.out

    def bad(self, *words: str, stdin: str = "") -> str:
        answer = self(*words, stdin=stdin)
        assert answer.status == 1 and answer.err, answer
        return answer.err

    def file(self, text: str, name: str = "keys", mode: int = 0o600) -> str:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)


@pytest.fixture(name="ipseckey")
def make_command() -> t.Iterator[Command]:
    folder = tempfile.mkdtemp(prefix="ipsec-manual-test-", dir="/root")
    yield Command(Path(folder))
    shutil.rmtree(folder)


def held() -> set[tuple[str, int]]:
    return set(witness.states())


def test_a_file_is_loaded_and_shown(ipseckey: Command) -> None:
    out = ipseckey.good("-f", ipseckey.file(f"flush\n{ADD}\n{AH}\nget {ONE}\n"))
    assert held() == {("esp", 0x1001), ("ah", 0x1002)}
    assert f"0x{KEYS[0]}" in witness.states()["esp", 0x1001]
    assert "SA: SADB_ASSOC spi=0x1001" in out and "SRC: AF_INET: port 0, 192.0.2.1" in out and "EKY: (fingerprint:" in out
    dump = ipseckey.good("dump")
    assert dump.count("SADB_ASSOC") == 2 and dump.endswith("Dump succeeded for SA type 0.\n")
    assert ipseckey.good("dump", "ah").endswith("Dump succeeded for SA type 2.\n")
    assert f"EKY: {KEYS[0]}/128" in ipseckey.good("get", *ONE.split(), "--show-keys", secret=False)
    assert f"EKY: {'XX' * 16}/128" in ipseckey.good("-p", "get", *ONE.split())
    records = json.loads(ipseckey.good("dump", "--json"))
    assert {(record["protocol"], record["spi"]) for record in records} == {("esp", "0x00001001"), ("ah", "0x00001002")}


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("add esp spi 0x1003 dst 192.0.2.2 encr_alg 3des encrkey 308c9d5d11316f73900c811691eaa6fb9561c2ee", "found 160 bits"),
        ("flush NONSENSE", "unknown SA type"),
        ("dump", "no command for a file"),
        ("delete esp spi 0x9999 dst 192.0.2.2", "does not exist"),
        (f"{AH}\n{AH.replace(KEYS[2], KEYS[2][::-1])}", "used twice"),
        (f"{AH} pair-spi 0x1003", "nothing like it"),
        (f"delete-pair {ONE}", "pairs no SAs"),
        (f"update {ONE} hard_bytes 1", "above the hard limit"),
    ],
)
def test_a_file_with_one_wrong_command_changes_nothing(ipseckey: Command, line: str, part: str) -> None:
    ipseckey.good("-f", ipseckey.file(f"{ADD} soft_bytes 5\n"))
    before = witness.states()
    wrong = ipseckey.file(f"add ah spi 0x2000 dst 192.0.2.9 auth_alg sha1 authkey {KEYS[2][2:]}aa\n{line}\nflush esp\n", "wrong")
    assert part in ipseckey.bad("-f", wrong)
    assert witness.states() == before


def test_what_the_kernel_refuses_late_is_undone(ipseckey: Command, without: t.Callable[..., None]) -> None:
    ipseckey.good("-f", ipseckey.file(f"{ADD} hard_bytes 77\n"))
    without("ah6")
    file = ipseckey.file(f"update {ONE} hard_bytes 99\nadd ah spi 0x2000 dst 2001:db8::1 auth_alg sha1 authkey {KEYS[2]}\n", "wrong")
    assert "ah6" in ipseckey.bad("-f", file)
    assert held() == {("esp", 0x1001)} and "hard 77(bytes)" in witness.states()["esp", 0x1001]


def test_a_check_changes_nothing(ipseckey: Command) -> None:
    ipseckey.good("-c", ipseckey.file(f"flush\n{ADD}\n"))
    assert held() == set()
    assert "found 128 bits" in ipseckey.bad("-c", ipseckey.file(f"add ah spi 0x1002 dst 192.0.2.2 auth_alg sha1 authkey {KEYS[0]}\n"))


def test_an_sa_that_is_there_is_refused(ipseckey: Command) -> None:
    file = ipseckey.file(f"{ADD}\n")
    ipseckey.good("-f", file)
    assert "there already" in ipseckey.bad("-f", file)
    ipseckey.good("-f", ipseckey.file(f"delete {ONE}\n{ADD.replace(KEYS[1], KEYS[2])}\n"))
    assert f"0x{KEYS[2]}" in witness.states()["esp", 0x1001]


def test_update_changes_lifetimes_and_never_keys(ipseckey: Command) -> None:
    ipseckey.good("-f", ipseckey.file(f"{ADD} soft_bytes 5 replay 32\n"))
    before = witness.states()["esp", 0x1001]
    ipseckey.good("-f", ipseckey.file(f"update {ONE} hard_bytes 9000 hard_addtime 600\n"))
    after = witness.states()["esp", 0x1001]
    assert "limit: soft 5(bytes), hard 9000(bytes)" in after and "hard 600(sec)" in after
    assert re.sub(r"lifetime config.*", "", after) == re.sub(r"lifetime config.*", "", before)
    assert "takes no authkey" in ipseckey.bad("-f", ipseckey.file(f"update {ONE} authkey {KEYS[2]}\n"))
    assert "command line" in ipseckey.bad("update", *ONE.split(), "hard_bytes", "5")


def test_flush_and_delete(ipseckey: Command) -> None:
    file = ipseckey.file(f"{ADD}\n{AH}\n")
    ipseckey.good("-f", file)
    assert "flush" in ipseckey.bad("flush", "NONSENSE")
    assert "too many words" in ipseckey.bad("flush", "esp", "extra")
    assert len(held()) == 2
    ipseckey.good("flush", "esp")
    assert held() == {("ah", 0x1002)}
    assert "does not exist" in ipseckey.bad("delete", *ONE.split())
    assert "not like that" in ipseckey.bad("delete", "ah", "spi", "0x1002", "dst", "192.0.2.2", "src", "192.0.2.7")
    ipseckey.good("delete", "ah", "spi", "0x1002", "dst", "192.0.2.2", "src", "192.0.2.1")
    assert held() == set()
    ipseckey.good("flush")


def test_what_is_saved_comes_back_as_it_was(ipseckey: Command) -> None:
    more = "proto 4 isrc 10.1.0.0/16 idst 10.2.0.0/16 replay 128 esn reqid 7 mark 0x10/0xff hard_bytes 9000 encap udp nat_lport 4500"
    ipseckey.good("-f", ipseckey.file(f"{ADD} {more}\n{AH}\n"))
    witness.run("ip", "xfrm", "state", "allocspi", "src", "192.0.2.1", "dst", "192.0.2.8", "proto", "esp", "min", "0x900", "max", "0x900")
    before = {name: re.sub(r"add .* use -|lifetime current.*", "", text) for name, text in witness.states().items() if name[1] != 0x900}
    saved = ipseckey.folder / "saved"
    ipseckey.good("save", "all", str(saved))
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    ipseckey.good("-f", ipseckey.file(f"flush\n{saved.read_text()}"))
    assert {name: re.sub(r"add .* use -|lifetime current.*", "", text) for name, text in witness.states().items()} == before
    ipseckey.good("-s", str(saved))
    assert "--show-keys" in ipseckey.bad("-s", "-")
    assert ipseckey.good("save", "ah", "--show-keys", secret=False).count("add ah") == 1
    assert "cannot be loaded" in ipseckey.bad("-p", "save", "all", str(saved))


def test_what_cannot_be_saved_is_named(ipseckey: Command) -> None:
    ipseckey.good("-f", ipseckey.file(f"{ADD}\n"))
    witness.run("ip", "xfrm", "state", "add", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "comp", "spi", "0x77", "comp", "deflate")
    assert "comp spi 0x00000077" in ipseckey.bad("save", "all", str(ipseckey.folder / "saved"))
    assert (ipseckey.folder / "saved").read_text().count("\nadd ") == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(ipseckey: Command, mode: int) -> None:
    file = ipseckey.file(f"{ADD}\n", mode=mode)
    assert "--allow-unsafe-file" in ipseckey.bad("-f", file)
    assert "--allow-unsafe-file" in ipseckey.bad("-f", file, "--allow-network-file")
    assert held() == set()
    ipseckey.good("-f", file, "--allow-unsafe-file")
    assert held() == {("esp", 0x1001)}


def test_counter_modes_want_their_option(ipseckey: Command) -> None:
    file = ipseckey.file(f"add esp spi 0x1001 dst 192.0.2.2 encr_alg aes-gcm encrkey {KEYS[1]}\n")
    assert "--allow-static-counter-mode" in ipseckey.bad("-f", file)
    ipseckey.good("-f", file, "--allow-static-counter-mode")
    assert f"[{KEYS[1][-8:]}]/128+32" in ipseckey.good("dump", "--show-keys", secret=False)


def test_commands_typed_one_by_one(ipseckey: Command) -> None:
    continued = ADD.replace(" encr_alg", " \\\n encr_alg")
    assert ipseckey.good(stdin=f"{continued}\n{AH}\nget {ONE}\nquit\nflush\n").count("SADB_ASSOC") == 1
    assert len(held()) == 2
    answer = ipseckey(stdin=f"frobnicate\n{ADD}\nflush ah\n")
    assert answer.status == 1 and "unknown command" in answer.err and "there already" in answer.err
    assert held() == {("esp", 0x1001)}


def test_the_prompt_on_a_terminal(ipseckey: Command) -> None:
    """Completion answers a tab, and the history has no line with a key."""
    master, slave = pty.openpty()
    with subprocess.Popen(ipseckey.words, stdin=slave, stdout=slave, stderr=slave, env=ipseckey.environment, close_fds=True) as process:
        os.close(slave)
        seen = ""

        def until(text: str) -> None:
            nonlocal seen
            while text not in seen:
                assert select.select([master], [], [], 30)[0], seen
                seen += os.read(master, 4096).decode()
            seen = seen.partition(text)[2]

        until("ipseckey> ")
        os.write(master, b"dum\t esp\n")
        until("Dump succeeded for SA type 3.")
        until("ipseckey> ")
        os.write(master, f"{ADD}\n".encode())
        until("warning")
        until("ipseckey> ")
        os.write(master, b"\x10\n")  # the line before: not the one with keys
        until("Dump succeeded for SA type 3.")
        until("ipseckey> ")
        os.write(master, b"quit\n")
        assert process.wait(30) == 0
    os.close(master)
    assert held() == {("esp", 0x1001)}


def test_a_clear_text_login_gets_no_prompt(ipseckey: Command) -> None:
    server = ipseckey.folder / "in.telnetd"
    shutil.copy("/bin/sh", server)
    script = "/usr/bin/python3 -m ipseckey $OPTION; exit $?"

    def login(option: str) -> subprocess.CompletedProcess[str]:
        environment = {**ipseckey.environment, "OPTION": option}
        return subprocess.run([str(server), "-c", script], input=f"{ADD}\n", env=environment, capture_output=True, text=True, check=False)

    refused = login("")
    assert refused.returncode == 1 and "--allow-clear-text-login" in refused.stderr and "in.telnetd" in refused.stderr
    assert held() == set()
    assert login("--allow-clear-text-login").returncode == 0
    assert held() == {("esp", 0x1001)}


@contextlib.contextmanager
def running(*words: str, environment: dict[str, str]) -> t.Iterator[subprocess.Popen[str]]:
    """A process that ends with the test, also where that fails."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def listening(process: subprocess.Popen[str]) -> None:
    """Wait until the process is in multicast groups of NETLINK_XFRM, whose number is 6."""
    deadline = time.monotonic() + 30
    while not any(line.split()[1] == "6" and int(line.split()[3], 16) for line in witness.read(f"/proc/{process.pid}/net/netlink").splitlines()[1:]):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)


@pytest.mark.parametrize("form", ["text", "json"])
def test_events_are_followed_live(ipseckey: Command, form: str) -> None:
    words = [*ipseckey.words, "monitor", *(["--json"] if form == "json" else [])]
    with running(*words, environment=ipseckey.environment) as process:
        assert process.stdout is not None
        listening(process)
        ipseckey.good("-f", ipseckey.file(f"{ADD} hard_addtime 600\n{AH}\n"))
        ipseckey.good("-f", ipseckey.file(f"update {ONE} hard_bytes 900\n"))
        ipseckey.good("delete", *ONE.split())
        ipseckey.good("flush", "ah")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait(30) == 0
    assert not any(key[:8] in out for key in KEYS)
    if form == "json":
        events = [json.loads(line) for line in out.splitlines()]
        assert [event["event"] for event in events] == ["add", "add", "update", "delete", "flush"]
        assert [event.get("spi") for event in events] == ["0x00001001", "0x00001002", "0x00001001", "0x00001001", None]
        assert events[3]["encryption_algorithm"] == "aes-cbc" and events[4]["protocol"] == "ah"
    else:
        assert re.findall(r"^Base message \(version 2\) type (\w+), SA type (\w+)\.$", out, re.M) == [
            ("ADD", "ESP"),
            ("ADD", "AH"),
            ("UPDATE", "ESP"),
            ("DELETE", "ESP"),
            ("FLUSH", "AH"),
        ]


def test_the_end_of_a_lifetime_is_an_event(ipseckey: Command) -> None:
    with running(*ipseckey.words, "pmonitor", environment=ipseckey.environment) as process:
        assert process.stdout is not None
        listening(process)
        ipseckey.good("-f", ipseckey.file(f"{ADD} soft_addtime 1 hard_addtime 2\n"))
        deadline = time.monotonic() + 20
        while held() and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
    assert "type SOFT EXPIRE, SA type ESP" in out and "type HARD EXPIRE, SA type ESP" in out
