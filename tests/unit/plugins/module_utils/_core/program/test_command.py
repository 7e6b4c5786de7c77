# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of the ipseckey command that need no kernel; tests/kernel/test_command.py has the others."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.files import protected
from ansible_collections.ipsec.manual.plugins.module_utils._core.program import (
    command,
    completion,
    display,
    execute,
    reference,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import Counters, Entry
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import POLICY, SELECTOR, TEMPLATE
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import script
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.grammar import (
    COMMAND_BY_WORD,
    COMMANDS,
    KEYWORDS,
    PROMPT,
)
from ansible_collections.ipsec.manual.tests.docs import command as documents
from ansible_collections.ipsec.manual.tests.unit.plugins.memory import MemorySadb

ROOT = Path(__file__).parents[6]
KEY = "308c9d5d11316f73900c811691eaa6fb9561c2ee"


@pytest.fixture(autouse=True)
def keep_umask(monkeypatch):
    monkeypatch.setattr(command.os, "umask", lambda dummy: 0)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["-z"], "-z is not an option"),
        (["-f"], "-f needs a file"),
        (["-f", ""], "-f needs a file"),
        (["--" + KEY], "begins with --"),
        (["-f", "/a", "-c", "/b"], "only one of"),
        (["-f /a"], "the file of -f begins with a blank"),
        (["--show-keys", "-s -"], "the file of -s begins with a blank"),
        (["--apply", " /a"], "the file of --apply begins with a blank"),
        (["-f", "/a", "-f", "/b"], "-f is given twice"),
        (["#"], "unknown command '#'"),
        (["#flush", "esp"], "unknown command '#flush'"),
        (["--apply", "/a", "--apply", "/b"], "--apply is given twice"),
        (["-n", "get", "esp", "spi", "0x1001", "dst", "localhost"], "only without -n"),
        (["encrkey", KEY], "unknown command"),
        (["-s", "/a", "dump"], "only one of"),
        (["--text-only", "-f", "/a"], "--text-only goes with -c only"),
        (["--text-only"], "--text-only goes with -c only"),
        (["--text-only", "-c", "/nonexistent/keys"], "the file cannot be read"),
        (["--text-only", "-c", "/"], "/: this is not a regular file"),
        (["--allow-unsafe-file", "-c", "/usr"], "/usr: this is not a regular file"),
        (["--policies", "/a", "dump"], "--policies goes with --apply, --compare, --remove or --boot-file, or alone"),
        (["--policies", "/a", "--flush-policies"], "--policies goes with"),
        (["--policies"], "--policies needs a file"),
        (["--boot-file", "/a", "--allow-unsafe-file"], "no option that accepts more goes with --boot-file"),
        (["--boot-file", "/a", "--apply", "/b"], "only one of"),
        (["--no-policies"], "--no-policies goes with --boot-file only. To load SAs alone now: ipseckey --apply FILE."),
        (["--apply", "/a", "--no-policies"], "--no-policies goes with --boot-file only"),
        (["--no-policies", "dump"], "--no-policies goes with --boot-file only"),
        (["--no-policies", "--policies", "/a"], "--no-policies goes with --boot-file only"),
        (["--boot-file", "/a", "--policies", "/b", "--no-policies"], "--no-policies and --policies exclude each other"),
        (["--boot-file", "/a", "--policies", ""], "--policies needs a file"),
        (["--boot-file", "/a", "--no-pol"], "begins with --"),
        (["--boot-file", "/a", "--no-policies", "--allow-unsafe-file"], "no option that accepts more"),
        (["--policies", "/a", "--policies", "/b"], "--policies is given twice"),
        (["--show-policies", "--flush-policies"], "only one of"),
        (["--show-policies", "dump"], "only one of"),
        (["--save-policies", "/a", "--show-policies"], "only one of"),
        (["--save-policies", "/a", "--policies", "/b"], "--policies goes with"),
        (["--save-policies"], "--save-policies needs a file"),
        (["--delete-policy"], "--delete-policy needs a number"),
        (["--delete-policy", "8", "--delete-policy", "9"], "Name one number."),
        (["--delete-policy", " 8"], "the number of --delete-policy begins with a blank"),
        (["-f", "/a", "--policies", "/b"], "--policies goes with"),
        (["--apply", "/a", "--policies"], "--policies needs a file"),
        (["add", "esp", "authkey", KEY], "refused on the command line"),
        (["flush", "NONSENSE"], "unknown SA type"),
        (["flush", "esp", "extra"], "too many words"),
        (["-p", "save", "all"], "cannot be loaded"),
        (["save", "all"], "--show-keys"),
        (["-c", "/nonexistent/keys"], "does not exist"),
        ([KEY], "hidden"),
    ],
)
def test_wrong_command_lines_are_refused(capsys, words, part):
    assert command.main(words) == 1
    out, err = capsys.readouterr()
    assert part in err and not out and KEY[:8] not in err


