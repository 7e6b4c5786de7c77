# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of the lab. Run as root; every test creates its own lab or uses that of the module."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shlex
import signal
import subprocess
import time
import typing as t

import pytest

from ansible_collections.ipsec.manual.tests.lab._lab import tables

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
LABS = CHECKOUT / "build" / "lab"
LAB = str(HERE / "lab")
NAME = "selftest"
OTHER = "selftest-2"
KEY = "0x" + "0123456789abcdef" * 2
ADD = "ip xfrm state add src 192.0.2.1 dst 192.0.2.2"
ADD_ESP = f"{ADD} proto esp spi 0x1000 enc cbc(aes) {KEY}".split()
ADD_AH = f"{ADD} proto ah spi 0x1001 auth hmac(md5) {KEY}".split()
# Imports a module from an archive in a new folder, as Ansible's wrapper does.
ARCHIVED = """\
import os, sys, zipfile
folder, word = sys.argv[1:]
os.mkdir(folder)
with zipfile.ZipFile(f"{folder}/sent.zip", "w") as archive:
    archive.writestr("sent.py", f"def say(): return {word!r}")
sys.path.insert(0, f"{folder}/sent.zip")
import sent
print(sent.say(), sent.say.__code__.co_filename)
"""


def lab(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command; its result."""
    return subprocess.run([LAB, *arguments], input=stdin, check=False, capture_output=True, text=True, timeout=180)


def run(host: str, *command: str, name: str = NAME, stdin: str = "") -> str:
    """Run a command on a host, which must succeed; its output."""
    result = lab("run", "--name", name, host, "--", *command, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return result.stdout


def ip(host: str, words: str) -> str:
    """Run ip(8) with these words on a host."""
    return run(host, "ip", *words.split())


def ssh(host: str, command: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
    """Log in as Ansible does."""
    line = ["ssh", "-F", str(LABS / name / "ssh_config"), host, command]
    return subprocess.run(line, stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True, timeout=60)


def commands(host: str, name: str = NAME) -> str:
    """Arguments of every process of a host."""
    return run(
        host,
        "python3",
        "-c",
        "import glob; print([open(name).read() for name in glob.glob('/proc/[0-9]*/cmdline')])",
        name=name,
    )


def await_true(condition: t.Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def up(name: str, *arguments: str) -> None:
    result = lab("up", "--name", name, *arguments)
    assert result.returncode == 0, result.stderr


def state_of(name: str) -> dict[str, t.Any]:
    state: dict[str, t.Any] = json.loads((LABS / name / "state.json").read_text(encoding="utf-8"))
    return state


def processes_naming(text: str) -> list[str]:
    """Command lines that hold a text."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if text in command and entry.name != str(os.getpid()):
                found.append(f"{entry.name} {command}")
    return found


def kernel_pid(name: str) -> int:
    """PID of the User-Mode Linux process itself: the lowest of those that are not its starters."""
    pids = [
        int(line.split()[0])
        for line in processes_naming(f"uml_dir={LABS / name}/")
        if line.split()[1].endswith("linux.uml")
    ]
    return min(pids)


def traces(name: str) -> list[str]:
    """All traces of this checkout's lab on this machine; another checkout may have one of the same name."""
    unique = f"lab-{name}-{hashlib.sha256(str(LABS / name).encode()).hexdigest()[:6]}"
    found = [str(path) for path in (LABS / name, pathlib.Path("/run/netns", unique)) if path.exists()]
    found += [str(socket) for socket in pathlib.Path("/run").glob(f"{unique}.ssh*")]
    found += processes_naming(f"{LABS / name}/") + processes_naming(f"/run/{unique}")
    mounts = pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return found + [line for line in mounts.splitlines() if f"{LABS / name}" in line]


@pytest.fixture(scope="module")
def hosts() -> t.Iterator[None]:
    """A lab with the default hosts."""
    lab("down", "--name", NAME)
    up(NAME)
    yield
    lab("down", "--name", NAME)


@pytest.fixture
def other() -> t.Iterator[str]:
    """The name of a lab that the test creates and may break."""
    lab("down", "--name", OTHER)
    yield OTHER
    lab("down", "--name", OTHER)
    assert traces(OTHER) == []


@pytest.mark.usefixtures("hosts")
class TestHosts:
    """One lab for all of these."""

    def test_hosts_have_the_guides_addresses_and_reach_each_other(self) -> None:
        for host, address in {"enigma": "192.168.13.213", "partym": "192.168.116.16"}.items():
            assert "1 received" in run(host, "ping", "-c", "1", "-W", "5", address)
        for host, address in {"enigma": "fd00:192:168:13::213", "partym": "fd00:192:168:116::16"}.items():
            assert "1 received" in run(host, "ping", "-c", "1", "-W", "5", address)

    def test_status_names_kernel_hosts_and_addresses(self) -> None:
        result = lab("status", "--name", NAME)
        assert result.returncode == 0
        for word in (state_of(NAME)["release"], "enigma", "192.168.116.16", "partym", "192.168.13.213"):
            assert word in result.stdout

    def test_memory_of_python_is_mapped_at_once_under_user_mode_linux(self) -> None:
        def locked(*command: str) -> int:
            status = run("enigma", *command)
            return int(status.partition("VmLck:")[2].split()[0])

        populated = locked("/usr/bin/python3", "-c", "print(open('/proc/self/status').read())") > 0
        assert populated == (state_of(NAME)["kernel"] == "uml")
        assert locked("cat", "/proc/self/status") == 0

    def test_a_user_mode_linux_that_can_do_without_ptrace_does(self) -> None:
        state = state_of(NAME)
        if state["kernel"] != "uml" or tuple(map(int, state["release"].split(".")[:2])) < tables.SECCOMP_SINCE:
            pytest.skip(f"{state['kernel']} {state['release']} has no seccomp mode")
        log = (LABS / NAME / "kernel.log").read_text(encoding="utf-8", errors="replace")
        assert "Checking that seccomp filters can be installed...OK" in log and "ptrace" not in log

    def test_kernel_takes_esp_and_ah_and_each_host_has_its_own_sadb(self) -> None:
        run("enigma", *ADD_ESP)
        run("enigma", *ADD_AH)
        assert run("enigma", "ip", "xfrm", "state", "count").split()[-1] == "2"
        assert run("partym", "ip", "xfrm", "state", "count").split()[-1] == "0"
        run("enigma", "ip", "xfrm", "state", "flush")

    def test_policies_between_data_addresses_do_not_cut_ssh(self) -> None:
        ends = "src 192.168.0.0/16 dst 192.168.0.0/16"
        ip("enigma", f"xfrm policy add {ends} dir out tmpl proto esp mode transport")
        assert (
            lab("run", "--name", NAME, "enigma", "--", "ping", "-c", "1", "-W", "1", "192.168.13.213").returncode != 0
        )
        assert ssh("enigma", "hostname").stdout == "enigma\n"
        run("enigma", "ip", "xfrm", "policy", "flush")

    def test_wire_sees_packets_between_hosts(self) -> None:
        watch = f"run --name {NAME} wire -- tcpdump -n -l -c 1 -i any"
        command = [LAB, *watch.split(), "icmp and dst 192.168.13.213"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
            assert watcher.stderr is not None
            while "listening" not in watcher.stderr.readline():
                pass
            run("enigma", "ping", "-c", "2", "-W", "5", "192.168.13.213")
            assert "192.168.116.16 > 192.168.13.213: ICMP echo request" in watcher.communicate(timeout=30)[0]

    def test_run_passes_stdin_streams_and_exit_status(self) -> None:
        result = lab(
            "run", "--name", NAME, "partym", "--", "sh", "-c", "cat; echo problem >&2; exit 7", stdin="one\ntwo\n"
        )
        assert (result.returncode, result.stdout, result.stderr) == (7, "one\ntwo\n", "problem\n")
        assert lab("run", "--name", NAME, "partym", "--", "sh", "-c", "exit 255").returncode == 255
        assert lab("run", "--name", NAME, "partym", "--", "sh", "-c", "kill -9 $$").returncode == 137
        result = lab("run", "--name", NAME, "partym", "--", "no-such-program")
        assert (result.returncode, result.stderr) == (127, "lab: no-such-program: No such file or directory\n")

    def test_run_keeps_words_apart(self) -> None:
        words = ["a b", "", "'", '"', "$HOME", "*", "\\", "ü"]
        assert (
            json.loads(run("enigma", "python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *words))
            == words
        )

    def test_killed_run_leaves_no_command_behind(self) -> None:
        with subprocess.Popen(
            [LAB, "run", "--name", NAME, "enigma", "--", "sleep", "4242"], stdin=subprocess.DEVNULL
        ) as process:
            await_true(lambda: "4242" in commands("enigma"))
            process.terminate()
        await_true(lambda: "4242" not in commands("enigma"))

    def test_timeout_of_run_is_reported(self) -> None:
        result = lab("run", "--name", NAME, "--timeout", "1", "enigma", "--", "sleep", "60")
        assert result.returncode == 124
        assert "did not end within 1 s" in result.stderr

    def test_ssh_wants_the_labs_own_keys(self) -> None:
        assert ssh("enigma", "hostname; id -u").stdout == "enigma\n0\n"
        assert (LABS / NAME).stat().st_mode & 0o777 == 0o700
        assert all(key.stat().st_mode & 0o77 == 0 for key in (LABS / NAME / "keys").glob("*.key"))
        known_hosts = LABS / NAME / "known_hosts"
        right = known_hosts.read_text(encoding="ascii")
        enigma, partym = (line.split(" ", 1)[1] for line in right.splitlines()[:2])
        try:
            known_hosts.write_text(right.replace(enigma, partym), encoding="ascii")
            assert "Host key verification failed" in ssh("enigma", "hostname").stderr
        finally:
            known_hosts.write_text(right, encoding="ascii")

    def test_uploads_are_not_slow(self) -> None:
        """Frames above the MTU must not be truncated on arrival, which would make 3 MB take two minutes."""
        started = time.monotonic()
        line = ["ssh", "-F", str(LABS / NAME / "ssh_config"), "enigma", "wc -c"]
        assert subprocess.run(
            line, input=bytes(3_000_000), check=True, capture_output=True, timeout=100
        ).stdout.split() == [b"3000000"]
        assert time.monotonic() - started < 30

    def test_hosts_share_no_files_and_the_real_machine_keeps_its_own(self) -> None:
        folders = ("/etc/inet", "/etc", "/run", "/tmp", "/var/tmp", "/root", "/usr/local/bin")
        files = [f"{folder}/made-in-lab" for folder in folders]
        run("enigma", "touch", *files)
        assert lab("run", "--name", NAME, "partym", "--", "ls", *files).stdout == ""
        assert [file for file in files if os.path.exists(file)] == []
        # What a host needs from root's home: interpreters, and the checkout if it is there.
        kept = {
            ".pyenv",
            ".local",
            *(CHECKOUT.relative_to("/root").parts[:1] if CHECKOUT.is_relative_to("/root") else ()),
        }
        assert set(run("enigma", "ls", "-A", "/root").split()) <= {"made-in-lab", *kept}
        assert lab("run", "--name", NAME, "enigma", "--", "touch", f"{CHECKOUT}/made-in-lab").returncode == 1
        assert run("enigma", "ls", "-A", str(LABS)) == ""

    def test_a_host_compiles_what_comes_in_archives_once(self) -> None:
        kept = []
        for folder, word in (("/tmp/one", "old"), ("/tmp/two", "old"), ("/tmp/three", "new")):
            output = run("enigma", "/usr/bin/python3", "-c", ARCHIVED, folder, word)
            assert output == f"{word} {folder}/sent.zip/sent.py\n"
            kept.append(run("enigma", "sh", "-c", "cksum /run/lab-compiled*"))
        assert kept[0] == kept[1] != kept[2]

    def test_fault_down_refuses_at_once_and_up_mends(self) -> None:
        run("enigma", *ADD_ESP)
        assert lab("fault", "--name", NAME, "enigma", "down").returncode == 0
        result = ssh("enigma", "hostname")
        assert result.returncode == 255
        assert "Connection refused" in result.stderr
        assert ssh("partym", "hostname").stdout == "partym\n"
        assert lab("fault", "--name", NAME, "enigma", "up").returncode == 0
        assert ssh("enigma", "ip xfrm state count").stdout.split()[-1] == "1"

    def test_fault_cut_times_out_and_up_mends(self) -> None:
        assert lab("fault", "--name", NAME, "enigma", "cut").returncode == 0
        assert "timed out" in ssh("enigma", "hostname").stderr
        assert run("enigma", "hostname") == "enigma\n"
        assert lab("fault", "--name", NAME, "enigma", "up").returncode == 0
        assert ssh("enigma", "hostname").stdout == "enigma\n"

    def test_fault_reboot_empties_sadb_spd_and_runtime_and_keeps_files(self) -> None:
        run("enigma", "ip", "xfrm", "state", "flush")
        run("enigma", *ADD_ESP)
        ip("enigma", "xfrm policy add dir out dst 192.0.2.2 tmpl proto esp mode transport")
        run(
            "enigma",
            "sh",
            "-c",
            "mkdir -m 700 /etc/inet/secret; echo kept > /etc/inet/secret/file; echo lost > /run/file; sleep 4343"
            " >/dev/null 2>&1 &",
        )
        assert lab("fault", "--name", NAME, "enigma", "reboot").returncode == 0
        assert ssh("enigma", "ip xfrm state; ip xfrm policy; echo end").stdout == "end\n"
        assert run("enigma", "cat", "/etc/inet/secret/file") == "kept\n"
        assert run("enigma", "stat", "-c", "%a", "/etc/inet/secret") == "700\n"
        assert lab("run", "--name", NAME, "enigma", "--", "test", "-e", "/run/file").returncode == 1
        assert "4343" not in commands("enigma")
        assert "1 received" in run("partym", "ping", "-c", "1", "-W", "5", "192.168.116.16")

    def test_second_up_says_so(self) -> None:
        result = lab("up", "--name", NAME)
        assert result.returncode == 1
        assert "is up already" in result.stderr
        assert run("enigma", "hostname") == "enigma\n"

    def test_kernel_and_its_processes_keep_to_one_processor(self) -> None:
        state = json.loads((LABS / NAME / "state.json").read_text(encoding="utf-8"))
        inside = subprocess.run(
            ["pgrep", "--ns", str(state["pid"]), "--nslist", "net", ""], capture_output=True, text=True, check=True
        ).stdout.split()
        kept = {tuple(os.sched_getaffinity(int(pid))) for pid in inside}
        assert state["kernel"] == "host" or (len(kept) == 1 and len(kept.pop()) == 1)

    def test_two_labs_run_side_by_side(self, other: str) -> None:
        up(other, "--hosts", "enigma,partym,gamma")
        assert "1 received" in run("gamma", "ping", "-c", "1", "-W", "5", "192.168.116.16", name=other)
        run("enigma", *ADD_ESP, name=other)
        run("enigma", "ip", "xfrm", "state", "flush")
        assert run("enigma", "ip", "xfrm", "state", "count", name=other).split()[-1] == "1"
        assert lab("down", "--name", other).returncode == 0
        assert run("enigma", "hostname") == "enigma\n"

    def test_unknown_host_is_named(self) -> None:
        for arguments in (("run", "--name", NAME, "enigna", "--", "true"), ("fault", "--name", NAME, "enigna", "down")):
            result = lab(*arguments)
            assert result.returncode in (1, 125)
            assert "no host 'enigna'" in result.stderr


def test_down_leaves_nothing_and_says_when_there_was_nothing(other: str) -> None:
    up(other)
    assert ssh("enigma", "hostname", name=other).returncode == 0
    master = [
        "ssh",
        "-F",
        str(LABS / other / "ssh_config"),
        "-oControlMaster=yes",
        f"-oControlPath=/tmp/{other}.sock",
        "-fN",
        "enigma",
    ]
    subprocess.run(master, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert lab("down", "--name", other).returncode == 0
    assert traces(other) == []
    assert processes_naming(f"/tmp/{other}.sock") == []
    result = lab("down", "--name", other)
    assert (result.returncode, result.stdout) == (0, f"lab {other} was not up.\n")
    assert lab("status", "--name", other).returncode == 3


def test_down_keeps_the_log_on_request(other: str) -> None:
    up(other)
    assert lab("down", "--name", other, "--keep-log").returncode == 0
    assert [entry.name for entry in (LABS / other).iterdir()] == ["kernel.log"]
    assert lab("status", "--name", other).returncode == 3


@pytest.mark.parametrize("how", ["panic", "kill"])
def test_death_of_the_kernel_is_noticed_with_its_log(other: str, how: str) -> None:
    up(other, "--kernel", "uml")
    with subprocess.Popen(
        [LAB, "run", "--name", other, "enigma", "--", "sleep", "60"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as sleeper:
        if how == "panic":
            lab("run", "--name", other, "wire", "--", "sh", "-c", "echo c > /proc/sysrq-trigger")
        else:
            os.kill(kernel_pid(other), signal.SIGKILL)
        assert "is dead" in sleeper.communicate(timeout=20)[1]
        assert sleeper.returncode == 125
    cause = "Kernel panic - not syncing: sysrq triggered crash" if how == "panic" else "SIGKILL"
    for arguments in (
        ("status", "--name", other),
        ("run", "--name", other, "enigma", "--", "true"),
        ("up", "--name", other),
        ("fault", "--name", other, "enigma", "down"),
    ):
        result = lab(*arguments)
        assert result.returncode in (1, 125)
        assert "is dead" in result.stderr
        assert cause in result.stderr
        assert f"lab down --name {other}" in result.stderr
        assert "kernel.log" in result.stderr


def test_hang_of_the_kernel_is_noticed(other: str) -> None:
    up(other, "--kernel", "uml")
    pid = kernel_pid(other)
    os.kill(pid, signal.SIGSTOP)
    try:
        result = lab("status", "--name", other)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert result.returncode == 1
    assert "does not answer" in result.stderr
    assert lab("status", "--name", other).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_up_can_be_cleaned_up(other: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        [LAB, "up", "--name", other], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        while not (LABS / other / "state.json").exists():
            time.sleep(0.05)
        process.send_signal(number)
    if number == signal.SIGKILL:
        assert "was killed before the lab was ready" in lab("status", "--name", other).stderr
        assert lab("down", "--name", other).returncode == 0
    assert traces(other) == []


def test_up_that_fails_cleans_up_and_says_why(other: str) -> None:
    result = lab("up", "--name", other, "--memory", "8")
    assert result.returncode == 1
    assert "kernel ended while it booted" in result.stderr
    assert "kernel.log" in result.stderr
    assert traces(other) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "--name", "UPPER"), "lab name 'UPPER'"),
        (("up", "--name", "../x"), "lab name '../x'"),
        (("up", "--name", "exec-1"), "lab name 'exec-1'"),
        (("up", "--name", OTHER, "--hosts", "a,a"), "each name once"),
        (("up", "--name", OTHER, "--hosts", "wire"), "'wire'"),
        (("up", "--name", OTHER, "--hosts", ""), "0 hosts"),
        (("exec",), "name the command after --"),
        (("run", "--name", OTHER, "enigma"), "name the command after --"),
        (("status", "--name", OTHER, "--", "true"), "takes no command"),
        (("run", "--name", OTHER, "enigma", "--", "true"), "is not up"),
        (("exec", "--without", "esp4,ipv6", "--", "true"), "--without ipv6: the lab itself needs that"),
        (("exec", "--kernel", "host", "--without", "esp4", "--", "true"), "--without with --kernel host"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(arguments: tuple[str, ...], message: str) -> None:
    result = lab(*arguments)
    assert result.returncode not in (0, 3)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    for name in (OTHER, *arguments[2:3]):
        assert traces(name) == []


def execute(*arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run `lab exec`; its result, and what it left behind."""
    with subprocess.Popen(
        [LAB, "exec", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        output, errors = process.communicate(timeout=180)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors), traces(f"exec-{process.pid}")


def test_exec_passes_streams_status_directory_and_environment() -> None:
    script = "pwd; echo $LAB_TEST; cat; echo problem >&2; ip -o link | wc -l; exit 9"
    os.environ["LAB_TEST"] = "two words"
    result = subprocess.run(
        [LAB, "exec", "--env", "LAB_TEST", "--", "sh", "-c", script],
        cwd=HERE,
        input="input\n",
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    del os.environ["LAB_TEST"]
    assert (result.returncode, result.stdout, result.stderr) == (9, f"{HERE}\ntwo words\ninput\n1\n", "problem\n")


def test_exec_streams_while_the_command_runs() -> None:
    with subprocess.Popen(
        [LAB, "exec", "--", "sh", "-c", "echo first; sleep 30"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=30) == 143


def test_exec_gives_root_on_a_kernel_with_esp_and_ah_and_namespaces() -> None:
    result_file = CHECKOUT / "build" / "lab-selftest-result"
    add = " && ".join(map(shlex.join, (ADD_ESP, ADD_AH)))
    script = (
        f"{add} && ip netns add one && ip -n one xfrm state count && ip xfrm state count && echo done > {result_file}"
        f" && ! touch {CHECKOUT}/galaxy.yml"
    )
    result = lab("exec", "--", "sh", "-c", script)
    try:
        assert result.returncode == 0, result.stderr
        assert [line.split()[-1] for line in result.stdout.splitlines()] == ["0", "2"]
        assert result_file.read_text(encoding="ascii") == "done\n"
        assert result_file.stat().st_uid == 0
    finally:
        result_file.unlink(missing_ok=True)


def test_exec_times_out_and_leaves_nothing() -> None:
    started = time.monotonic()
    result, left = execute("--timeout", "2", "--", "sleep", "100")
    assert result.returncode == 124
    assert "did not end within 2 s" in result.stderr
    assert time.monotonic() - started < 60
    assert left == []


def test_exec_reports_a_panic() -> None:
    result, left = execute("--kernel", "uml", "--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60")
    assert result.returncode == 125
    assert "Kernel panic - not syncing: sysrq triggered crash" in result.stderr
    assert left == []


def test_a_killed_exec_ends_its_kernel() -> None:
    with subprocess.Popen(
        [LAB, "exec", "--", "sleep", "4444"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        while not (LABS / f"exec-{process.pid}" / "boot.json").exists():
            time.sleep(0.05)
        process.kill()
    await_true(lambda: not [line for line in processes_naming(f"{LABS}/exec-{process.pid}/") if "linux.uml" in line])
    lab("down", "--name", OTHER)
    assert traces(f"exec-{process.pid}") == []


def test_exec_without_esp_has_no_esp_but_ah() -> None:
    esp, ah = map(shlex.join, (ADD_ESP, ADD_AH))
    script = f"! {esp} && {ah} && ! modprobe esp4 2>/dev/null && ! grep -q '^esp' /proc/modules"
    result = lab("exec", "--without", "esp4,esp6", "--", "sh", "-c", script)
    assert result.returncode == 0, result.stderr
    assert "type not found" in result.stderr


def test_exec_without_an_algorithm_has_the_others() -> None:
    triple = shlex.join((*ADD_ESP[:-2], "cbc(des3_ede)", "0x" + "0123456789abcdef" * 3))
    script = f"! {triple} && {shlex.join(ADD_ESP)}"
    result = lab("exec", "--without", "des_generic", "--", "sh", "-c", script)
    assert result.returncode == 0, result.stderr
    assert "algorithm not found" in result.stderr


def test_a_host_kernel_with_esp_is_used() -> None:
    """A lab on the kernel of a lab: there, the host's own kernel has ESP and AH."""
    script = f"""
        set -e
        {LAB} up
        {LAB} run enigma -- ping -c 1 -W 5 192.168.13.213
        ssh -F {LABS}/default/ssh_config partym hostname
        {LAB} run enigma -- touch /etc/inet/kept
        {LAB} fault enigma reboot
        {LAB} run enigma -- test -e /etc/inet/kept
        {LAB} run enigma -- sh -c 'exit 6' || echo status $?
        {LAB} exec -- sh -c 'exit 5' || echo status $?
        {LAB} down
        ls -A {LABS}
        ls -A /run/netns
    """
    result = lab("exec", "--kernel", "uml", "--timeout", "150", "--", "bash", "-c", script)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "kernel host" in result.stdout
    assert "1 received" in result.stdout
    assert "partym\n" in result.stdout
    assert result.stdout.endswith("status 6\nstatus 5\nlab default is down.\n")
