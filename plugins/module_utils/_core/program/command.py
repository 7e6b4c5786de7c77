# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ipseckey command for Linux: ``python3 -m ipseckey.program.command`` where the core stands under that name.

What a text says is read as a whole and checked against language, kernel and SADB before anything
changes; then all of it takes effect, or nothing."""

from __future__ import annotations

import contextlib
import getopt
import os
import signal
import stat
import sys
import typing as t

from ..errors import (
    InputError,
    IpsecError,
    NetworkFileError,
    Problems,
    ProtectedFileError,
    TextError,
    may_be_key,
    raise_all,
)
from ..files import protected
from ..sa import checks, model
from ..sa.model import Entry, SecurityAssociation
from ..sadb import Sadb, backup, open_sadb
from ..signals import uninterrupted
from ..text import language
from ..text.grammar import FILE, PROMPT
from . import display, reference, script
from .effect import Effect, effect
from .login import clear_text_server
from .script import Step

if t.TYPE_CHECKING:
    from ..sa.plan import Operation
    from ..sadb.xfrm.backend import XfrmSadb
    from ..spd.kernel import Policy, PolicyOperation
    from .policies import PolicyChange

PROMPT_TEXT = "ipseckey> "
CONTINUED_TEXT = "> "


class Options(t.NamedTuple):
    """The options of one run, by what they mean; ``words`` is the command on the command line."""

    file: str = ""
    check: str = ""
    save: str = ""
    apply: str = ""
    compare: str = ""
    remove: str = ""
    policies: str = ""
    rotation_due: str = ""
    numeric: bool = False
    crossed: bool = False
    verbose: bool = False
    json: bool = False
    show_keys: bool = False
    allow_static_counter_mode: bool = False
    allow_unsafe_file: bool = False
    allow_network_file: bool = False
    allow_clear_text_login: bool = False
    man: bool = False
    completion: bool = False
    help: bool = False
    words: tuple[str, ...] = ()

    def keys(self) -> str:
        """How keys are printed."""
        return display.CROSSED if self.crossed else display.SHOWN if self.show_keys else display.HIDDEN


_FIELD_OF_LETTER = {"-f": "file", "-c": "check", "-s": "save", "-n": "numeric", "-p": "crossed", "-v": "verbose"}
_LONG = {row.name: row for row in reference.OPTIONS if row.name.startswith("--")}


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run one command line; the exit status, which is 0 only where all went well."""
    os.umask(0o077)
    try:
        options = read_options(sys.argv[1:] if arguments is None else arguments)
        return _run(options)
    except IpsecError as error:
        _complain(error)
    except BrokenPipeError:
        _forget(sys.stdout)
    except KeyboardInterrupt:
        _say("interrupted")
    return 1


def read_options(arguments: t.Sequence[str]) -> Options:
    """The options; the long ones may stand behind the command too. Raises InputError, which shows no value."""
    given, short = _long_options(arguments)
    try:
        letters, words = getopt.getopt(short, "f:c:s:npv")
    except getopt.GetoptError as exc:
        what = (
            "lacks its file" if len(exc.opt) == 1 and f"-{exc.opt}" in _FIELD_OF_LETTER else "is no option of ipseckey"
        )
        raise InputError(
            f"-{exc.opt} {what}" if len(exc.opt) == 1 else f"a word that begins with -- {what}",
            "options",
            "See: ipseckey --help",
        ) from None
    for letter, value in letters:
        takes_file = letter in ("-f", "-c", "-s")
        if takes_file and not value:
            raise InputError(f"{letter} lacks its file", "options", "See: ipseckey --help")
        if takes_file and _FIELD_OF_LETTER[letter] in given:
            raise InputError(f"{letter} is given twice", "options", "Name one file.")
        given[_FIELD_OF_LETTER[letter]] = value if takes_file else True
    options = Options(words=tuple(words), **given)
    if (
        sum(
            map(
                bool,
                (
                    options.file,
                    options.check,
                    options.save,
                    options.apply,
                    options.compare,
                    options.remove,
                    options.words,
                ),
            )
        )
        > 1
    ):
        raise InputError(
            "only one of -f, -c, -s, --apply, --compare, --remove and a command can be given",
            "options",
            f"Usage: {reference.USAGE}",
        )
    if options.policies and not (options.apply or options.compare or options.remove):
        raise InputError("--policies goes with --apply, --compare or --remove only", "options", "See: ipseckey --help")
    if options.rotation_due and not options.apply:
        raise InputError("--rotation-due goes with --apply only", "options", "See: ipseckey --help")
    return options