def run(*words, **streams):
    """Run the command in a separate process, with the core folder under the command's name."""
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}; from {command.__name__} import main; sys.exit(main({list(words)!r}))"
    )
    return subprocess.run([sys.executable, "-c", program], check=False, stderr=subprocess.PIPE, text=True, **streams)


# A system that this collection has no backend for, whose Python has no sockets of a kernel.
_ELSEWHERE = (
    "import socket, sys; sys.platform = 'plan9';"
    " [delattr(socket, name) for name in ('AF_NETLINK', 'AF_KEY') if hasattr(socket, name)]; "
)
TEXT = f"add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 auth_alg sha1 authkey {KEY}\n"


def check_elsewhere(folder, text, *words, mode=0o644, **streams):
    """``-c`` on another system; the file is in a directory that others may change."""
    path = folder / "keys"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    program = (
        f"{_ELSEWHERE}sys.path[:0] = {sys.path!r}; from {command.__name__} import main;"
        f" sys.exit(main({[word or str(path) for word in words]!r}))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        **streams,
    )


def test_text_only_checks_on_any_system_and_says_what_it_did_not_check(tmp_path):
    answer = check_elsewhere(tmp_path, TEXT, "-n", "--text-only", "-c", "")
    assert (answer.returncode, answer.stdout) == (0, "")
    error = answer.stderr.splitlines()[-1]
    assert error == (
        f"ipseckey: {tmp_path}/keys: the text is correct (1 SA). The kernel and the protection of files were"
        " not checked"
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (TEXT.replace("authkey ", "authkey 00"), "line 1, column 70: hmac-sha1 needs a key of 160 bits"),
        (TEXT + TEXT.replace("0x1001", "0x1002"), "line 2, column 70: the authentication key is also used by line 1"),
        (TEXT.replace("dst", "dest"), "unknown keyword 'dest'"),
    ],
)
def test_a_wrong_text_is_refused_without_a_kernel(tmp_path, text, part):
    answer = check_elsewhere(tmp_path, text, "-n", "--text-only", "-c", "")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert part in answer.stderr and "is correct" not in answer.stderr and KEY[:8] not in answer.stderr


def test_the_text_alone_may_come_from_standard_input(tmp_path):
    answer = check_elsewhere(tmp_path, "", "--text-only", "-c", "-", input=TEXT + "flush all\nquit\n")
    assert (answer.returncode, answer.stdout) == (0, "")
    assert "ipseckey: standard input: the text is correct (1 SA)." in answer.stderr
    answer = check_elsewhere(tmp_path, "", "--text-only", "-c", "-", input="add esp\n")
    assert answer.returncode == 1 and "standard input, line 1, column 1: the SA has no spi" in answer.stderr
    answer = check_elsewhere(tmp_path, "", "--text-only", "-c", "-", preexec_fn=lambda: os.close(0))
    assert (answer.returncode, answer.stderr) == (1, "ipseckey: standard input: it is closed\n")


@pytest.mark.parametrize(
    ("text", "option", "warning"),
    [
        (TEXT.replace("0x1001", "1"), "--allow-reserved-spi", "SPIs 1 to 255 are reserved (RFC 4303 section 2.1)"),
        (
            TEXT + TEXT.replace("0x1001", "0x1002"),
            "--allow-shared-key",
            "keys: several SAs share one key",
        ),
    ],
)
def test_what_a_peer_dictates_needs_the_option_that_the_refusal_names(tmp_path, text, option, warning):
    refused = check_elsewhere(tmp_path, text, "-n", "--text-only", "-c", "")
    assert refused.returncode == 1 and f"accept it with {option}." in refused.stderr
    accepted = check_elsewhere(tmp_path, text, option, "-n", "--text-only", "-c", "")
    assert (accepted.returncode, accepted.stdout) == (0, "")
    assert warning in accepted.stderr


