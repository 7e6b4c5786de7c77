# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ipseckey command as users run it: a copied folder, in a separate process; ip(8) shows its results."""

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
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import command
from ansible_collections.ipsec.manual.plugins.module_utils._core.sadb.xfrm.backend import XfrmSadb
from ansible_collections.ipsec.manual.plugins.module_utils._core.spd.kernel import Spd
from ansible_collections.ipsec.manual.tests.kernel import witness

KEYS = (
    "6e22b60f98ebd0b73324a4107b80cc9d",
    "308c9d5d11316f73900c811691eaa6fb9561c2ee",
    "ca6eb4b0e134bb5664037d3011ed614d341d3635",
)
ONE = "esp spi 0x1001 dst 192.0.2.2"
ADD = f"add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 encr_alg aes encrkey {KEYS[0]} auth_alg sha1 authkey {KEYS[1]}"
AH = f"add ah spi 0x1002 src 192.0.2.1 dst 192.0.2.2 auth_alg sha1 authkey {KEYS[2]}"


class Result(t.NamedTuple):
    status: int
    out: str
    err: str


class Command:
    """The command, and a safe folder for its files."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(library), "TERM": "dumb"}
        self.words = ("/usr/bin/python3", "-m", "ipseckey.program.command")
        if "COVERAGE_FILE" in os.environ:
            self.environment["COVERAGE_FILE"] = os.environ["COVERAGE_FILE"]
            self.words = (
                sys.executable,
                "-m",
                "coverage",
                "run",
                "--source=ipseckey",
                "-m",
                "ipseckey.program.command",
            )

    def __call__(self, *words: str, stdin: str = "", secret: bool = True) -> Result:
        """Run the command once; if ``secret``, check that its output contains no key."""
        answer = subprocess.run(
            [*self.words, *words],
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
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


@pytest.fixture(name="library", scope="module")
def make_library() -> t.Iterator[Path]:
    """The core alone, under the command's name; copied once, so that it is compiled once."""
    with tempfile.TemporaryDirectory(prefix="ipsec-manual-test-", dir="/root") as folder:
        library = Path(folder, "lib")
        shutil.copytree(list(_core.__path__)[0], library / "ipseckey", ignore=shutil.ignore_patterns("__pycache__"))
        yield library


@pytest.fixture(name="ipseckey")
def make_command(library: Path) -> t.Iterator[Command]:
    with tempfile.TemporaryDirectory(prefix="ipsec-manual-test-", dir="/root") as folder:
        yield Command(library, Path(folder))


def held() -> set[tuple[str, int]]:
    return set(witness.states())


def test_a_file_is_loaded_and_shown(ipseckey: Command) -> None:
    out = ipseckey.good("-f", ipseckey.file(f"flush\n{ADD}\n{AH}\nget {ONE}\n"))
    assert held() == {("esp", 0x1001), ("ah", 0x1002)}
    assert f"0x{KEYS[0]}" in witness.states()["esp", 0x1001]
    assert (
        "SA: SADB_ASSOC spi=0x1001" in out and "SRC: AF_INET: port 0, 192.0.2.1" in out and "EKY: (fingerprint:" in out
    )
    dump = ipseckey.good("dump")
    assert dump.count("SADB_ASSOC") == 2 and dump.endswith("Dump succeeded for SA type 0.\n")
    assert ipseckey.good("dump", "ah").endswith("Dump succeeded for SA type 2.\n")
    assert f"EKY: {KEYS[0]}/128" in ipseckey.good("get", *ONE.split(), "--show-keys", secret=False)
    assert f"EKY: {'XX' * 16}/128" in ipseckey.good("-p", "get", *ONE.split())
    assert "SRC: AF_INET: port 0, 192.0.2.1.\n" in ipseckey.good("-n", "dump")
    records = json.loads(ipseckey.good("dump", "--json"))
    assert {(record["protocol"], record["spi"]) for record in records} == {("esp", "0x00001001"), ("ah", "0x00001002")}


TUNNEL = """\
Base message (version 2) type GET, SA type ESP.
SA: SADB_ASSOC spi=0x1001, replay window size=32, state=MATURE
SA: Authentication algorithm = hmac-sha1
SA: Encryption algorithm = aes-cbc
SA: flags=0x1a4000 < X_INBOUND X_NATT_LOC X_NATT_REM X_TUNNEL >
SRC: Source address (proto=4)
SRC: AF_INET: port 0, 192.0.2.1.
DST: Destination address (proto=4)
DST: AF_INET: port 0, 192.0.2.2.
NLC: NAT-T local address (proto=17)
NLC: AF_INET: port 4500, 0.0.0.0.
NRM: NAT-T remote address (proto=17)
NRM: AF_INET: port 4501, 192.0.2.9.
INS: Inner source address (proto=6)
INS: AF_INET: port 0, 10.1.0.0/16.
IND: Inner destination address (proto=6)
IND: AF_INET: port 0, 10.2.0.0/16.
"""
LIMITS = """\
 LT: Lifetime information
CLT: Current lifetime information:
CLT: 0 bytes protected, 0 allocations used.
CLT: SA added at time: DATE
CLT: \t(raw time value NUMBER)
CLT: Time now is DATE
CLT: \t(raw time value NUMBER)
HLT: Hard lifetime information:
HLT: 4096 bytes (4.00 KB) of lifetime, 0 allocations.
HLT: 86000 seconds (23.89 hours) of post-add lifetime.
HLT: 0 seconds of post-use lifetime.
HLT: 4096 bytes (4.00 KB) more can be protected.
HLT: Hard expiration occurs in NUMBER seconds (23.89 hours)
HLT: Time of expiration: DATE.
HLT: \t(raw time value NUMBER)
"""


