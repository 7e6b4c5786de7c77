# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ipseckey command for Linux: ``python3 -m ipseckey.program.command`` if the core is installed under that name.

A text is read as a whole and checked against language, kernel and SADB before anything changes;
then all of it takes effect, or nothing."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
import typing as t

from ..audit.login import clear_text_server
from ..errors import InputError, IpsecError
from ..sa.model import SecurityAssociation
from ..sadb import open_sadb
from ..text import script
from ..text.grammar import FILE, PROMPT
from ..text.script import Step
from . import completion, output, reference
from .execute import check, check_beside, execute, save
from .input import STANDARD_INPUT, Lines, read_any, read_file, read_standard_input
from .options import PROMPT_WORDS, Options, read_options


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run one command line; the exit status is 0 only if everything succeeded."""
    os.umask(0o077)
    try:
        return _run(read_options(sys.argv[1:] if arguments is None else arguments))
    except IpsecError as error:
        output.complain(error)
    except BrokenPipeError:
        output.discard(sys.stdout)
    except KeyboardInterrupt:
        output.say("interrupted")
    return 1


def _run(options: Options) -> int:
    for wanted, text in (
        (options.help, reference.usage),
        (options.man, reference.man_page),
        (options.completion, completion.bash_script),
    ):
        if wanted:
            output.write(text())
            return 0
    if options.text_only:
        return _check_text(options)
    if options.file or options.check:
        return _run_file(os.path.abspath(options.file or options.check), options)
    if options.apply or options.compare or options.remove:
        from .apply import apply  # only here, since few runs need it

        return apply(os.path.abspath(options.apply or options.compare or options.remove), options)
    if options.boot_file:
        from . import boot_file  # only here, since few runs need it

        return boot_file.switch(os.path.abspath(options.boot_file), options)
    if options.is_about_policies_alone():
        from . import spd  # only here, since few runs need it

        return spd.carry_out(options)
    if options.save:
        return save(Step("save", 1, word=options.save), options)
    if options.words:
        found = script.parse_words(options.words, **options.language())
        output.warn(found.warnings)
        return execute(found.steps, "command line", options)
    return _prompt(options)


def _run_file(path: str, options: Options) -> int:
    found = script.parse(read_file(path, options), path, FILE, **options.language())
    output.warn(found.warnings)
    steps = [step for step in found.steps if step.command != "quit"]
    if not options.check:
        execute(steps, path, options)
        return 0
    try:
        sadb = open_sadb()
        check(steps, path, sadb)
        check_beside(steps, path, sadb, options)
    except IpsecError as error:
        output.complain(error)
        output.say(f"{path}: the text itself is correct; to check only the text, add --text-only")
        return 1
    output.advise([step.sa for step in steps if step.sa is not None])
    return 0


def _check_text(options: Options) -> int:
    """Make the checks of a text that need no kernel."""
    if options.check == "-":
        path, data = STANDARD_INPUT, read_standard_input()
    else:
        path = os.path.abspath(options.check)
        data = read_any(path)
    found = script.parse(data, path, FILE, **options.language())
    output.warn(found.warnings)
    sas = [step.sa for step in found.steps if step.sa is not None]
    output.advise(sas)
    count = f"{len(sas)} {'SA' if len(sas) == 1 else 'SAs'}"
    output.say(f"{path}: the text is correct ({count}). The kernel and the protection of files were not checked")
    return 0


def _prompt(options: Options) -> int:
    """Read and carry out commands one by one until quit or the end; 1 if any of them failed."""
    server = "" if options.allow_clear_text_login else clear_text_server(os.getpid())
    if server:
        raise InputError(
            f"this login came through {server}, which does not encrypt: keys typed here travel in clear text",
            "prompt",
            "Log in with ssh; or, if nobody can listen, add --allow-clear-text-login.",
        )
    if sys.stdin is None:
        raise InputError(
            "it is closed", STANDARD_INPUT, "Type commands at a terminal, or name a file: ipseckey -f FILE"
        )
    with Lines() as lines:
        if lines.terminal is not None:
            _import_all()
            _warn_of_missing_rights()
        return _carry_out(lines, options)


def _import_all() -> None:
    """Import now what commands would import when they need it: an upgrade may replace the program while the prompt is
    open, and nothing can be imported from the new one.
    """
    package = (__package__ or "").rpartition(".")[0]
    for row in pkgutil.walk_packages(sys.modules[package].__path__, f"{package}."):
        with contextlib.suppress(ImportError, AttributeError):  # what is for another system
            importlib.import_module(row.name)


def _warn_of_missing_rights() -> None:
    """Report that the SADB is not accessible before anybody types a key in vain."""
    try:
        open_sadb().dump("ah")
    except IpsecError as error:
        output.complain(error, PROMPT_WORDS)


def _carry_out(lines: Lines, options: Options) -> int:
    status = number = 0
    typed: list[SecurityAssociation] = []
    while True:
        text = lines.read_command()
        if text is None:
            return status
        number += 1
        try:
            found = script.parse(text, f"command {number}", PROMPT, **options.language())
            output.warn(found.warnings)
            if execute(found.steps, f"command {number}", options, typed):
                status = 1
            typed += (step.sa for step in found.steps if step.sa is not None)
            if any(step.command == "quit" for step in found.steps):
                return status
        except IpsecError as error:
            output.complain(error, PROMPT_WORDS)
            status = 1
        except KeyboardInterrupt:
            output.say("interrupted")
            status = 1


if __name__ == "__main__":
    raise SystemExit(main())