def test_a_check_that_only_lacks_a_kernel_names_the_option(tmp_path):
    answer = check_elsewhere(tmp_path, TEXT, "--allow-unsafe-file", "-c", "")
    assert (answer.returncode, answer.stdout) == (1, "")
    first, second = answer.stderr.splitlines()
    assert "there is no backend for plan9" in first
    assert second.endswith("keys: the text itself is correct; to check only the text, add --text-only")


def test_a_check_of_an_unsafe_file_names_the_option_too(tmp_path):
    answer = check_elsewhere(tmp_path, TEXT, "-c", "")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.endswith("To accept it anyway: --allow-unsafe-file; to check the text alone: --text-only\n")


def test_unwritable_output_is_a_single_error():
    with open("/dev/full", "w", encoding="ascii") as full:
        answer = run("help", stdout=full)
    assert (answer.returncode, answer.stderr) == (
        1,
        "ipseckey: standard output: it cannot be written (No space left on device)\n",
    )
    answer = run("help", preexec_fn=lambda: os.close(1))
    assert (answer.returncode, answer.stderr) == (1, "ipseckey: standard output: it is closed\n")


def test_unreadable_input_is_a_single_error():
    answer = run("--allow-clear-text-login", preexec_fn=lambda: os.close(0))
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert answer.stderr.startswith(
        "ipseckey: standard input: it is closed. Type commands at a terminal, or name a file"
    )
    with open("/dev/null", "wb") as nothing:
        answer = run("--allow-clear-text-login", stdin=nothing)
    assert (answer.returncode, answer.stderr) == (
        1,
        "ipseckey: standard input: it cannot be read (Bad file descriptor)\n",
    )


def test_the_prompt_refuses_bytes_that_are_not_ascii_and_continues():
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    with tempfile.TemporaryFile() as typed:
        typed.write(b"\xff\xfe\nhelp quit\n")
        typed.seek(0)
        answer = run("--allow-clear-text-login", stdin=typed, stdout=subprocess.PIPE, env=strict)
    assert answer.returncode == 1 and answer.stdout.startswith("quit\n")
    assert (
        answer.stderr.startswith(
            "ipseckey: command 1, line 1, column 1: the byte 0xff stands where only ASCII is allowed"
        )
        and answer.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_unwritable_errors_do_not_change_the_status(unbuffered):
    with open("/dev/full", "w", encoding="ascii") as full:
        program = (
            f"import sys; sys.path[:0] = {sys.path!r}; from {command.__name__} import main; sys.exit(main(['flush',"
            " 'NONSENSE']))"
        )
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        assert (
            subprocess.run([sys.executable, "-c", program], check=False, stderr=full, env=environment).returncode == 1
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can own safe files")
def test_a_file_that_is_too_long_is_refused(capsys):
    folder = Path(tempfile.mkdtemp(prefix="ipsec-manual-test-", dir="/root"))
    try:
        (folder / "keys").touch(0o640)
        os.truncate(folder / "keys", protected.LIMIT + 1)
        assert command.main(["-c", str(folder / "keys"), "--allow-unsafe-file"]) == 1
    finally:
        shutil.rmtree(folder)
    assert f"the file is longer than {protected.LIMIT} bytes" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can own safe files")
@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda path: path.mkdir(), "this is not a regular file\n"),
        (lambda path: os.mkfifo(path, 0o600), "this is not a regular file\n"),
        (lambda path: path.touch(0o640), "rotate them. To accept it anyway: --allow-unsafe-file\n"),
        (lambda path: path.symlink_to("/dev/null"), "points to.\n"),
        (lambda path: path.symlink_to(__file__), "points to. To accept it anyway: --allow-unsafe-file\n"),
    ],
)
def test_the_error_names_the_option_that_accepts_the_file(capsys, make, part):
    folder = Path(tempfile.mkdtemp(prefix="ipsec-manual-test-", dir="/root"))
    try:
        make(folder / "keys")
        assert command.main(["-f", str(folder / "keys")]) == 1
    finally:
        shutil.rmtree(folder)
    assert capsys.readouterr().err.endswith(part)


def test_commands_without_a_kernel(capsys):
    assert command.main(["help", "attr"]) == 0
    assert all(row.name in capsys.readouterr().out for row in KEYWORDS if row.name == "authkey")
    for words in (["--help"], ["--man"], ["--completion"], ["help"], ["quit"]):
        assert command.main(words) == 0