def _long_options(arguments: t.Sequence[str]) -> tuple[dict[str, t.Any], list[str]]:
    """The long options, by field, and all other words."""
    given: dict[str, t.Any] = {}
    others = []
    words = iter(arguments)
    for word in words:
        row = _LONG.get(word)
        if row is None:
            others.append(word)
            continue
        value = next(words, "") if row.value else True
        if not value:
            raise InputError(f"{word} lacks its file", "options", "See: ipseckey --help")
        field = word[2:].replace("-", "_")
        if row.value and field in given:
            raise InputError(f"{word} is given twice", "options", "Name one file.")
        given[field] = value
    return given, others


def _run(options: Options) -> int:
    for wanted, text in (
        (options.help, reference.usage),
        (options.man, reference.man_page),
        (options.completion, reference.completion),
    ):
        if wanted:
            _print(text())
            return 0
    if options.file or options.check:
        path = os.path.abspath(options.file or options.check)
        found = script.parse(read_file(path, options), path, FILE, **_language(options))
        _warn(found.warnings)
        steps = [step for step in found.steps if step.command != "quit"]
        if options.check:
            sadb = open_sadb()
            _check(steps, path, sadb)
            added = [step.sa for step in steps if step.sa is not None]
            raise_all(sadb.preflight(added) if added else [])
        else:
            _execute(steps, path, options)
        return 0
    if options.apply or options.compare or options.remove:
        return _load(os.path.abspath(options.apply or options.compare or options.remove), options)
    if options.save:
        return _save(Step("save", 1, word=options.save), options)
    if options.words:
        found = script.parse_words(options.words, **_language(options))
        _warn(found.warnings)
        return _execute(found.steps, "command line", options)
    return _prompt(options)


def _language(options: Options) -> dict[str, t.Any]:
    return {"resolve_names": not options.numeric, "allow_static_counter_mode": options.allow_static_counter_mode}


def read_file(path: str, options: Options, kind: protected.Kind = protected.SECRET) -> bytes:
    """The content of a file. Raises ProtectedFileError for one that is not safe, with the option
    that takes it all the same.
    """
    if not (options.allow_unsafe_file or options.allow_network_file):
        try:
            return protected.read(path, kind=kind)
        except ProtectedFileError as error:
            raise (_with_option(error) if os.path.isfile(path) else error) from None
    problems = protected.status(path, kind).problems
    raise_all(
        [
            _with_option(error)
            for error in problems
            if not (options.allow_network_file if isinstance(error, NetworkFileError) else options.allow_unsafe_file)
        ]
    )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise ProtectedFileError(f"the file cannot be read ({exc.strerror})", path) from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ProtectedFileError("this is not a regular file", path)
        return protected.take(file, path)


def _with_option(error: ProtectedFileError) -> ProtectedFileError:
    option = "--allow-network-file" if isinstance(error, NetworkFileError) else "--allow-unsafe-file"
    return ProtectedFileError(
        error.message,
        error.place,
        ". ".join(filter(None, (error.hint.rstrip("."), f"To take it all the same: {option}"))),
    )


def _check(steps: t.Sequence[Step], name: str, sadb: Sadb) -> None:
    """Raise what this kind of SADB cannot express."""
    problems: list[IpsecError] = []
    for step in steps:
        wrong = sadb.refusals(step.sa) if step.sa is not None else []
        wrong += [InputError(f"Linux has nothing like {keyword}", "", "Take it away.") for keyword, dummy in step.extra]
        if step.command.endswith("-pair"):
            wrong.append(InputError("Linux pairs no SAs", "", "Name each SA in a command of its own."))
        for error in wrong:
            place = f"{error.place}: " if error.place else ""
            problems.append(TextError(f"{place}{error.message}", name, step.line, 1, error.hint))
    raise_all(problems)


def _execute(steps: t.Sequence[Step], name: str, options: Options) -> int:
    """Carry the steps out: one that stands alone by its handler, all others together."""
    if not steps:
        return 0
    handler = _ALONE.get(steps[0].command)
    if handler is not None:
        return handler(steps[0], options)
    sadb = open_sadb()
    _check(steps, name, sadb)
    if [step.command for step in steps] == ["flush"]:
        sadb.flush(steps[0].protocol)
        return 0
    found = effect(steps, sadb.dump(), name)
    added = [operation.new for operation in found.operations if operation.new is not None]
    if added:
        raise_all(sadb.preflight(added))
    _change(sadb, found)
    if options.verbose:
        lines = [f"update {model.label(entry.sa)}" for entry, dummy in found.updates] + [
            str(operation) for operation in found.operations
        ]
        _print("".join(f"{line}\n" for line in lines))
    for entry in found.shown:
        _show(entry, options, "GET")
    _advise(added)
    return 0


