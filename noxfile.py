# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sessions of `make test`. antsibull-nox.toml has those common to all collections.

`tests/run` runs them in a folder whose path is the collection's name, with the tools of .venv in PATH.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import tempfile

import antsibull_nox
import nox

antsibull_nox.load_antsibull_nox_toml()
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"

HERE = pathlib.Path.cwd()
COLLECTIONS = HERE.parents[2]
REPORTS, COVERAGE = HERE / "build" / "test", HERE / "build" / "coverage"
# Supported by hosts of the ansible-cores that we support.
PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
LEAST = 95  # percent of the core's branches, and of its lines and branches
CORE = ("tests/unit/plugins/module_utils/_core", "tests/conformance")
INSTALLED = ("meta/", "playbooks/", "plugins/", "roles/")
# Older supported ansible-cores, and the Pythons that each runs on.
OLDER = {"floor": ">=3.11,<3.14", "middle": ">=3.12,<3.15"}
# Sanity tests whose result depends on the ansible-core. The others only read text.
BY_CORE = ("action-plugin-docs", "ansible-doc", "compile", "import", "runtime-metadata", "validate-modules")
ROLE = ("tests/controller/test_role_inputs.py", "tests/controller/test_steps.py")
RUNNER = "tests/controller/runner"
# Suites without -n 2 start their own labs or containers, or are short.
SUITES = {
    "artifact": ("tests/artifact",),
    "controller-plugins": ("-n", "2", *(f"--ignore={path}" for path in (*ROLE, RUNNER)), "tests/controller"),
    "controller-role": ("-n", "2", *ROLE),
    "controller-runner": ("-n", "2", RUNNER),
    "e2e-rotation": ("tests/e2e/test_examples.py", "tests/e2e/test_rotation.py"),
    "e2e-fleet": ("tests/e2e/test_fleet.py", "tests/e2e/test_group.py"),
    "e2e-traffic": ("tests/e2e/test_traffic.py",),
    "e2e-settings": ("tests/e2e/test_settings.py", "tests/e2e/test_announced.py"),
    "e2e-modes": ("-k", "not ends_on_the_way", "tests/e2e/test_modes.py"),
    "e2e-interrupted": ("-k", "ends_on_the_way", "tests/e2e/test_modes.py"),
    "e2e-boot": ("tests/e2e/test_boot.py",),
    "e2e-backends": ("tests/e2e/test_backends.py", "tests/e2e/test_rotation_solaris.py"),
    "e2e-wire": ("tests/e2e/test_wire.py",),
    "e2e-audit": ("tests/e2e/test_audit.py",),
    "faults": ("tests/faults",),
    "invariants": ("-n", "2", "-m", "deep", "tests/unit/plugins/plugin_utils/_rotation"),
    "lab": ("tests/lab",),
    "leak": ("tests/leak",),
    "liar-audit": ("-n", "2", "tests/liar/test_audit.py"),
    "liar-leaving": ("-n", "2", "tests/liar/test_leaving.py"),
    "liar-newest": ("-n", "2", "tests/liar/test_liar.py"),
    "liar-lab": ("tests/liar/test_lab.py",),
    "molecule": ("tests/molecule",),
}
KERNELS = {"newest": "uml", "6.12": "uml-6.12", "6.1": "uml-6.1"}
# Tests that have sessions of their own, since they take most of the time; the session kernel has all others.
PROGRAMS = {
    "command": ("test_command.py", "test_solaris.py", "test_sudo.py"),
    "modules": ("test_boot_file.py", "test_modules.py", "test_modules_pfkey.py"),
}
MEASURED = ("unit", "kernel-newest", "command-newest", "modules-newest")
SCHEMAS = {
    "dependabot": ".github/dependabot.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-workflows": ".github/workflows/*.yml",
}
# ansible-test downloads a get-pip script for each sanity test's environment, unless its cache has
# this name. Python bundles pip, so no download is needed.
GET_PIP = """\
import ensurepip, os, subprocess, sys
# Copied before ensurepip sets PIP_CONFIG_FILE to null.
env = {k: v for k, v in os.environ.items() if k != "GET_PIP"}
ensurepip.bootstrap(upgrade=True)
args = [a for a in sys.argv[1:] if not a.startswith("--no-")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "-q", "-U", *args], env=env))
"""