def test_the_prompt_reports_errors_and_continues(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("frobnicate\nhelp \\\n get\nquit\nfrobnicate\n"))
    monkeypatch.setattr(command, "clear_text_server", lambda dummy: "")
    assert command.main([]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("get esp|ah") and err.count("unknown command") == 1


def test_the_prompt_exits_with_one_whatever_failed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("status\nfrobnicate\nstatus\n"))
    monkeypatch.setattr(command, "clear_text_server", lambda dummy: "")
    monkeypatch.setitem(execute._ALONE, "status", lambda dummy, dummy2: 2)
    assert command.main([]) == 1


@pytest.mark.parametrize(("name", "made"), documents.DOCUMENTS.items(), ids=documents.DOCUMENTS)
def test_generated_documents_are_current(name, made):
    text = made()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, "regenerate it with: make docs-command"
    assert max(map(len, text.splitlines())) <= 120


def completed(*words):
    """The words that bash offers for the last one."""
    script = (
        'source "$1"; shift; COMP_WORDS=(ipseckey "$@"); COMP_CWORD=$#; _ipseckey; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "-c", script, "bash", str(ROOT / "docs" / "ipseckey.bash"), *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not answer.stderr
    return answer.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("fl",), ["flush"]),
        (("delete", ""), ["esp", "ah"]),
        (("flush", "a"), ["ah", "all"]),
        (("-n", "get", "esp", "sp"), ["spi", "sport"]),
        (("get", "esp", "spi", ""), [""]),
        (("get", "esp", "proto", ""), [""]),
        (("get", "esp", "spi", "0x1001", "ds"), ["dst", "dst6"]),
        (("help", "update-"), ["update-pair"]),
        (("dump", "--js"), ["--json"]),
        (("--allow-n",), ["--allow-network-file"]),
        (("--apply", "/nonexistent", "--pol"), ["--policies"]),
        (("add",), [""]),
        (("frobnicate", "x"), [""]),
    ],
)
def test_bash_completes(words, offered):
    assert completed(*words) == offered


@pytest.mark.parametrize("before", [("-f",), ("-c",), ("-s",), ("save", "all"), ("--apply", "keys", "--policies")])
def test_bash_completes_files(tmp_path, before):
    (tmp_path / "two words").touch()
    assert completed(*before, f"{tmp_path}/tw") == [f"{tmp_path}/two words"]


def test_the_tables_are_in_the_manual_page():
    page = reference.man_page().replace("\\-", "-")
    for words in (row.usage() for row in COMMANDS):
        assert f"\n.B {words}\n" in page
    for row in (*KEYWORDS, *reference.OPTIONS):
        assert f"\n.B {row.name}" in page


def test_the_manual_page_names_every_field_of_a_policy():
    paragraph = reference.SECTIONS["Policies"]
    for name, row in {**POLICY, **SELECTOR, **TEMPLATE}.items():
        assert all(re.search(rf"\b{word}\b", paragraph) for word in (name, *row.get("choices", ())))


def test_each_command_has_help():
    for word in (*COMMAND_BY_WORD, "attr", ""):
        assert reference.topic(word)


def test_completion_offers_what_may_follow():
    assert "add" in completion.candidates([], PROMPT)
    assert completion.candidates(["flush"], PROMPT) == ["esp", "ah", "all"]
    assert "aes-cbc" in completion.candidates(["add", "esp", "encr_alg"], PROMPT)
    assert "encrkey" in completion.candidates(["add", "esp", "encr_alg", "aes-cbc"], PROMPT)
    assert "encrkey" not in completion.candidates(["add", "esp", "encrkey", KEY], PROMPT)
    assert "authkey" not in completion.candidates(["get", "esp"], PROMPT)
    assert completion.candidates(["frobnicate"], PROMPT) == []
    assert "attr" in completion.candidates(["help"], PROMPT) and completion.candidates(
        ["add", "esp", "encap"], PROMPT
    ) == ["udp"]