def _change(sadb: Sadb, found: Effect) -> None:
    """All of it or nothing: lifetimes first, since they can be taken back without loss."""
    from ..sadb.xfrm.lifetimes import update

    with uninterrupted():
        if found.updates:
            update(found.updates)
        try:
            if found.operations:
                sadb.apply(found.operations)
        except IpsecError:
            if found.updates:
                update([(entry, entry.sa.lifetimes) for entry, dummy in found.updates])
            raise


def _load(path: str, options: Options) -> int:
    """Make the SADB what a file of SAs says, and the SPD what a file of policies says; or remove
    what is the files'; or only tell the difference.
    """
    sadb = open_sadb()
    policies = _policies(os.path.abspath(options.policies), options, sadb) if options.policies else None
    if policies is None or not options.apply:
        return _load_beside(policies, path, options, sadb)
    policies.close()
    try:
        return _load_beside(policies, path, options, sadb)
    except IpsecError:
        _tell(policies.path, policies.closing, len(policies.wanted) - len(policies.closing), options)
        _say(f"the policies of {policies.path} are there all the same: until the SAs are, their traffic does not pass")
        raise


def _load_beside(policies: PolicyChange | None, path: str, options: Options, sadb: Sadb) -> int:
    from . import loading

    loaded = loading.read_record(path)
    sas: tuple[SecurityAssociation, ...] = ()
    if not _is_gone(path, options, loaded):
        settings = {
            **_language(options),
            "allow_static_counter_mode": options.allow_static_counter_mode or bool(options.remove),
        }
        found = language.parse(read_file(path, options), path, **settings)
        _warn(found.warnings)
        sas = found.sas
        if not options.remove:
            _check([Step("add", line, sa) for sa, line in zip(found.sas, found.lines)], path, sadb)
    if policies is not None and not options.remove:
        policies = policies.beside(sas)
    actual = sadb.dump()
    if options.remove:
        steps = loading.remove_plan([*sas, *loaded], actual)
    else:
        hidden = bool(actual) and sadb.keys_hidden()
        steps = loading.load_plan(
            sas, loaded, actual, hidden, options.allow_static_counter_mode, bool(actual) and sadb.tells_directions()
        )
    added = [operation.new for operation in steps.operations if operation.new is not None]

    def tell() -> None:
        if policies is not None:
            _tell(policies.path, policies.operations, policies.unchanged, options)
        _tell(path, steps.operations, steps.unchanged, options)

    if options.compare:
        tell()
        different = bool(steps.operations or (policies is not None and policies.operations))
        return max(int(different), 0 if policies is None else _fail_open(policies, sas, path, sadb))
    raise_all(sadb.preflight(added) if added else [])
    with uninterrupted():
        if policies is not None:
            policies.carry_out(t.cast("XfrmSadb", sadb), steps.operations)
        elif steps.operations:
            sadb.apply(steps.operations)
        try:
            # What was loaded counts for more than what is noted about it: that comes last, and
            # where it fails the former stays.
            if policies is not None:
                policies.note()
            loading.write_record(path, () if options.remove else sas)
            if options.rotation_due and added:
                protected.write(os.path.abspath(options.rotation_due), loading.rotation_due(steps).encode("ascii"))
        finally:
            tell()
    _advise(added)
    if options.rotation_due and added:
        _say(
            f"warning: {len(added)} SAs were loaded from {path}: where their keys were in use before, a rotation is due"
            " (RFC 4303 section 3.3.3)"
        )
    return 0 if policies is None or options.remove else _fail_open(policies, sas, path, sadb)


def _fail_open(policies: PolicyChange, sas: t.Sequence[SecurityAssociation], path: str, sadb: Sadb) -> int:
    """Report what would leave in the clear (returns 1) or was kept from it. What can be closed is already closed."""
    from ..spd.guarding import between, uncovered
    from ..spd.kernel import label

    for policy in policies.kept:
        _say(
            f"warning: {policies.path} names policy {label(policy)} no more. It stays, since it guards SAs of {path};"
            " remove those first"
        )
    found = uncovered(sas, policies.outcome(), sadb.local_addresses())
    if found:
        fix = f"Add their policies to {policies.path}, or take the SAs out of {path}."
        _complain(
            IpsecError(
                f"no policy uses {len(found)} SAs of {path}, so their traffic may leave unencrypted, between"
                f" {between(found)}",
                "SPD",
                fix,
            )
        )
    return 1 if found else 0


