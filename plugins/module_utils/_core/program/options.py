# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the ipseckey command: their table, and what a command line says."""

from __future__ import annotations

import getopt
import typing as t

from ..errors import InputError
from ..sa.checks import ANYTHING
from . import display


class Option(t.NamedTuple):
    """One option of the command. ``value`` names what follows it, empty for nothing."""

    name: str
    help: str
    value: str = ""


OPTIONS: tuple[Option, ...] = (
    Option("-f", "run the commands of FILE: all of them, or none if one is wrong or refused", "FILE"),
    Option("-c", "check FILE, including key lengths and what the kernel lacks, and change nothing", "FILE"),
    Option(
        "--text-only",
        "with -c: check only the text, on any system and as any user, and print what was not checked; FILE may belong"
        " to anyone, and - is standard input",
    ),
    Option("-s", "save all SAs to FILE, mode 0600; - is standard output", "FILE"),
    Option(
        "--apply",
        "make the SADB hold the SAs of FILE, and no others between their addresses, changing only what differs; FILE"
        " may have only add commands, and a flush before them, which is ignored with a warning",
        "FILE",
    ),
    Option(
        "--compare",
        "report what --apply would change, and change nothing; exit status 1 if it would change anything",
        "FILE",
    ),
    Option("--remove", "remove the SAs of FILE, and those that --apply loaded from it earlier; other SAs stay", "FILE"),
    Option(
        "--policies",
        "with --apply, --compare, --remove or --boot-file: do the same with the SPD and the policies of FILE, which is"
        " not secret; alone: load only them",
        "FILE",
    ),
    Option(
        "--boot-file",
        "have the service that loads SAs at boot, and that Ansible installed, load FILE from now on, if it can; nothing"
        " is loaded before the service is reloaded",
        "FILE",
    ),
    Option(
        "--no-policies",
        "with --boot-file: have the service load FILE and no policies, so that the traffic of its SAs leaves"
        " unencrypted after the next boot, unless something else has policies for it",
    ),
    Option("--show-policies", "print the policies of the SPD, each with its number"),
    Option(
        "--save-policies",
        "save all policies of the SPD to FILE, which must not exist yet, mode 0600, as --policies reads them",
        "FILE",
    ),
    Option("--delete-policy", "delete the policy of this number", "NUMBER"),
    Option("--flush-policies", "delete all policies, whoever added them"),
    Option(
        "--rotation-due",
        "with --apply: write a list of the SAs that it added to FILE, since their keys may be in use a second time",
        "FILE",
    ),
    Option("-n", "accept literal addresses only, no host names, and print none"),
    Option("-p", "print XX for every byte of a key"),
    Option("-v", "print each change; print times in seconds, too; with status, print every peer"),
    Option("--json", "print SAs, policies, events and the status as JSON"),
    Option(
        "--show-keys",
        "print keys; without it dump, get and monitor print fingerprints, and nothing is saved to standard output",
    ),
    Option(
        "--allow-static-counter-mode",
        "accept counter-mode ciphers, whose static keys must never be loaded twice (RFC 8221 section 3)",
    ),
    Option("--allow-reserved-spi", "accept the SPIs 1 to 255, which are reserved, for a peer that dictates one"),
    Option(
        "--allow-shared-key",
        "accept one key in several SAs, for a peer that dictates it; never that of a counter-mode cipher",
    ),
    Option("--allow-unsafe-file", "read a file that users other than root can read or change"),
    Option("--allow-network-file", "read a file over a network file system, where its keys may travel in clear text"),
    Option(
        "--allow-clear-text-login",
        "open the prompt even if the login is not encrypted, so that typed keys travel in clear text",
    ),
    Option("--man", "print the manual page, roff"),
    Option("--completion", "print the completion for bash"),
    Option("--help", "print the options and commands"),
)
USAGE = "ipseckey [OPTION]... [{-f | -c | -s | --apply | --compare | --remove | --boot-file} FILE | COMMAND]"


class Options(t.NamedTuple):
    """The options of one run; ``words`` is the command on the command line."""

    file: str = ""
    check: str = ""
    save: str = ""
    apply: str = ""
    compare: str = ""
    remove: str = ""
    policies: str = ""
    boot_file: str = ""
    no_policies: bool = False
    show_policies: bool = False
    save_policies: str = ""
    delete_policy: str = ""
    flush_policies: bool = False
    rotation_due: str = ""
    text_only: bool = False
    numeric: bool = False
    crossed: bool = False
    verbose: bool = False
    json: bool = False
    show_keys: bool = False
    allow_static_counter_mode: bool = False
    allow_reserved_spi: bool = False
    allow_shared_key: bool = False
    allow_unsafe_file: bool = False
    allow_network_file: bool = False
    allow_clear_text_login: bool = False
    man: bool = False
    completion: bool = False
    help: bool = False
    words: tuple[str, ...] = ()

    def is_about_policies_alone(self) -> bool:
        return any(getattr(self, task) for task in _OF_POLICIES) or bool(
            self.policies and not any(getattr(self, task) for task in _WITH_POLICIES)
        )

    def keys(self) -> str:
        """How keys are printed: a constant of `display`."""
        return display.CROSSED if self.crossed else display.SHOWN if self.show_keys else display.HIDDEN

    def language(self) -> dict[str, t.Any]:
        """Options that `language.parse` and `script.parse` accept."""
        return {"resolve_names": not self.numeric, **{name: getattr(self, name) for name in ANYTHING}}