def test_an_inbound_sa_behind_a_nat_is_printed_as_on_solaris(ipseckey: Command) -> None:
    """The kernel need not know the direction: the address of the destination is this host's."""
    witness.run("ip", "-batch", "-", stdin="link add dummy0 type dummy\naddr add 192.0.2.2/24 dev dummy0\n")
    nat = "inbound replay 32 encap udp nat_rem 192.0.2.9 nat_lport 4500 nat_rport 4501"
    inner = "isrc 10.1.0.0/16 idst 10.2.0.0/16 iproto 6"
    ipseckey.good("-f", ipseckey.file(f"{ADD} {nat} {inner} hard_bytes 4096 hard_addtime 86000\n"))
    out = ipseckey.good("-n", "-v", "get", *ONE.split())
    assert out.startswith(TUNNEL)
    limits = re.sub(r"\w{3} \w{3} [ \d]\d [\d:]{8} \w+ \d{4}", "DATE", out[out.index(" LT:") :])
    assert re.sub(r"(value|in) \d+", r"\1 NUMBER", limits) == LIMITS
    assert not ipseckey("-n", "get", *ONE.split()).err


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (
            "add esp spi 0x1003 dst 192.0.2.2 encr_alg 3des encrkey 308c9d5d11316f73900c811691eaa6fb9561c2ee",
            "found 160 bits",
        ),
        ("flush NONSENSE", "unknown SA type"),
        ("dump", "not a command for files"),
        ("delete esp spi 0x9999 dst 192.0.2.2", "does not exist"),
        (f"{AH}\n{AH.replace(KEYS[2], KEYS[2][::-1])}", "used twice"),
        (f"{AH} pair-spi 0x1003", "nothing like it"),
        (f"delete-pair {ONE}", "does not pair SAs"),
        (f"update {ONE} hard_bytes 1", "above the hard limit"),
    ],
)
def test_a_file_with_one_wrong_command_changes_nothing(ipseckey: Command, line: str, part: str) -> None:
    ipseckey.good("-f", ipseckey.file(f"{ADD} soft_bytes 5\n"))
    before = witness.states()
    wrong = ipseckey.file(
        f"add ah spi 0x2000 dst 192.0.2.9 auth_alg sha1 authkey {KEYS[2][2:]}aa\n{line}\nflush esp\n", "wrong"
    )
    assert part in ipseckey.bad("-f", wrong)
    assert witness.states() == before


def test_changes_are_undone_if_the_kernel_refuses_a_later_one(
    ipseckey: Command, without: t.Callable[..., None]
) -> None:
    ipseckey.good("-f", ipseckey.file(f"{ADD} hard_bytes 77\n"))
    without("ah6")
    file = ipseckey.file(
        f"update {ONE} hard_bytes 99\nadd ah spi 0x2000 dst 2001:db8::1 auth_alg sha1 authkey {KEYS[2]}\n", "wrong"
    )
    assert "ah6" in ipseckey.bad("-f", file)
    assert held() == {("esp", 0x1001)} and "hard 77(bytes)" in witness.states()["esp", 0x1001]


def test_a_check_changes_nothing(ipseckey: Command) -> None:
    ipseckey.good("-c", ipseckey.file(f"flush\n{ADD}\n"))
    assert held() == set()
    assert "found 128 bits" in ipseckey.bad(
        "-c", ipseckey.file(f"add ah spi 0x1002 dst 192.0.2.2 auth_alg sha1 authkey {KEYS[0]}\n")
    )


def test_a_check_refuses_what_loading_would_and_accepts_what_is_loaded(ipseckey: Command) -> None:
    loaded = ipseckey.file(f"{ADD}\n")
    ipseckey.good("-f", loaded)
    ipseckey.good("-c", loaded)
    key = ADD.split()[-1]
    shared = ADD.replace("0x1001", "0x3001")
    assert key in shared and shared != ADD
    for text, part in ((shared, "which the SADB holds"), ("delete esp spi 0x4444 dst 192.0.2.2", "does not exist")):
        file = ipseckey.file(f"{text}\n", "other")
        said = ipseckey.bad("-c", file)
        assert part in said and ipseckey.bad("-f", file).splitlines()[0] in said
    ipseckey.good("-c", ipseckey.file(f"flush esp\n{shared}\n", "other"))
    assert held() == {("esp", 0x1001)}


