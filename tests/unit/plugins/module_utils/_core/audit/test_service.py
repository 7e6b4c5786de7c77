# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service at boot, as files and the output of service managers show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ipsec.manual.plugins.module_utils._core.audit import service
from ansible_collections.ipsec.manual.plugins.module_utils._core.audit.service import Place, ServiceFacts
from ansible_collections.ipsec.manual.plugins.module_utils._core.specs import DEFAULT_PATH

UNIT = "ExecStart=/usr/local/sbin/ipseckey -n --allow-reserved-spi --apply /etc/keys --policies /etc/policies\n"


@pytest.mark.parametrize(
    ("platform", "there", "first", "found"),
    [
        ("sunos5", (), "/sbin/init", "smf"),
        (
            "linux",
            ("/run/systemd/system", "/sbin/openrc", "/usr/sbin/update-rc.d"),
            "/usr/lib/systemd/systemd",
            "systemd",
        ),
        ("linux", ("/sbin/openrc", "/usr/sbin/update-rc.d"), "/sbin/init", "openrc"),
        # In an image that was not booted, the installed init will be the first process.
        ("linux", ("/usr/sbin/update-rc.d",), "/usr/lib/systemd/systemd", "systemd"),
        ("linux", ("/usr/sbin/update-rc.d",), "/usr/sbin/init", "sysvinit"),
        ("linux", (), "/bin/busybox", ""),
        ("freebsd14", (), "/sbin/init", ""),
    ],
)
def test_the_service_manager_is_detected(
    monkeypatch: pytest.MonkeyPatch, platform: str, there: tuple[str, ...], first: str, found: str
) -> None:
    monkeypatch.setattr(service.sys, "platform", platform)
    monkeypatch.setattr(service.os.path, "isdir", there.__contains__)
    monkeypatch.setattr(service.os.path, "exists", there.__contains__)
    monkeypatch.setattr(service.os.path, "realpath", lambda dummy: first)
    monkeypatch.setattr(
        service.shutil, "which", lambda name, path: next((path for path in there if path.endswith(name)), None)
    )
    assert service.detect() == found


@pytest.mark.parametrize(
    ("detected", "unit", "script", "found"),
    [
        ("systemd", "", "", "systemd"),
        ("systemd", "", f"#!/bin/sh\n{service.MANAGED}\n", "sysvinit"),
        ("systemd", "", f"#!/sbin/openrc-run\n{service.MANAGED}\n", "openrc"),
        ("systemd", "", "#!/bin/sh\n# of somebody else\n", "systemd"),
        ("systemd", f"{service.MANAGED}\n", f"#!/bin/sh\n{service.MANAGED}\n", "systemd"),
        ("sysvinit", f"{service.MANAGED}\n", "", "systemd"),
        ("openrc", "", f"#!/bin/sh\n{service.MANAGED}\n", "sysvinit"),
        ("sysvinit", "", f"#!/sbin/openrc-run\n{service.MANAGED}\n", "openrc"),
        ("openrc", "", "#!/bin/sh\n# of somebody else\n", "openrc"),
        ("smf", "", f"#!/bin/sh\n{service.MANAGED}\n", "smf"),
        ("", "", f"#!/bin/sh\n{service.MANAGED}\n", "sysvinit"),
    ],
)
def test_the_service_of_a_manager_that_somebody_named_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detected: str, unit: str, script: str, found: str
) -> None:
    paths = {"systemd": tmp_path / "unit", "openrc": tmp_path / "script", "sysvinit": tmp_path / "script"}
    for path, text in ((paths["systemd"], unit), (paths["sysvinit"], script)):
        if text:
            path.write_text(text)
    for manager, path in paths.items():
        monkeypatch.setitem(service.PLACES, manager, Place(str(path), str(tmp_path / "link")))
    monkeypatch.setattr(service, "detect", lambda: detected)
    assert service.serving() == found


@pytest.mark.parametrize(
    ("output", "state"),
    [
        ("active\n", "active"),
        ("inactive\n", "inactive"),
        ("failed\n", "failed"),
        ("activating\n", "unknown"),
        ("", "unknown"),  # no systemctl
    ],
)
def test_a_unit_is_described_by_its_file_its_link_and_systemctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, state: str
) -> None:
    place = Place(str(tmp_path / "unit"), str(tmp_path / "wants"))
    monkeypatch.setattr(service, "detect", lambda: "systemd")
    monkeypatch.setattr(service, "_output", lambda *command: output)
    monkeypatch.setitem(service.PLACES, "systemd", place)
    assert service.look() == ServiceFacts("systemd")
    Path(place.path).write_text(UNIT)
    assert service.look() == ServiceFacts("systemd", True, False, state, "/etc/keys", "/etc/policies")
    Path(place.link).symlink_to(place.path)
    assert service.look().enabled


@pytest.mark.parametrize(
    ("there", "state"), [((), "inactive"), (("started",), "active"), (("started", "failed"), "failed")]
)
def test_openrc_keeps_the_state_in_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], state: str
) -> None:
    script = tmp_path / "script"
    script.write_text('file="/etc/keys"\npolicies=""\n')
    monkeypatch.setattr(service, "detect", lambda: "openrc")
    monkeypatch.setitem(service.PLACES, "openrc", Place(str(script), str(tmp_path / "boot")))
    states = tuple((word, str(tmp_path / link)) for word, link in (("failed", "failed"), ("active", "started")))
    monkeypatch.setattr(service, "_OPENRC_STATES", states)
    for name in there:
        (tmp_path / name).touch()
    assert service.look() == ServiceFacts("openrc", True, False, state, "/etc/keys", "")


def test_sysvinit_cannot_tell_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script"
    script.write_text('file="/etc/keys"\npolicies="/etc/policies"\n')
    monkeypatch.setattr(service, "detect", lambda: "sysvinit")
    monkeypatch.setitem(service.PLACES, "sysvinit", Place(str(script), str(tmp_path / "S??ipseckeys")))
    (tmp_path / "S03ipseckeys").touch()
    assert service.look() == ServiceFacts("sysvinit", True, True, "unknown", "/etc/keys", "/etc/policies")


def test_a_host_without_a_known_service_manager_has_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "detect", lambda: "")
    assert service.look() == ServiceFacts("")


@pytest.mark.parametrize(("state", "word"), [("online", "active"), ("disabled", "inactive"), ("maintenance", "failed")])
def test_properties_of_smf(state: str, word: str) -> None:
    properties = (
        f"config/config_file astring /etc/keys\ngeneral/enabled boolean true\nrestarter/state astring {state}\n"
    )
    assert service.read_smf(properties) == ServiceFacts("smf", True, True, word, "/etc/keys")
    assert service.read_smf("") == ServiceFacts("smf", False, False, "unknown", DEFAULT_PATH)