# The placeholders of hints (see `errors.WORDS`) on the command line, and at the prompt, which takes no options.
COMMAND_WORDS = {
    **{name: f"with --{name.replace('_', '-')}" for name in ANYTHING},
    "become": "",
    "dump": "ipseckey dump",
    "exact": "--apply",
    "moved": "",
    "new_key": "Make one with: openssl rand -hex {1}",
    "new_spi": "Choose a number from 256 to 4294967295.",
    "python": "",
    "resolve_names": "without -n",
    "show_keys": ", or add --show-keys",
    "uncrossed": "Omit -p.",
}
PROMPT_WORDS = {
    **COMMAND_WORDS,
    **{name: f"in a prompt opened with --{name.replace('_', '-')}" for name in ANYTHING},
    "dump": "dump",
    "exact": "applying a file",
    "resolve_names": "in a prompt opened without -n",
    "show_keys": ", or open the prompt with --show-keys",
    "uncrossed": "Open the prompt without -p.",
}
_LETTERS = {"-f": "file", "-c": "check", "-s": "save", "-n": "numeric", "-p": "crossed", "-v": "verbose"}
_LONG = {row.name: row for row in OPTIONS if row.name.startswith("--")}
_OF_POLICIES = ("show_policies", "save_policies", "delete_policy", "flush_policies")
_ACCEPTING = (*ANYTHING, "allow_unsafe_file", "allow_network_file")
_WITH_POLICIES = ("apply", "compare", "remove", "boot_file")
_TASKS = ("file", "check", "save", *_WITH_POLICIES, *_OF_POLICIES, "words")


def read_options(arguments: t.Sequence[str]) -> Options:
    """The options; long ones may also follow the command. Raises InputError, which shows no value."""
    given: dict[str, t.Any] = {}
    others = _read_long(arguments, given)
    try:
        letters, words = getopt.getopt(others, "f:c:s:npv")
    except getopt.GetoptError as exc:
        name = f"-{exc.opt}"
        if name in _LETTERS:
            raise _wrong(f"{name} needs a file") from None
        raise _wrong(
            f"{name if len(name) == 2 else 'a word that begins with --'} is not an option of ipseckey"
        ) from None
    for name, value in letters:
        _set(given, name, _LETTERS[name], value if name in ("-f", "-c", "-s") else True)
    if words[:1] == ["status"] and "-v" in words:  # as --json may come last
        given["verbose"] = True
        words.remove("-v")
    options = Options(words=tuple(words), **given)
    if sum(bool(getattr(options, task)) for task in _TASKS) > 1:
        raise _wrong(
            "only one of -f, -c, -s, --apply, --compare, --remove, --boot-file, --show-policies, --save-policies,"
            " --delete-policy, --flush-policies and a command can be given",
            f"Usage: {USAGE}",
        )
    if options.policies and any(getattr(options, task) for task in _TASKS if task not in _WITH_POLICIES):
        raise _wrong("--policies goes with --apply, --compare, --remove or --boot-file, or alone")
    if options.no_policies:
        _check_no_policies(options)
    if options.text_only and not options.check:
        raise _wrong("--text-only goes with -c only")
    if options.boot_file and any(getattr(options, name) for name in _ACCEPTING):
        raise _wrong("no option that accepts more goes with --boot-file, since the service decides what it accepts")
    if options.rotation_due and not options.apply:
        raise _wrong("--rotation-due goes with --apply only")
    return options


def _check_no_policies(options: Options) -> None:
    if not options.boot_file:
        fix = "To load SAs alone now: ipseckey --apply FILE. To delete policies: --delete-policy, --flush-policies"
        raise _wrong("--no-policies goes with --boot-file only", fix)
    if options.policies:
        raise _wrong(
            "--no-policies and --policies exclude each other", "Name the one that the service at boot should go by."
        )


def _read_long(arguments: t.Sequence[str], given: dict[str, t.Any]) -> list[str]:
    """Put the long options into ``given``, by field; return all other words."""
    others = []
    words = iter(arguments)
    for word in words:
        row = _LONG.get(word)
        if row is None:
            others.append(word)
        else:
            _set(given, word, word[2:].replace("-", "_"), next(words, "") if row.value else True)
    return others


def _set(given: dict[str, t.Any], name: str, field: str, value: str | bool) -> None:
    what = _LONG[name].value.lower() if name in _LONG else "file"
    if not value:
        raise _wrong(f"{name} needs a {what}")
    # sudo, which compares arguments joined by blanks, would take "-f /FILE" for -f and /FILE.
    if value is not True and str(value)[0].isspace():
        raise _wrong(f"the {what} of {name} begins with a blank", f"Write {name} and the {what} as two words.")
    if field in given and value is not True:
        raise _wrong(f"{name} is given twice", f"Name one {what}.")
    given[field] = value


def _wrong(message: str, hint: str = "See: ipseckey --help") -> InputError:
    return InputError(message, "options", hint)