def test_a_check_finds_what_the_kernel_lacks(ipseckey: Command, without: t.Callable[..., None]) -> None:
    file = ipseckey.file(f"{ADD}\nadd ah spi 0x2000 dst 2001:db8::1 auth_alg sha1 authkey {KEYS[2]}\n")
    ipseckey.good("-c", file)
    without("ah6")
    assert "modprobe -a ah6" in ipseckey.bad("-c", file)
    assert held() == set()


def test_an_sa_that_exists_is_refused(ipseckey: Command) -> None:
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


def test_saved_sas_are_restored_unchanged(ipseckey: Command) -> None:
    more = (
        "proto 4 isrc 10.1.0.0/16 idst 10.2.0.0/16 replay 128 esn reqid 7 mark 0x10/0xff hard_bytes 9000 encap udp"
        " nat_lport 4500"
    )
    ipseckey.good("-f", ipseckey.file(f"{ADD} {more}\n{AH}\n"))
    witness.reserve_spi("0x900", "192.0.2.8")
    before = {
        name: re.sub(r"add .* use -|lifetime current.*", "", text)
        for name, text in witness.states().items()
        if name[1] != 0x900
    }
    saved = ipseckey.folder / "saved"
    ipseckey.good("save", "all", str(saved))
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    ipseckey.good("-f", ipseckey.file(f"flush\n{saved.read_text()}"))
    assert {
        name: re.sub(r"add .* use -|lifetime current.*", "", text) for name, text in witness.states().items()
    } == before
    ipseckey.good("-s", str(saved))
    assert "--show-keys" in ipseckey.bad("-s", "-")
    assert ipseckey.good("save", "ah", "--show-keys", secret=False).count("add ah") == 1
    assert "cannot be loaded" in ipseckey.bad("-p", "save", "all", str(saved))


def test_sas_that_cannot_be_saved_are_named(ipseckey: Command) -> None:
    ipseckey.good("-f", ipseckey.file(f"{ADD}\n"))
    witness.ip("xfrm state add src 192.0.2.1 dst 192.0.2.2 proto comp spi 0x77 comp deflate")
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


def test_counter_modes_need_their_option(ipseckey: Command) -> None:
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


def test_the_prompt_remembers_the_keys_of_what_was_deleted(ipseckey: Command) -> None:
    other = ADD.replace("0x1001", "0x3001")
    answer = ipseckey(stdin=f"{ADD}\ndelete {ONE}\n{ADD}\ndelete {ONE}\n{other}\n")
    assert answer.status == 1 and held() == set()
    assert "also used by esp spi 0x00001001" in answer.err and "which was typed before" in answer.err
    ipseckey.good("--allow-shared-key", stdin=f"{ADD}\ndelete {ONE}\n{other}\n")
    assert held() == {("esp", 0x3001)}


def test_the_prompt_on_a_terminal(ipseckey: Command) -> None:
    """Tab completes, and the history contains no line with a key."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        ipseckey.words, stdin=slave, stdout=slave, stderr=slave, env=ipseckey.environment, close_fds=True
    ) as process:
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
    script = "/usr/bin/python3 -m ipseckey.program.command $OPTION; exit $?"

    def login(option: str) -> subprocess.CompletedProcess[str]:
        environment = {**ipseckey.environment, "OPTION": option}
        return subprocess.run(
            [str(server), "-c", script], input=f"{ADD}\n", env=environment, capture_output=True, text=True, check=False
        )

    refused = login("")
    assert refused.returncode == 1 and "--allow-clear-text-login" in refused.stderr and "in.telnetd" in refused.stderr
    assert held() == set()
    assert login("--allow-clear-text-login").returncode == 0
    assert held() == {("esp", 0x1001)}


@contextlib.contextmanager
def running(*words: str, environment: dict[str, str]) -> t.Iterator[subprocess.Popen[str]]:
    """A process that ends with the test, even if that fails."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def listening(process: subprocess.Popen[str]) -> None:
    """Wait until the process is in multicast groups of NETLINK_XFRM, whose number is 6."""
    deadline = time.monotonic() + 30
    while not any(
        line.split()[1] == "6" and int(line.split()[3], 16)
        for line in witness.read(f"/proc/{process.pid}/net/netlink").splitlines()[1:]
    ):
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
        assert out.startswith("Actively monitoring the PF_KEY socket.\nRead ")
        blocks = out.partition("\n")[2].split("\n\n")
        heads = [re.match(r"Read \d+ bytes\.\nTimestamp: .+\nBase message ", block) for block in blocks]
        assert all(heads[:-1]) and blocks[5:] == [""]
        assert len(re.findall(r"^Message length \d+ bytes, seq=[1-9]\d*, pid=\d+\.$", out, re.M)) == 5
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
    assert out.startswith("Passively monitoring the PF_KEY socket.\n")
    assert out.count("type EXPIRE, SA type ESP") == 2 and re.findall(r"state=(\w+)", out) == ["MATURE", "DYING", "DEAD"]


