# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gates that take more than one command. Each runs in the copy, prints what is wrong, and exits non-zero."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tempfile
import typing as t
from pathlib import Path

import pythons
import sbom
import workspace
import yaml

ARTIFACT_ROOTS = {
    "CHANGELOG.md",
    "CHANGELOG.rst",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "LICENSES",
    "MAINTAINERS",
    "README.md",
    "REUSE.toml",
    "SECURITY.md",
    "changelogs",
    "docs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}
BUILT = {"FILES.json", "MANIFEST.json"}
NOT_PACKED = {".gitignore", ".gitkeep"}
ONLY_OLDER = ("3.8",)  # Pythons that the newest ansible-core does not know any more
REUSE = {"REUSE_ENCODING_MODULE": "charset_normalizer"}
INSTALLED = ("meta/", "playbooks/", "plugins/", "roles/")
DOCUMENTED = ("module", "lookup", "filter", "test", "role")
MACHINE = re.compile(r"/(?:work|farm)/|/root/[.]|/home/\w+/|[.]library/|deb[.]debian[.]org|pypi[.]org|registry[.]npmjs|github[.]com/\w+/\w+/raw")

# ansible-test seeds the environment of each sanity test with a get-pip script it downloads from a host of its own,
# unless this name is in its cache. Python carries a pip: no download is needed.
GET_PIP = """\
import ensurepip, os, subprocess, sys
env = {k: v for k, v in os.environ.items() if k != "GET_PIP"}  # taken before ensurepip, which sets PIP_CONFIG_FILE to null
ensurepip.bootstrap(upgrade=True)
args = [a for a in sys.argv[1:] if not a.startswith("--no-")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "-q", "-U", *args], env=env))
"""


def shell() -> None:
    """shellcheck on every shell script, whatever its name, and on those that ipsec_boot writes."""
    scripts = [name for name in workspace.copied() if _first_line(name).startswith(b"#!") and re.search(rb"\b(ba)?sh\b", _first_line(name))]
    texts = runpy.run_path("plugins/module_utils/_glue_boot_texts.py")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("OPENRC", "SYSVINIT"):
            written = Path(folder, name)
            written.write_bytes(texts["fill"](texts[name], "/etc/inet/secret/ipseckeys", True, True))
            scripts.append(str(written))
        _run("shellcheck", *scripts)


def paths() -> None:
    """No tracked file names a path of somebody's machine or the host of a registry."""
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in workspace.copied()
        for number, line in enumerate(Path(name).read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if MACHINE.search(line)
    ]
    if found:
        sys.exit("\n".join([*found, "A path of one machine, or a registry's host: take it out."]))


def types() -> None:
    """mypy --strict on everything under plugins, by the names that the collection's imports use."""
    os.chdir(workspace.COLLECTIONS)
    root = workspace.COPY.relative_to(workspace.COLLECTIONS)
    options = ("--config-file", str(root / "pyproject.toml"), "--cache-dir", str(workspace.BUILD / "mypy"), "--namespace-packages", "--explicit-package-bases")
    _run("mypy", *options, str(root / "plugins"), MYPYPATH=str(workspace.COLLECTIONS))


def licences() -> None:
    """Copyright and licence of every file."""
    _track_all()
    _run("reuse", "lint", **REUSE)


def artifact() -> None:
    """What users install: holds what it should and nothing else, installs alone, documents every plugin and role, and brings its playbooks."""
    out = workspace.BUILD / "artifact"
    tarball = build(out)
    with tarfile.open(tarball) as archive:
        packed = {member.name for member in archive.getmembers() if not member.isdir()}
    _check_content(packed)
    check_bill(tarball)
    where = {"ANSIBLE_COLLECTIONS_PATH": str(out), "PYTHONPATH": ""}
    _run("ansible-galaxy", "collection", "install", "--offline", "--collections-path", str(out), str(tarball), **where)
    root = out / "ansible_collections" / "ipsec" / "manual"
    _check_action_group(root)
    documented = {kind: _check_documented(kind, where) for kind in DOCUMENTED}
    playbooks = [f"ipsec.manual.{path.stem}" for path in sorted((root / "playbooks").glob("*.yml"))]
    _run("ansible-playbook", "--inventory", "localhost,", "--syntax-check", *playbooks, **where)
    print(f"{tarball.name}: {tarball.stat().st_size // 1024} KiB, documented: {documented}, playbooks: {' '.join(playbooks)}")


def galaxy() -> None:
    """Galaxy's importer on the artifact, without a warning."""
    out = workspace.BUILD / "galaxy"
    tarball = build(out)
    python = environment("galaxy", Path(sys._base_executable), "tests/requirements/galaxy.txt")  # type: ignore[attr-defined]
    # Without its flake8, which reads filters' documentation (.yml) as Python; ruff does its work.
    settings = {"GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true", "GALAXY_IMPORTER_REQUIRE_V1_OR_GREATER": "true", "GALAXY_IMPORTER_RUN_FLAKE8": "false"}
    found_there = {**os.environ, **settings, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    command = [str(python), "-m", "galaxy_importer.main", str(tarball)]
    done = subprocess.run(command, cwd=out, env=found_there, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode or "Importer processing completed successfully" not in done.stdout:
        sys.exit(f"the importer did not come to its end: exit status {done.returncode}")
    findings = [line for line in done.stdout.splitlines() if line.startswith(("WARNING", "ERROR"))]
    if findings:
        sys.exit("\n".join(["Galaxy finds:", *findings]))


def build(out: Path) -> Path:
    """The artifact in a folder that holds nothing else but its bill of materials."""
    shutil.rmtree(out, ignore_errors=True)
    _run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(out))
    (tarball,) = out.glob("*.tar.gz")
    try:
        text = sbom.describe(tarball, _licences_of_files())
    except ValueError as exc:
        sys.exit(f"The bill of materials cannot be made: {exc}")
    sbom.path_for(tarball).write_text(text, encoding="utf-8")
    return tarball


def _licences_of_files() -> dict[str, str]:
    """The SPDX expression of each file that has one."""
    _track_all()
    files = json.loads(_output("reuse", "lint", "--json", **REUSE))["files"]
    return {row["path"]: " AND ".join(sorted({found["value"] for found in row["spdx_expressions"]})) for row in files if row["spdx_expressions"]}


def _check_content(packed: set[str]) -> None:
    """The artifact's files are exactly the repository's under ARTIFACT_ROOTS, and what the build adds."""
    wanted = {name for name in workspace.copied() if name.split("/")[0] in ARTIFACT_ROOTS and Path(name).name not in NOT_PACKED} | BUILT
    problems = [f"{name}: not of the repository, or not for users; see build_ignore in galaxy.yml" for name in sorted(packed - wanted)]
    problems += [f"{name}: lacking" for name in sorted(wanted - packed)]
    if problems:
        sys.exit("\n".join(["The artifact is not what it should be:", *problems]))


def check_bill(tarball: Path) -> None:
    """The bill of materials is valid, and has every file of the artifact with its hash, and every package that the controller needs."""
    text = sbom.path_for(tarball).read_text(encoding="utf-8")
    problems = sbom.problems(text)
    if problems:
        sys.exit(f"The bill of materials is not valid CycloneDX: {problems}")
    listed = {row["name"]: row["hashes"][0]["content"] for row in json.loads(text)["components"] if row["type"] == "file"}
    with tarfile.open(tarball) as archive:
        packed = {member.name: hashlib.sha256(archive.extractfile(member).read()).hexdigest() for member in archive if member.isfile()}
    if listed != packed:
        sys.exit(f"The bill of materials and the artifact differ in: {' '.join(sorted({name for name, dummy in listed.items() ^ packed.items()}))}")


def _check_documented(kind: str, where: dict[str, str]) -> int:
    """How many plugins of a kind, or roles, ansible-doc finds; each must have documentation, and a plugin examples."""
    names = list(json.loads(_output("ansible-doc", "--json", "--list", "-t", kind, "ipsec.manual", **where)))
    found = json.loads(_output("ansible-doc", "--json", "-t", kind, *names, **where)) if names else {}
    lacking = [name for name in names if not (found.get(name) and (kind == "role" or (found[name].get("doc") and found[name].get("examples"))))]
    if lacking:
        sys.exit(f"ansible-doc -t {kind} shows no documentation, or no examples: {' '.join(lacking)}")
    return len(names)


def _check_action_group(root: Path) -> None:
    modules = {path.stem for path in (root / "plugins" / "modules").glob("*.py")}
    group = set(yaml.safe_load((root / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]["ipsec"])
    if modules != group:
        sys.exit(f"The action group ipsec in meta/runtime.yml and plugins/modules differ in: {' '.join(sorted(modules ^ group))}")


def sanity() -> None:
    """ansible-test sanity, all tests, on every Python found here that this ansible-core knows."""
    _sanity(workspace.VENV / "bin", _pythons())


def sanity_older(name: str) -> None:
    """The same with an older ansible-core that we claim, ``floor`` or ``middle`` of tests/requirements.

    They look at what is installed, on their own Python and on those of hosts that the newest does not know; the rest is the newest's.
    """
    only = {version: path for version, path in pythons.found().items() if version in ONLY_OLDER}
    _sanity(_older(name).parent, only, *INSTALLED)


def _sanity(tools: Path, found: dict[str, Path], *arguments: str) -> None:
    home = workspace.VENV / "home"  # its cache is not the user's: the stand-in above must not meet their other collections
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in ("24_2", "25_2"):  # ansible-core 2.19, and 2.20 and 2.21
        (cache / f"get_pip_{version}.py").write_text(GET_PIP, encoding="utf-8")
    for settings in (".config/pip", ".pip"):  # an index or a certificate of the user's
        if (Path.home() / settings).is_dir() and not (home / settings).exists():
            (home / settings).parent.mkdir(parents=True, exist_ok=True)
            (home / settings).symlink_to(Path.home() / settings)
    folders = [str(tools), *(str(path.parent) for path in found.values()), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    environment = {**os.environ, "HOME": str(home), "PATH": ":".join(dict.fromkeys(folders))}
    errors = []
    command = ["ansible-test", "sanity", "--color", "no", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout or ():
            print(line, end="", flush=True)
            if line.startswith(("ERROR", "FATAL")):
                errors.append(line)
    if run.returncode:  # the log's end is what the summary shows
        sys.exit("\nWhat failed, once more:\n" + "".join(errors))


def core(version: str) -> None:
    """The core's own tests on one Python that a target may run: without Ansible, as inside the command on a managed host."""
    _unit_tests(version, *pythons.CORE)


def modules(version: str) -> None:
    """The tests of what goes to a target with the core, on one Python that it may run, with what the oldest ansible-core brings there."""
    alone = workspace.BUILD / "target"  # the one package, without the controller's libraries
    alone.mkdir(exist_ok=True)
    for package in (_floor().parents[1] / "lib").glob("python3.*/site-packages/ansible"):
        link = alone / f"ansible.{version}"
        link.unlink(missing_ok=True)
        link.symlink_to(package)
        link.replace(alone / "ansible")
    _unit_tests(version, "tests/unit/plugins/module_utils/test_glue.py", "tests/unit/plugins/modules", PYTHONPATH=f"{workspace.COLLECTIONS}:{alone}")


def liar(name: str) -> None:
    """One lie of each kind that stand-in hosts tell to a controller with an older ansible-core that we claim, ``floor`` or ``middle``."""
    _run(sys.executable, "-m", "pytest", "-n", "2", "-m", "every_core", "tests/liar/test_liar.py", LIAR_CONTROLLER=str(_older(name)))


def _unit_tests(version: str, *arguments: str, **more: str) -> None:
    python = environment(version, pythons.found()[version], "tests/requirements/core.txt")
    _run(str(python), "-m", "pytest", *arguments, **more)


def _floor() -> Path:
    """A Python that has the oldest ansible-core that we claim."""
    return workspace.PYTHON if sys.version_info < (3, 12) else _older("floor")


def _older(name: str) -> Path:
    """A Python that has an older ansible-core that we claim, ``floor`` or ``middle`` of tests/requirements."""
    able = [path for version, path in pythons.found().items() if version in ("3.11", "3.12", "3.13")]
    if not able:
        sys.exit(f"The ansible-core of tests/requirements/{name}.txt runs on Python 3.11 or 3.12 to 3.13, and none is here: install one.")
    return environment(name, able[-1], f"tests/requirements/{name}.txt")


def _pythons() -> dict[str, Path]:
    found = pythons.found()
    missing = [version for version in pythons.TARGETS if version not in found]
    print(f"Pythons found: {' '.join(found)}", flush=True)
    if missing:
        print(f"NOTE: not tested, since NOT FOUND here: Python {' '.join(missing)}", flush=True)
    return found


def environment(name: str, interpreter: Path, requirements: str) -> Path:
    """The Python of the virtual environment .venv-NAME, made or made anew if its pins are not these.

    Only wheels of these hashes: what builds a package would be fetched without a look at its hash.
    """
    folder = workspace.TOP / f".venv-{name}"
    python = folder / "bin" / "python"
    pins = f"{interpreter}\n{Path(requirements).read_text(encoding='utf-8')}"
    stamp = folder / "stamp"
    with (workspace.BUILD / f"venv-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parts of two lanes may want it at once
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != pins:
            _run(str(interpreter), "-m", "venv", "--clear", str(folder))
            pinned = ("--only-binary", ":all:", "--require-hashes", "-r", requirements)
            if subprocess.run(("uv", "-q", "pip", "install", "--python", str(python), *pinned), check=False).returncode:
                _run(str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", *pinned)
            stamp.write_text(pins, encoding="utf-8")
    return python


def site() -> None:
    """The docs site, into build/docs/html; a warning is an error, and no other site is asked."""
    python = environment("docs", Path(sys.executable), "tests/requirements/docs.txt")
    out = workspace.BUILD / "docs"
    shutil.rmtree(out, ignore_errors=True)
    (out / "rst").mkdir(mode=0o755, parents=True)
    options = ("--use-current", "--squash-hierarchy", "--no-add-antsibull-docs-version", "--dest-dir", str(out / "rst"))
    _run(str(python.with_name("antsibull-docs")), "collection", *options, "ipsec.manual", PATH=f"{python.parent}:{os.environ['PATH']}")
    for drawing in Path("docs/docsite/rst").glob("*.svg"):  # antsibull-docs takes texts only
        shutil.copy(drawing, out / "rst" / "docsite")
    _run(str(python), "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "tests/docs", "-d", str(out / "doctrees"), str(out / "rst"), str(out / "html"))
    print(f"{len(list((out / 'html').rglob('*.html')))} pages, begin with {out / 'html' / 'index.html'}")


def _first_line(name: str) -> bytes:
    with Path(name).open("rb") as file:
        return file.readline()


def _track_all() -> None:
    """reuse looks at ignored files in folders that git does not track."""
    _run("git", "add", "--all")


def _run(*command: str, **environment: str) -> None:
    status = subprocess.run(command, env={**os.environ, **environment}, check=False).returncode
    if status:
        sys.exit(status)


def _output(*command: str, **environment: str) -> str:
    answer = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode:
        sys.exit(f"{' '.join(command)}: exit status {answer.returncode}")
    return answer.stdout


_ALL = (shell, paths, types, licences, artifact, galaxy, sanity, sanity_older, core, modules, liar, site)
CHECKS: dict[str, t.Callable[..., None]] = {check.__name__: check for check in _ALL}


if __name__ == "__main__":
    CHECKS[sys.argv[1]](*sys.argv[2:])