def _policies(path: str, options: Options, sadb: Sadb) -> PolicyChange:
    """What is to be done about a file of policies."""
    from ..sadb.xfrm.backend import XfrmSadb
    from ..spd.kernel import Spd
    from ..spd.text import parse
    from . import policies

    if not isinstance(sadb, XfrmSadb):
        raise InputError(
            "this system has policies of another kind",
            "--policies",
            "Leave it away, and load them with the system's own tools.",
        )
    loaded = policies.read_record(path)
    wanted: tuple[Policy, ...] = ()
    if not _is_gone(path, options, loaded):
        wanted, warnings = parse(read_file(path, options, protected.PUBLIC), path)
        _warn(warnings)
    return policies.change(path, wanted, loaded, Spd().dump(), bool(options.remove))


def _is_gone(path: str, options: Options, loaded: t.Sequence[t.Any]) -> bool:
    """Whether a file that is to be removed was removed itself, so that only the record tells what
    was loaded from it.
    """
    gone = bool(options.remove and loaded and not os.path.exists(path))
    if gone:
        _say(f"warning: {path} does not exist; removing what was loaded from it")
    return gone


def _tell(path: str, operations: t.Sequence[Operation | PolicyOperation], unchanged: int, options: Options) -> None:
    """What a file changed, or would change."""
    from . import loading

    if options.verbose or options.compare:
        _print("".join(f"{operation}\n" for operation in operations))
    _print(loading.summary(path, operations, unchanged) + "\n")


def _advise(sas: t.Sequence[SecurityAssociation]) -> None:
    """What is allowed but unwise, once for all SAs that it is true of."""
    alike: dict[t.Any, list[SecurityAssociation]] = {}
    for sa in sas:
        alike.setdefault(
            (sa.protocol, sa.encryption, sa.authentication, sa.icv_bits, bool(sa.replay_window), sa.direction), []
        ).append(sa)
    counts: dict[str, int] = {}
    for group in alike.values():
        for warning in checks.warnings(group[0]):
            counts[warning] = counts.get(warning, 0) + len(group)
    for warning, count in counts.items():
        _say(f"warning: {warning} ({count} {'SA' if count == 1 else 'SAs'})")


def _show(entry: Entry, options: Options, message: str = "DUMP") -> None:
    if options.json:
        _print(_json(display.record(entry, options.keys())) + "\n")
    else:
        _print(display.block(entry, options.keys(), options.verbose, message=message) + "\n")


# Commands that stand alone


def _dump(step: Step, options: Options) -> int:
    entries = open_sadb().dump(step.protocol)
    if options.json:
        _print(_json([display.record(entry, options.keys()) for entry in entries], indent=1) + "\n")
    else:
        for entry in entries:
            _show(entry, options)
        _print(f"Dump succeeded for SA type {display.NUMBERS.get(step.protocol, 0)}.\n")
    return 0


def _save(step: Step, options: Options) -> int:
    """Write what the language can say of all SAs, sequence numbers included, so that they go on
    from there; 1 where something is left out.
    """
    to_output = step.word in ("", "-")
    if options.crossed:
        raise InputError("-p would save keys that cannot be loaded again", "save", "Leave -p away.")
    if to_output and not options.show_keys:
        raise InputError("this would print keys", "save", "Name a file, or add --show-keys.")
    text, problems = backup.save(open_sadb().dump(step.protocol), "Saved by ipseckey. Keep it secret: it holds keys.")
    if to_output:
        _print(text)
    else:
        protected.write(os.path.abspath(step.word), text.encode("ascii"))
    for problem in problems:
        _complain(problem)
    return 1 if problems else 0


def _monitor(step: Step, options: Options) -> int:
    from ..sadb.xfrm.events import LOST, listen

    for number in (signal.SIGINT, signal.SIGTERM):
        # Also where a shell started it in the background, with interrupts ignored.
        signal.signal(number, signal.default_int_handler)
    events = listen(acquires=step.command == "monitor")
    with contextlib.suppress(KeyboardInterrupt):
        for event in events:
            if event.kind == LOST:
                _say("events came faster than they were read; some are lost")
            elif options.json:
                shown = (
                    display.record(event.entry, options.keys())
                    if event.entry is not None
                    else {"protocol": event.protocol or "all"}
                )
                _print(_json({"event": event.kind.lower(), **shown}) + "\n")
            else:
                text = f"Base message (version 2) type {event.kind}, SA type {(event.protocol or 'all').upper()}.\n"
                if event.entry is not None:
                    text = display.block(event.entry, options.keys(), options.verbose, message=event.kind)
                _print(f"{text}\n")
    return 0