# A file of SAs with a file of policies.

OUT: dict[str, t.Any] = {
    "direction": "out",
    "selector": {"source": "192.0.2.1/32", "destination": "192.0.2.2/32"},
    "templates": [{"protocol": "esp"}],
}
BACK: dict[str, t.Any] = {
    "direction": "in",
    "selector": {"source": "192.0.2.2/32", "destination": "192.0.2.1/32"},
    "templates": [{"protocol": "esp"}],
}
BUNDLE = {**OUT, "templates": [{"protocol": "esp"}, {"protocol": "ah"}]}
FOREIGN = (
    "src",
    "192.0.2.1",
    "dst",
    "192.0.2.9",
    "dir",
    "out",
    "priority",
    "3",
    "tmpl",
    "proto",
    "esp",
    "mode",
    "transport",
    "reqid",
    "99",
)


def policy_file(ipseckey: Command, *policies: dict[str, t.Any], mode: int = 0o644) -> str:
    return ipseckey.file(json.dumps(policies), "policies", mode)


def kept() -> set[str]:
    """Direction and priority of every policy, and the reqids of its templates."""
    return {" ".join(re.findall(r"dir \w+ priority \d+|reqid \d+", text)) for text in witness.policies()}


def test_policies_are_loaded_before_sas_and_removed_after_them(ipseckey: Command) -> None:
    witness.run("ip", "xfrm", "policy", "add", *FOREIGN)
    both = (ipseckey.file(f"{ADD}\n{AH}\n"), "--policies", policy_file(ipseckey, BUNDLE, BACK))
    with running("ip", "xfrm", "monitor", environment=ipseckey.environment) as process:
        assert process.stdout is not None
        listening(process)
        out = ipseckey.good("-v", "--apply", *both)
        assert (
            kept() == {"dir out priority 0 reqid 0 reqid 0", "dir in priority 0 reqid 0", "dir out priority 3 reqid 99"}
            and len(held()) == 2
        )
        assert (
            "add policy out 192.0.2.1/32 > 192.0.2.2/32\n" in out
            and out.count("2 added, 0 replaced, 0 removed, 0 unchanged") == 2
        )
        before = (witness.policies(), witness.states())
        assert ipseckey.good("--apply", *both).count("0 added, 0 replaced, 0 removed, 2 unchanged") == 2
        assert (witness.policies(), witness.states()) == before
        ipseckey.good("--remove", *both)
        assert kept() == {"dir out priority 3 reqid 99"} and held() == set()
        time.sleep(1)
        process.terminate()
        events = re.findall(r"^(Deleted )?src .*\n\t(dir|proto)", process.stdout.read(), re.M)
    assert events == [("", "dir")] * 2 + [("", "proto")] * 2 + [("Deleted ", "proto")] * 2 + [("Deleted ", "dir")] * 2


def test_policies_are_loaded_without_sas(ipseckey: Command) -> None:
    """As with ipsecconf -a; those that the file no longer names leave, unless they guard an SA of the kernel."""
    witness.run("ip", "xfrm", "policy", "add", *FOREIGN)
    path = policy_file(ipseckey, OUT, BACK)
    assert "2 added, 0 replaced, 0 removed, 0 unchanged" in ipseckey.good("--policies", path)
    assert "0 added, 0 replaced, 0 removed, 2 unchanged" in ipseckey.good("-v", "--policies", path)
    assert len(kept()) == 3
    ipseckey.good("-f", ipseckey.file(f"{ADD}\n"))
    policy_file(ipseckey)
    answer = ipseckey("--policies", path)
    assert answer.status == 0 and "It stays, since it guards SAs in the kernel" in answer.err
    assert "dir out priority 0 reqid 0" in kept() and "dir in priority 0 reqid 0" not in kept()
    ipseckey.good("flush")
    assert "1 removed" in ipseckey.good("--policies", path)
    assert kept() == {"dir out priority 3 reqid 99"}


@pytest.mark.parametrize(("text", "mode"), [("[", 0o644), ('[{"direction": "up"}]', 0o644), ("[]", 0o666)])
def test_a_file_of_policies_that_is_wrong_or_unsafe_changes_nothing(ipseckey: Command, text: str, mode: int) -> None:
    ipseckey.good("--policies", policy_file(ipseckey, OUT))
    before = witness.policies()
    ipseckey.bad("--policies", ipseckey.file(text, "policies", mode))
    assert witness.policies() == before