def test_keys_are_shown_only_on_request():
    (step,) = script.parse(f"add esp spi 0x1001 dst 192.0.2.2 auth_alg sha1 authkey {KEY}").steps
    entry = Entry(step.sa, Counters())
    assert KEY not in display.block(entry) and KEY not in str(display.record(entry))
    assert f"AKY: {KEY}/160" in display.block(entry, display.Style(display.SHOWN))
    assert f"AKY: {'XX' * 20}/160" in display.block(entry, display.Style(display.CROSSED))
    assert display.record(entry, display.SHOWN)["authentication_key"] == KEY


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ("save all", "save: this would print keys. Name a file, or open the prompt with --show-keys.\n"),
        ("add esp spi 17 dst 192.0.2.2 auth_alg sha1 authkey " + KEY, "Choose a number from 256 to 4294967295."),
        (
            "add esp spi 17 dst 192.0.2.2 auth_alg sha1 authkey " + KEY,
            "in a prompt opened with --allow-reserved-spi.\n",
        ),
        ("add esp spi 0x1001 dst 192.0.2.2 auth_alg sha1 authkey 00ff", "Make one with: openssl rand -hex 20\n"),
        (
            f"add esp spi 0x1001 dst 192.0.2.2 encr_alg aes-gcm encrkey {KEY[:40]}",
            "in a prompt opened with --allow-static-counter-mode and never load this key twice.\n",
        ),
    ],
)
def test_the_prompt_names_what_can_be_typed_there(monkeypatch, capsys, typed, part):
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed + "\n"))
    monkeypatch.setattr(command, "clear_text_server", lambda dummy: "")
    assert command.main([]) == 1
    assert part in capsys.readouterr().err


def test_names_at_a_prompt_without_a_naming_service(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("delete esp spi 0x1001 dst localhost\n"))
    monkeypatch.setattr(command, "clear_text_server", lambda dummy: "")
    assert command.main(["-n"]) == 1
    assert "only in a prompt opened without -n" in capsys.readouterr().err


def test_the_reference_calls_only_those_keywords_solaris_only_that_linux_refuses():
    page = documents.page()
    assert "Sequence number to start from, 32 bits wide unless the SA has esn." in page
    assert "Idle seconds since it was added (Solaris only)." in page


@pytest.fixture(name="sadb")
def make_sadb(monkeypatch):
    sadb = MemorySadb()
    for module in (command, execute):
        monkeypatch.setattr(module, "open_sadb", lambda: sadb)
    return sadb


@pytest.fixture(name="keys")
def make_keys():
    folder = Path(tempfile.mkdtemp(prefix="ipsec-manual-test-", dir="/root"))
    yield folder / "keys"
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can own safe files")
def test_a_check_prints_the_warnings_of_loading(sadb, keys, capsys):
    keys.touch(0o600)
    keys.write_text(f"add ah spi 0x1001 dst 192.0.2.2 auth_alg sha1 authkey {KEY} replay 32\n")
    assert command.main(["-c", str(keys)]) == 0 and not sadb.sas
    checked = capsys.readouterr()
    assert command.main(["-f", str(keys)]) == 0 and len(sadb.sas) == 1
    assert checked == capsys.readouterr() and checked.err.count("warning") == 2


def test_a_verbose_flush_lists_the_deleted_sas(sadb, capsys):
    for number in (1, 2):
        (step,) = script.parse(f"add ah spi 0x100{number} dst 192.0.2.2 auth_alg sha1 authkey {KEY}").steps
        sadb.put(step.sa)
    assert command.main(["-v", "flush"]) == 0 and not sadb.sas
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("delete ah spi 0x00001001") and second.startswith("delete ah spi 0x00001002")
    assert last == "flush: 2 SAs deleted"
    assert command.main(["flush"]) == 0 and not capsys.readouterr().out


def test_the_prompt_refuses_a_key_that_was_typed_before_or_is_in_the_kernel(sadb, monkeypatch, capsys):
    monkeypatch.setattr(command, "clear_text_server", lambda dummy: "")
    add = f"add ah spi 0x1001 dst 192.0.2.2 auth_alg sha1 authkey {KEY}\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(add + add.replace("1001", "1002")))
    assert command.main([]) == 1 and [sa.spi for sa in sadb.sas] == [0x1001]
    error = capsys.readouterr().err
    assert "command 2, line 1: the authentication key is also used by ah spi 0x00001001" in error
    assert "in a prompt opened with --allow-shared-key" in error and KEY[:8] not in error
    monkeypatch.setattr(sys, "stdin", io.StringIO(add.replace("1001", "1003")))
    assert command.main(["--allow-shared-key"]) == 0 and len(sadb.sas) == 2