def pytest(session: nox.Session, *arguments: str, python: tuple[str, ...] = ("python",), **env: str) -> None:
    """Run tests; tests/session reads the report. If interrupted, pytest stops the labs that it started."""
    report = f"--junitxml={REPORTS / session.name}.xml"
    env["SESSION"] = session.name
    session.run(
        *python, "-m", "pytest", report, *arguments, env=env, external=True, interrupt_timeout=30, terminate_timeout=10
    )


def installed(session: nox.Session, python: str) -> str:
    """An installed Python of these versions, or an empty string."""
    find = ("uv", "python", "find", "--system", python)
    found = str(session.run(*find, external=True, silent=True, success_codes=(0, 2))).strip()
    return found if pathlib.Path(found).is_file() else ""


def environment(session: nox.Session, name: str, python: str) -> pathlib.Path:
    """The bin folder of an environment shared by sessions; uv locks it, and verifies the hash of
    everything it installs.
    """
    folder = HERE / ".nox" / name
    found = installed(session, python)
    if not found:
        session.skip(f"Python {python} is not installed")
    session.run("uv", "venv", "-q", "--allow-existing", "--python", found, str(folder), external=True)
    pins = ("--require-hashes", f"tests/requirements/{name}.txt")
    session.run("uv", "pip", "sync", "-q", "--python", str(folder), *pins, external=True)
    return folder / "bin"


def unmeasured(session: nox.Session, *arguments: str, inside: tuple[str, ...] = ("env",)) -> None:
    pytest(session, *arguments, python=(*inside, "python"))


def measured(session: nox.Session, *arguments: str, inside: tuple[str, ...] = ("env",)) -> None:
    """Run tests, and where the session coverage follows record the coverage of the core in build/coverage."""
    if not os.environ.get("MEASURED"):
        unmeasured(session, *arguments, inside=inside)
        return
    COVERAGE.mkdir(parents=True, exist_ok=True)
    for old in COVERAGE.glob(f"{session.name}*"):
        old.unlink()
    python = (*inside, f"COVERAGE_FILE={COVERAGE / session.name}", "python")
    pytest(session, "--cov", "--cov-report=", *arguments, python=python)


@nox.session(python=False)
def unit(session: nox.Session) -> None:
    """Tests that need neither root nor a kernel, and the conformance cases; no deep explorations."""
    measured(session, "-n", "2", "-m", "not deep", *(session.posargs or ("tests/unit", "tests/conformance")))