def test_policies_are_shown_with_their_numbers_and_deleted_by_them(ipseckey: Command) -> None:
    witness.run("ip", "xfrm", "policy", "add", *FOREIGN)
    ipseckey.good("--policies", policy_file(ipseckey, BUNDLE, BACK))
    lines = ipseckey.good("--show-policies").splitlines()
    (line,) = (line for line in lines if "out 192.0.2.1/32 > 192.0.2.2/32, allow, priority 0" in line)
    assert "esp transport reqid 0 required, ah transport reqid 0 required" in line and len(lines) == 3
    number = line.split()[0]
    rows = json.loads(ipseckey.good("--json", "--show-policies"))
    (shown,) = (row for row in rows if str(row["number"]) == number)
    assert shown["selector"]["destination"] == "192.0.2.2/32" and len(rows) == 3
    # What is shown can be loaded again.
    again = [{name: value for name, value in row.items() if name != "number"} for row in rows]
    assert "3 unchanged" in ipseckey.good("--policies", policy_file(ipseckey, *again))
    ipseckey.good("-f", ipseckey.file(f"{ADD}\n"))
    answer = ipseckey("--delete-policy", number)
    assert answer.status == 0 and "no policy uses 1 SA, so traffic may leave unencrypted" in answer.err
    assert len(witness.policies()) == 2
    assert "no policy has this number" in ipseckey.bad("--delete-policy", number)
    assert "no policy has this number" in ipseckey.bad("--delete-policy", "all")


def test_a_policy_that_only_another_program_can_express_is_not_deleted(ipseckey: Command) -> None:
    witness.run("ip", "xfrm", "policy", "add", *FOREIGN[:4], "dev", "lo", *FOREIGN[4:])
    number = ipseckey.good("--show-policies").split()[0]
    assert "so it belongs to another program" in ipseckey.bad("--delete-policy", number)
    assert len(witness.policies()) == 1


def test_policies_are_saved_to_a_new_file_that_can_be_loaded(ipseckey: Command) -> None:
    """Those of a file of somebody else, too: the saved one belongs to root."""
    theirs, saved = policy_file(ipseckey, BUNDLE, BACK), str(ipseckey.folder / "saved")
    os.chown(theirs, 65534, 65534)
    assert "belongs to user 65534, not to root" in ipseckey.bad("--policies", theirs)
    ipseckey.good("--policies", theirs, "--allow-unsafe-file")
    before = witness.policies()
    ipseckey.good("--save-policies", saved)
    assert (os.stat(saved).st_uid, stat.S_IMODE(os.stat(saved).st_mode)) == (0, 0o600)
    assert "the file exists, and policies are saved to a new one only" in ipseckey.bad("--save-policies", saved)
    ipseckey.good("--flush-policies")
    ipseckey.good("--policies", saved)
    assert witness.policies() == before
    witness.run("ip", "xfrm", "policy", "add", *FOREIGN[:4], "dev", "lo", *FOREIGN[4:])
    answer = ipseckey("--save-policies", f"{saved}2")
    assert answer.status == 1 and "properties that a file cannot express, so it was not saved" in answer.err
    assert len(json.loads((ipseckey.folder / "saved2").read_text())) == 2


def test_nothing_is_saved_through_a_link_or_in_the_place_of_a_file_for_all(ipseckey: Command) -> None:
    target = ipseckey.folder / "target"
    target.write_text("kept\n")
    target.chmod(0o644)
    (ipseckey.folder / "link").symlink_to(target)
    (ipseckey.folder / "dangling").symlink_to("nothing")
    assert "the file has mode 0644, not 0600" in ipseckey.bad("-s", str(target))
    for name in ("link", "dangling"):
        assert "the file is a symbolic link" in ipseckey.bad("-s", str(ipseckey.folder / name))
        assert "the file exists" in ipseckey.bad("--save-policies", str(ipseckey.folder / name))
    assert target.read_text() == "kept\n"


def test_all_policies_are_flushed(ipseckey: Command) -> None:
    witness.run("ip", "xfrm", "policy", "add", *FOREIGN)
    ipseckey.good("--apply", ipseckey.file(f"{ADD}\n"), "--policies", policy_file(ipseckey, OUT))
    answer = ipseckey("-v", "--flush-policies")
    assert answer.status == 0 and "flush: 2 policies deleted" in answer.out and "may leave unencrypted" in answer.err
    assert witness.policies() == [] and len(witness.states()) == 1
    assert ipseckey("--flush-policies").status == 0
    assert ipseckey.good("--show-policies") == "" and json.loads(ipseckey.good("--json", "--show-policies")) == []


def test_compare_reports_what_apply_would_do_to_policies(ipseckey: Command) -> None:
    sas = ipseckey.file(f"{ADD}\n")
    ipseckey.good("--apply", sas)
    words = ("--compare", sas, "--policies", policy_file(ipseckey, OUT))
    answer = ipseckey(*words)
    assert answer.status == 1 and "add policy out" in answer.out and witness.policies() == []
    ipseckey.good("--apply", *words[1:])
    assert "0 added, 0 replaced, 0 removed, 1 unchanged" in ipseckey.good(*words)
    policy_file(ipseckey, {**OUT, "priority": 7})
    answer = ipseckey(*words)
    assert answer.status == 1 and "replace policy out 192.0.2.1/32 > 192.0.2.2/32 (priority)" in answer.out
    assert kept() == {"dir out priority 0 reqid 0"}