def _help(step: Step, options: Options) -> int:
    _print(reference.topic(step.word))
    return 0


_ALONE: dict[str, t.Callable[[Step, Options], int]] = {
    "dump": _dump,
    "save": _save,
    "monitor": _monitor,
    "pmonitor": _monitor,
    "help": _help,
    "quit": lambda dummy, dummies: 0,
}


# The prompt


def _prompt(options: Options) -> int:
    """Read commands one by one until quit or the end; 1 where any of them failed."""
    server = "" if options.allow_clear_text_login else clear_text_server(os.getpid())
    if server:
        message = f"this login came through {server}, which does not encrypt: keys typed here travel in clear text"
        raise InputError(
            message, "prompt", "Log in with ssh; or, where nobody can listen, add --allow-clear-text-login."
        )
    if sys.stdin is None:
        raise InputError(
            "it is closed", "standard input", "Type commands at a terminal, or name a file: ipseckey -f FILE"
        )
    history = _Line(sys.stdin.isatty())
    status = number = 0
    while True:
        text = _read_command(history)
        if text is None:
            return status
        number += 1
        try:
            found = script.parse(text, f"command {number}", PROMPT, **_language(options))
            _warn(found.warnings)
            status |= _execute(found.steps, f"command {number}", options)
            if any(step.command == "quit" for step in found.steps):
                return status
        except IpsecError as error:
            _complain(error)
            status = 1
        except KeyboardInterrupt:
            _say("interrupted")
            status = 1


def _read_command(line: _Line) -> str | None:
    """A line and those it is continued in; None at the end."""
    text = ""
    while True:
        more = line.read(CONTINUED_TEXT if text else PROMPT_TEXT)
        if more is None:
            return text or None
        text += more + "\n"
        if not more.endswith("\\"):
            return text


class _Line:
    """Lines of standard input, edited and completed where that is a terminal. The history holds no
    line that may hold a key, and is never written.
    """

    def __init__(self, interactive: bool) -> None:
        self.interactive = interactive
        self._readline: t.Any = None
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="surrogateescape")  # what is no text is for the language to refuse
        if interactive:
            with contextlib.suppress(ImportError):
                import readline

                readline.set_auto_history(False)
                readline.set_completer_delims(" \t")
                readline.set_completer(self._complete)
                readline.parse_and_bind("tab: complete")
                self._readline = readline

    def _complete(self, typed: str, index: int) -> str | None:
        before = self._readline.get_line_buffer()[: self._readline.get_begidx()].split()
        found = [word + " " for word in reference.completions(before, PROMPT) if word.startswith(typed)]
        return found[index] if index < len(found) else None

    def read(self, prompt: str) -> str | None:
        try:
            return self._read(prompt)
        except OSError as exc:
            raise IpsecError(f"it cannot be read ({exc.strerror or exc})", "standard input") from None

    def _read(self, prompt: str) -> str | None:
        if not self.interactive:
            line = sys.stdin.readline()
            return line[:-1] if line.endswith("\n") else line or None
        try:
            line = input(prompt)
        except EOFError:
            _print("\n")
            return None
        if self._readline is not None and line.strip() and "key" not in line and not may_be_key(line):
            self._readline.add_history(line)
        return line


# Output


def _json(value: t.Any, indent: int | None = None) -> str:
    import json  # only here, since few runs ask for it

    return json.dumps(value, indent=indent)


def _print(text: str) -> None:
    """Write to standard output. Raises IpsecError where it is closed or full, BrokenPipeError where nobody reads."""
    if sys.stdout is None:
        raise IpsecError("it is closed", "standard output")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        _forget(sys.stdout)
        raise IpsecError(f"it cannot be written ({exc.strerror})", "standard output") from None


def _forget(stream: t.TextIO) -> None:
    """What is still to be written goes nowhere, else the interpreter complains, and changes the
    status, when it closes the stream.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"ipseckey: {text}\n")
            sys.stderr.flush()
        except OSError:  # what cannot be told keeps nothing from being done, nor from being undone
            _forget(sys.stderr)


def _complain(error: IpsecError) -> None:
    for problem in error.problems if isinstance(error, Problems) else (error,):
        text = str(problem).replace("set allow_static_counter_mode", "give --allow-static-counter-mode")
        _say(text.replace("only with resolve_names", "only without -n"))


def _warn(warnings: t.Iterable[tuple[str, str]]) -> None:
    for message, place in warnings:
        _say(f"warning: {place}: {message}")


if __name__ == "__main__":
    raise SystemExit(main())