@nox.session(python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """Host code on each supported Python, with the oldest ansible-core. Long tests that depend little on
    Python run on few: the core's tests on the oldest and in the session unit, and broken options on
    the oldest and the newest.
    """
    session.install("--require-hashes", "-r", "tests/requirements/core.txt")
    (package,) = environment(session, "floor", OLDER["floor"]).parent.glob("lib/python3.*/site-packages/ansible")
    alone = pathlib.Path(session.create_tmp())  # only this package, without the controller's libraries
    if not (alone / "ansible").exists():
        (alone / "ansible").symlink_to(package)
    core = ("--hypothesis-profile", "pythons", *CORE) if session.python == PYTHONS[0] else ()
    modules: tuple[str, ...] = ("tests/unit/plugins/module_utils/_module", "tests/unit/plugins/modules")
    if session.python not in (PYTHONS[0], PYTHONS[-1]):
        modules += ("--ignore=tests/unit/plugins/modules/test_ill_typed_options.py",)
    pytest(session, *core, *modules, PYTHONPATH=f"{COLLECTIONS}:{alone}")


@nox.session(name="pythons-i386", python=False)
def pythons_i386(session: nox.Session) -> None:
    """The core on a 32-bit Python, where C structures have another layout; pytest and hypothesis come from Debian."""
    python = pathlib.Path(os.environ["CHECKOUT"], "build", "i386", "usr", "bin", "python3-i386")
    if not python.exists():
        session.skip("tests/setup said why there is no 32-bit Python")
    pytest(session, "--hypothesis-profile", "pythons", *CORE, python=(str(python), "-B"))


def suite(session: nox.Session) -> None:
    """One folder of tests, or the part of it that needs its own lab."""
    pytest(session, *(session.posargs or SUITES[session.name]))


def kernel(session: nox.Session) -> None:
    """The core, the command or the modules on a real kernel: the User-Mode Linux of Debian 12, Debian 13 or the
    newest.
    """
    subject, dummy, name = session.name.partition("-")
    if KERNELS[name] not in str(session.run("tests/lab/lab", "kernels", external=True, silent=True)):
        session.skip(f"kernel {KERNELS[name]} is not available")
    lab = ("tests/lab/lab", "exec", "--kernel", KERNELS[name], "--show", os.environ["VENV"])
    inside = (*lab, "--", "env", f"PYTHONPATH={COLLECTIONS}")
    programs = {key: [f"tests/kernel/{file}" for file in files] for key, files in PROGRAMS.items()}
    others = ["tests/kernel", *(f"--ignore={path}" for paths in programs.values() for path in paths)]
    run = measured if session.name in MEASURED else unmeasured
    run(session, *(session.posargs or programs.get(subject, others)), inside=inside)


@nox.session(python=False)
def browser(session: nox.Session) -> None:
    """The page of an audit in Chromium."""
    from ansible_collections.ipsec.manual.tests.browser import chromium

    if not chromium.find():
        session.skip("tests/setup said why there is no Chromium")
    pytest(session, *(session.posargs or ("tests/browser",)))


for name in SUITES:
    nox.session(name=name, python=False)(suite)
for subject in ("kernel", *PROGRAMS):
    for name in KERNELS:
        nox.session(name=f"{subject}-{name}", python=False)(kernel)


@nox.session(python=False)
def coverage(session: nox.Session) -> None:
    """Coverage of the core by these sessions together."""
    parts = [str(COVERAGE / name) for name in MEASURED]
    session.env["COVERAGE_FILE"] = str(COVERAGE / "all")
    session.run("coverage", "combine", "-q", "--keep", *parts)
    session.run("coverage", "report", f"--fail-under={LEAST}")
    session.run("coverage", "json", "-q", "-o", str(COVERAGE / "all.json"))
    totals = json.loads((COVERAGE / "all.json").read_text(encoding="utf-8"))["totals"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    if branches < LEAST:
        session.error(f"{branches:.1f} % of the branches ran, {LEAST} % are required.")


for core in ("newest", *OLDER):

    @nox.session(name=f"sanity-{core}", python=False)
    def sanity(session: nox.Session, core: str = core) -> None:
        """ansible-test sanity for the installed files: the newest ansible-core with all tests, older
        ones with those that depend on it; on its own Python, the oldest and the newest.
        """
        tools = pathlib.Path(os.environ["VENV"], "bin") if core == "newest" else environment(session, core, OLDER[core])
        # Not the user's home, and one per ansible-core: two that create the same environment at
        # once break it.
        home = HERE / "build" / "home" / core
        cache = home / ".ansible" / "test" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        for version in ("24_2", "25_2"):  # ansible-core 2.19, and 2.20 and 2.21
            (cache / f"get_pip_{version}.py").write_text(GET_PIP, encoding="utf-8")
        for settings in (".config/pip", ".pip"):  # the user's package index or certificate
            if (pathlib.Path.home() / settings).is_dir() and not (home / settings).exists():
                (home / settings).parent.mkdir(parents=True, exist_ok=True)
                (home / settings).symlink_to(pathlib.Path.home() / settings)
        # Its own Python, and the oldest and the newest that it supports; the sessions pythons run the
        # others. Shims of a version manager are not used, since they exist for all versions.
        ends = [["3.9"], [PYTHONS[-1]]] if core == "newest" else [[PYTHONS[0]]]
        folders = [pathlib.Path(path) for path in os.environ["PATH"].split(":")]
        kept = [
            path
            for path in folders
            if path == pathlib.Path("/usr/bin")
            or [minor for minor in PYTHONS if (path / f"python{minor}").exists()] in ends
        ]
        found = ":".join(map(str, (tools, *kept)))
        tests = () if core == "newest" else [word for test in BY_CORE for word in ("--test", test)]
        command = (str(tools / "ansible-test"), "sanity", "--color", "no", *tests, *INSTALLED)
        session.run(*command, env={"HOME": str(home), "PATH": found}, external=True)


for core in OLDER:

    @nox.session(name=f"liar-{core}", python=False)
    def liar(session: nox.Session, core: str = core) -> None:
        """One false answer of each kind, on a controller with an older ansible-core."""
        controller = environment(session, core, OLDER[core]) / "python"
        pytest(session, "-n", "2", "-m", "every_core", "tests/liar/test_liar.py", LIAR_CONTROLLER=str(controller))


@nox.session(name="e2e-cores", python=False)
def e2e_cores(session: nox.Session) -> None:
    """A short story on a real kernel, with each older ansible-core that has a Python; one lab for all of them."""
    cores = {core: environment(session, core, OLDER[core]) for core in OLDER if installed(session, OLDER[core])}
    if not cores:
        session.skip("there is no Python for an older ansible-core")
    paths = json.dumps({core: str(path) for core, path in cores.items()})
    pytest(session, *(session.posargs or ("tests/e2e/test_cores.py",)), CORES=paths)


@nox.session(python=False)
def scripts(session: nox.Session) -> None:
    """Checks of licences, shell scripts (whatever their names), changelog fragments, and GitHub's files."""
    shell = re.compile(rb"#!.*\b(ba)?sh\b")
    listed = str(
        session.run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", external=True, silent=True)
    ).split("\0")
    files = [path for path in map(pathlib.Path, listed) if path.is_file()]
    # In a copy, since reuse takes a cache that another session begins to write meanwhile for files without a licence.
    with tempfile.TemporaryDirectory() as copy:
        for file in files:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy / file)
        session.run("reuse", "--root", copy, "lint", "--lines")
    session.run("shellcheck", *(str(file) for file in files if shell.match(file.read_bytes()[:80])))
    session.run("antsibull-changelog", "lint")
    session.run("zizmor", "--offline", "--quiet", ".github")
    session.run("actionlint", "-no-color", *map(str, HERE.glob(SCHEMAS["github-workflows"])))
    for schema, pattern in SCHEMAS.items():
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, HERE.glob(pattern)))