def test_policies_that_left_the_file_are_removed_and_no_others(ipseckey: Command) -> None:
    witness.run("ip", "xfrm", "policy", "add", *FOREIGN)
    sas = ipseckey.file(f"{ADD}\n")
    first = policy_file(ipseckey, OUT, BACK)
    ipseckey.good("--apply", sas, "--policies", first)
    policy_file(ipseckey, {**OUT, "priority": 5})
    assert "0 added, 1 replaced, 1 removed, 0 unchanged" in ipseckey.good("--apply", sas, "--policies", first)
    assert kept() == {"dir out priority 5 reqid 0", "dir out priority 3 reqid 99"}
    # Each file owns its policies, and the record knows a file that no longer exists.
    second = ipseckey.file(json.dumps([BACK]), "more", 0o644)
    ipseckey.good("--apply", sas, "--policies", second)
    assert len(kept()) == 3
    os.unlink(first)
    answer = ipseckey("--remove", sas, "--policies", first)
    assert answer.status == 0 and "does not exist; removing what was loaded" in answer.err
    assert kept() == {"dir in priority 0 reqid 0", "dir out priority 3 reqid 99"} and held() == set()
    assert "does not exist" in ipseckey.bad("--remove", sas, "--policies", first)
    ipseckey.good("--apply", sas)
    assert "dir in priority 0 reqid 0" in kept(), "without --policies nothing is done to policies"


@pytest.mark.parametrize(
    ("policies", "part"),
    [
        (
            json.dumps([OUT, {**BACK, "templates": [{"spi": "7"}]}]),
            "policies, policies[1].templates[0].spi: SPI 7 is reserved",
        ),
        (json.dumps([OUT, {**OUT, "priority": 1}]), "is given twice"),
        (json.dumps({"policies": [OUT]}), "this is a mapping, not a list of policies"),
        ("", "this is not JSON"),
        (None, "the file does not exist"),
    ],
)
@pytest.mark.parametrize("word", ["--apply", "--compare"])
def test_nothing_changes_if_the_policies_are_wrong(
    ipseckey: Command, word: str, policies: str | None, part: str
) -> None:
    path = ipseckey.file(policies or "", "policies", 0o644)
    if policies is None:
        os.unlink(path)
    assert part in ipseckey.bad(word, ipseckey.file(f"{ADD}\n"), "--policies", path)
    assert (witness.policies(), held()) == ([], set())


WRONG_SAS = [
    (f"{ADD}x\n", "line 1, column"),
    (f"{ADD} pair-spi 0x1003\n", "nothing like it"),
    (f"delete esp spi 0x1001 dst 192.0.2.2\n{ADD}\n", "line 1, column 1"),
    (None, "the file does not exist"),
]


@pytest.mark.parametrize(("sas", "part"), WRONG_SAS)
def test_traffic_waits_if_its_sas_are_wrong(ipseckey: Command, sas: str | None, part: str) -> None:
    path = ipseckey.file(f"{ADD}\n")
    files = (path, "--policies", policy_file(ipseckey, OUT))
    witness.run("ip", "xfrm", "policy", "add", "src", "192.0.2.2", "dst", "192.0.2.1", "dir", "in")
    if sas is None:
        os.unlink(path)
    else:
        ipseckey.file(sas)
    assert part in ipseckey.bad("--compare", *files) and kept() == {"dir in priority 0"}
    policy_file(ipseckey, OUT, BACK)
    answer = ipseckey("--apply", *files)
    assert answer.status == 1 and part in answer.err and "their traffic does not pass" in answer.err
    assert "1 added, 1 replaced, 0 removed, 0 unchanged" in answer.out
    # A policy that let traffic pass in the clear is replaced; one that protects it is unchanged
    # until the SAs are loaded.
    assert kept() == {"dir out priority 0 reqid 0", "dir in priority 0 reqid 0"} and held() == set()
    policy_file(ipseckey, {**OUT, "priority": 9})
    assert ipseckey("--apply", *files).status == 1
    assert kept() == {"dir out priority 0 reqid 0", "dir in priority 0 reqid 0"}
    ipseckey.file(f"{ADD}\n")
    assert "0 added, 1 replaced, 1 removed, 0 unchanged" in ipseckey.good("--apply", *files)
    assert kept() == {"dir out priority 9 reqid 0"} and held() == {("esp", 0x1001)}


def test_policies_are_added_even_if_the_kernel_refuses_one(
    ipseckey: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (ipseckey.file(f"{ADD}\n"), "--policies", policy_file(ipseckey, OUT, BACK))
    dump = Spd.dump

    def late(self: Spd) -> t.Any:
        found = dump(self)
        if not witness.policies():
            witness.run(
                "ip",
                "xfrm",
                "policy",
                "add",
                *("src", "192.0.2.1", "dst", "192.0.2.2", "dir", "out", "tmpl", "proto", "ah", "mode", "transport"),
            )
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Spd, "dump", late)
        patch.setattr(os, "umask", lambda dummy: 0)
        assert command.main(("--apply", *files)) == 1
    assert "another policy has this direction" in capsys.readouterr().err
    assert kept() == {"dir out priority 0 reqid 0", "dir in priority 0 reqid 0"} and held() == set()


def test_sas_that_no_policy_uses_are_loaded_and_reported(ipseckey: Command) -> None:
    other = ADD.replace("0x1001", "0x1003").replace("192.0.2.2", "192.0.2.7")
    for key in KEYS[:2]:
        other = other.replace(key, key[:8] + key[:7:-1])
    files = (ipseckey.file(f"{ADD}\n{other}\n"), "--policies", policy_file(ipseckey, OUT, BACK))
    for word in ("--compare", "--apply", "--apply", "--compare"):
        last = ipseckey.bad(word, *files).splitlines()[-1]
        assert "no policy uses 1 SA " in last and "unencrypted, between 192.0.2.1 and 192.0.2.7." in last
    assert held() == {("esp", 0x1001), ("esp", 0x1003)} and len(kept()) == 2
    # A policy counts whoever added it, and an empty file of policies changes nothing about that.
    witness.ip("xfrm policy add src 192.0.2.1 dst 192.0.2.7 dir out tmpl proto esp mode transport")
    ipseckey.good("--compare", *files)
    ipseckey.good("--apply", *files)
    witness.run("ip", "xfrm", "policy", "flush")
    policy_file(ipseckey)
    assert "192.0.2.1 and 192.0.2.2, 192.0.2.1 and 192.0.2.7" in ipseckey.bad("--apply", *files)
    ipseckey.good("--apply", files[0])


def test_a_policy_that_protects_a_remaining_sa_is_not_removed(ipseckey: Command) -> None:
    path = ipseckey.file(f"{ADD}\n")
    files = (path, "--policies", policy_file(ipseckey, OUT, BACK))
    ipseckey.good("--apply", *files)
    policy_file(ipseckey, BACK)
    for word in ("--compare", "--apply", "--apply"):
        answer = ipseckey(word, *files)
        assert (
            answer.status == 0 and "no longer names policy out 192.0.2.1/32 > 192.0.2.2/32. It stays" in answer.err
        ), answer
        assert kept() == {"dir out priority 0 reqid 0", "dir in priority 0 reqid 0"}
    ipseckey.file("")
    assert "0 added, 0 replaced, 1 removed, 1 unchanged" in ipseckey.good("--apply", *files)
    assert kept() == {"dir in priority 0 reqid 0"} and held() == set()


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_policies_that_others_can_change_are_refused(ipseckey: Command, mode: int) -> None:
    files = (ipseckey.file(f"{ADD}\n"), "--policies", policy_file(ipseckey, OUT, mode=mode))
    assert "--allow-unsafe-file" in ipseckey.bad("--apply", *files)
    assert (witness.policies(), held()) == ([], set())
    ipseckey.good("--apply", *files, "--allow-unsafe-file")
    assert len(witness.policies()) == 1


def in_this_process(monkeypatch: pytest.MonkeyPatch, place: type, after: t.Sequence[str], *words: str) -> int:
    """One run of the command, in which another program does ``after`` when the first half of the change is done."""
    transaction = place.transaction  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def interfered(self: t.Any, operations: t.Any) -> t.Iterator[None]:
        with transaction(self, operations):
            if operations:
                witness.run(*after)
            yield

    with monkeypatch.context() as patch:
        patch.setattr(place, "transaction", interfered)
        patch.setattr(os, "umask", lambda dummy: 0)
        return command.main(words)