@nox.session
def docs(session: nox.Session) -> None:
    """The docs site, into build/docs/html, without network access; a warning is an error."""
    session.install("--require-hashes", "-r", "tests/requirements/docs.txt")
    out = HERE / "build" / "docs"
    shutil.rmtree(out, ignore_errors=True)
    (out / "rst").mkdir(mode=0o755, parents=True)
    options = ("--use-current", "--squash-hierarchy", "--no-add-antsibull-docs-version", "--dest-dir", str(out / "rst"))
    session.run("antsibull-docs", "collection", *options, "ipsec.manual")
    for drawing in pathlib.Path("docs/docsite/rst").glob("*.svg"):  # antsibull-docs copies text files only
        shutil.copy(drawing, out / "rst" / "docsite")
    sphinx = ("python", "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "tests/docs")
    session.run(*sphinx, "-d", str(out / "doctrees"), str(out / "rst"), str(out / "html"))
    for schema in pathlib.Path("docs/docsite/rst").glob("*.json"):
        shutil.copy(schema, out / "html" / "docsite")


@nox.session(python="3.12", default=False)
def fuzz(session: nox.Session) -> None:
    """Coverage-guided broken input for the language; `-- --seconds N`."""
    session.install("--require-hashes", "-r", "tests/requirements/fuzz.txt")
    session.run("python", "tests/fuzz/run", *session.posargs)