def test_policies_are_unchanged_if_the_kernel_refuses_an_sa(
    ipseckey: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (ipseckey.file(f"{AH}\n"), "--policies", policy_file(ipseckey, BUNDLE, BACK))
    ipseckey.good("--apply", *files)
    ends = ("src", "192.0.2.1", "dst", "192.0.2.2", "dir", "out", "priority", "4", "limit", "packet-hard", "77")
    witness.run("ip", "xfrm", "policy", "update", *ends, "tmpl", "proto", "ah", "mode", "transport")
    before, sas = sorted(witness.policies()), held()
    ipseckey.file(f"{AH}\n{ADD}\n")
    policy_file(ipseckey, BUNDLE)
    add = "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 enc cipher_null"
    between = (*add.split(), "")
    assert in_this_process(monkeypatch, Spd, between, "--apply", *files) == 1
    err = capsys.readouterr().err
    assert "another SA has this identity" in err and "as it was before" in err
    assert sorted(witness.policies()) == before and "hard 77(packets)" in witness.run("ip", "-s", "xfrm", "policy")
    assert held() == {*sas, ("esp", 0x1001)}
    # The record is unchanged too: the next run still knows the policy that left the file.
    witness.run(
        "ip", "xfrm", "state", "delete", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x1001"
    )
    assert "0 added, 1 replaced, 1 removed, 0 unchanged" in ipseckey.good("--apply", *files)


def test_sas_are_restored_if_policies_cannot_be_removed(
    ipseckey: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (ipseckey.file(f"{ADD} replay_value 41\n{AH}\n"), "--policies", policy_file(ipseckey, BUNDLE, BACK))
    ipseckey.good("--apply", *files)
    before = {name: re.sub(r"add .* use -", "", text) for name, text in witness.states().items()}
    between = ("ip", "xfrm", "policy", "update", "src", "192.0.2.1", "dst", "192.0.2.2", "dir", "out", "priority", "4")
    assert in_this_process(monkeypatch, XfrmSadb, between, "--remove", *files) == 1
    assert "the policy is no longer there" in capsys.readouterr().err
    assert {name: re.sub(r"add .* use -", "", text) for name, text in witness.states().items()} == before
    assert kept() == {"dir out priority 4", "dir in priority 0 reqid 0"}


def test_the_record_of_policies_belongs_to_root_and_holds_identities_only(ipseckey: Command) -> None:
    sas = ipseckey.file(f"{ADD} mark 0x10/0xff if_id 6\n")
    files = (sas, "--policies", policy_file(ipseckey, {**OUT, "mark": "0x10/0xff", "if_id": 6}))
    ipseckey.good("--apply", *files)
    record = Path("/run/ipseckey/policies")
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    (row,) = json.loads(record.read_text(encoding="ascii"))[files[2]]
    assert set(row) == {"direction", "selector", "mark", "if_id"} and (row["mark"], row["if_id"]) == ("0x10/0xff", 6)
    ipseckey.good("--remove", *files)
    assert files[2] not in json.loads(record.read_text(encoding="ascii"))


# What is wrong or due on this host.


def flat(answer: Result) -> str:
    """What was printed, without the breaks of lines."""
    return " ".join(answer.out.split())


def as_json(answer: Result) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads(answer.out)
    return found


def test_status_says_what_is_well_and_what_is_wrong(ipseckey: Command) -> None:
    witness.run("ip", "link", "set", "lo", "up")
    witness.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    keys = ipseckey.file(f"{ADD}\n{AH}\n")
    assert f"{keys}: 2 SAs, mode 0600, owner root, not as in the kernel" in flat(ipseckey("status", keys))
    ipseckey.good("--apply", keys)
    answer = ipseckey("status", keys)
    assert answer.status == 1 and "no policy uses 2 outbound SAs" in flat(answer), answer
    ipseckey.good("--apply", keys, "--policies", policy_file(ipseckey, BUNDLE))
    answer = ipseckey("status", keys)
    assert (answer.status, answer.err) == (0, "") and "root, as in the kernel" in flat(answer), answer
    assert re.search(r"^192\.0\.2\.2 +2 +0 +- +100% sequence numbers$|^192\.0\.2\.2 +2 +0 +\d+ s ", answer.out, re.M)
    witness.run("ip", "xfrm", "state", "flush", "proto", "ah")
    found = as_json(ipseckey("--json", "status", keys))
    assert found["file"]["pending"] == 1 and len(found["policies"]["waiting"]) == 1 and found["due"] == []
    os.chmod(keys, 0o644)
    answer = ipseckey("status", keys)
    assert answer.status == 1 and "the file has mode 0644, not 0600" in flat(answer), answer


def test_status_says_what_is_due(ipseckey: Command) -> None:
    ipseckey.good("-f", ipseckey.file(f"{ADD.replace('encr_alg', 'replay_value 4294967000 encr_alg')}\n"))
    answer = ipseckey("status")
    assert answer.status == 1 and "0 % of its sequence numbers left" in flat(answer), answer
    assert as_json(ipseckey("--json", "status"))["peers"][0]["scarcest"]["left"] == 295


def test_status_without_rights_says_what_it_cannot_see(ipseckey: Command) -> None:
    keys = ipseckey.file(f"{ADD}\n")
    ipseckey.good("-f", keys)
    # Only root reads the copy that the other tests run.
    answer = subprocess.run(
        ["/usr/bin/python3", "-B", "-m", "_core.program.command", "status", keys],
        env={**ipseckey.environment, "PYTHONPATH": str(Path(list(_core.__path__)[0]).parent)},
        user="nobody",
        group="nogroup",
        extra_groups=(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (answer.returncode, answer.stderr) == (2, ""), answer
    assert all(part in answer.stdout for part in ("SAs       cannot be seen", "CAP_NET_ADMIN")), answer
    assert f"{keys}: cannot be seen" in " ".join(answer.stdout.split()), answer
