# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service ipseckeys, as text for each service manager that starts it from one. Words between @ are filled in;
a line that holds nothing but an empty one is dropped. `audit.service.says` reads what was filled in.
"""

from __future__ import annotations

import re

from ..._core.audit import service

COMMAND = "/usr/local/sbin/ipseckey"

HEAD = f"""\
# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

{service.MANAGED}"""

SYSTEMD = """\
@HEAD@

[Unit]
Description=Manual IPsec security associations
Documentation=man:ipseckey(8)
@CONDITION@
# Before any interface is configured. Not stopped at shutdown, or when another target is isolated: what is still sent
# then needs the SAs too.
DefaultDependencies=no
IgnoreOnIsolate=yes
RequiresMountsFor=@MOUNTS@ @DUE@
After=local-fs.target systemd-modules-load.service systemd-sysctl.service
Before=network-pre.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=60
# A wrong file changes no SA. Whoever wrote the file decided about reserved SPIs and shared keys.
ExecStart=@COMMAND@ -n --allow-reserved-spi --allow-shared-key --apply @WHAT@ @ROTATION_DUE@
ExecReload=@COMMAND@ -n --allow-reserved-spi --allow-shared-key --apply @WHAT@
ExecStop=@COMMAND@ -n --remove @WHAT@
# The names of what was loaded, never keys.
RuntimeDirectory=ipseckey
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
@STATE@
UMask=0077

# Netlink to change SAs, and root's own files to read. The kernel loads the modules that it lacks by itself.
CapabilityBoundingSet=CAP_NET_ADMIN
RestrictAddressFamilies=AF_NETLINK
IPAddressDeny=any
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
DevicePolicy=closed

[Install]
WantedBy=sysinit.target
"""

OPENRC = """\
#!/sbin/openrc-run
@HEAD@
# shellcheck shell=sh disable=SC2034

description="Loads manual IPsec security associations before the network is up"
description_reload="Brings the difference between file and kernel to the kernel"
extra_started_commands="reload"
program="@COMMAND@"
file="@FILE@"
policies="@POLICIES@"
due="@DUE@"

depend() {
    # Debian and Devuan have mountall and networking of SysV init in the place of localmount and net;
    # what is needed but not there keeps a service from starting.
    use localmount mountall
    after modules kmod sysctl procps
    before net networking
    # What is still sent then needs the SAs too.
    keyword -shutdown
}

# What went wrong goes to the console, and to the kernel's log, since nothing else keeps what is said at boot.
ipseckey() {
    messages=$("$program" -n --allow-reserved-spi --allow-shared-key "$@" 2>&1) && status=0 || status=$?
    [ -z "$messages" ] || printf '\\n%s\\n' "$messages" | while IFS= read -r line; do
        printf '%s\\n' "$line"
        [ "$line" = "${line#ipseckey: }" ] || [ ! -w /dev/kmsg ] || printf '<4>%s\\n' "$line" >/dev/kmsg
    done
    return "$status"
}

start() {
    [ -e "$file" ] || [ -n "$policies" ] || {
        einfo "$file does not exist; nothing to load"
        return 0
    }
    ebegin "Loading $file"
    ipseckey --apply "$file" ${policies:+--policies "$policies"} ${due:+--rotation-due "$due"}
    eend $?
}

reload() {
    ebegin "Bringing the changes of $file to the kernel"
    ipseckey --apply "$file" ${policies:+--policies "$policies"}
    eend $?
}

# Whether anything was loaded that must be removed, even if the files are gone.
recorded() {
    grep -qsF -e "\\"$file\\":" -e "\\"${policies:-$file without policies}\\":" \\
        /run/ipseckey/loaded /run/ipseckey/policies
}

stop() {
    [ -e "$file" ] || recorded || return 0
    # A start follows, until which traffic would leave unencrypted.
    [ "${RC_CMD:-}" != restart ] || {
        reload
        return
    }
    ebegin "Removing the security associations of $file"
    ipseckey --remove "$file" ${policies:+--policies "$policies"}
    eend $?
}
"""

SYSVINIT = """\
#!/bin/sh
@HEAD@

### BEGIN INIT INFO
# Provides:          ipseckeys
# Required-Start:    $local_fs
# Required-Stop:
# Should-Start:      kmod procps
# X-Start-Before:    $network networking ifupdown
# Default-Start:     S
# Default-Stop:
# Short-Description: Manual IPsec security associations
# Description:       Loads @FILE@ before the network is up.
### END INIT INFO

PATH=/usr/sbin:/usr/bin:/sbin:/bin
program="@COMMAND@"
file="@FILE@"
policies="@POLICIES@"
due="@DUE@"

# What went wrong goes to the caller, and to the kernel's log, since syslogd may not run yet.
ipseckey() {
    messages=$("$program" -n --allow-reserved-spi --allow-shared-key "$@" 2>&1) && status=0 || status=$?
    [ -z "$messages" ] || printf '%s\\n' "$messages" | while IFS= read -r line; do
        printf '%s\\n' "$line"
        [ "$line" = "${line#ipseckey: }" ] || [ ! -w /dev/kmsg ] || printf '<4>%s\\n' "$line" >/dev/kmsg
    done
    return "$status"
}

# Whether anything was loaded that must be removed, even if the files are gone.
recorded() {
    grep -qsF -e "\\"$file\\":" -e "\\"${policies:-$file without policies}\\":" \\
        /run/ipseckey/loaded /run/ipseckey/policies
}

[ -e "$file" ] || recorded || [ "$1" = status ] || { [ -n "$policies" ] && [ "$1" != stop ]; } || {
    echo "$file does not exist; nothing to do"
    exit 0
}
case "$1" in
    start) ipseckey --apply "$file" ${policies:+--policies "$policies"} ${due:+--rotation-due "$due"} ;;
    reload | restart | force-reload) ipseckey --apply "$file" ${policies:+--policies "$policies"} ;;
    stop) ipseckey --remove "$file" ${policies:+--policies "$policies"} ;;
    status)
        # As LSB has it: 0 runs, 3 does not.
        ipseckey --compare "$file" ${policies:+--policies "$policies"} || exit 3
        ;;
    *)
        echo "Usage: $0 start|stop|restart|reload|force-reload|status" >&2
        exit 2
        ;;
esac
"""


def fill(text: str, file: str, policies_file: str, ask_for_rotation: bool) -> bytes:
    """The service that loads ``file``, and ``policies_file``, empty for none."""
    words = {
        "HEAD": HEAD,
        "COMMAND": COMMAND,
        "FILE": file,
        "POLICIES": policies_file,
        "MOUNTS": f"{file} {policies_file}".rstrip(),
        "DUE": service.ROTATION_DUE if ask_for_rotation else "",
        "WHAT": f"{file} --policies {policies_file}" if policies_file else file,
        "ROTATION_DUE": f"--rotation-due {service.ROTATION_DUE}" if ask_for_rotation else "",
        # Policies are loaded even without SAs, and the service then fails.
        "CONDITION": "" if policies_file else f"ConditionPathExists={file}",
        "STATE": "StateDirectory=ipseckey\nStateDirectoryMode=0700" if ask_for_rotation else "",
    }
    filled = re.sub(
        "^@([A-Z_]+)@\n|@([A-Z_]+)@",  # in one pass, since paths may contain such words, too
        lambda found: words[found[2]] if found[2] else words[found[1]] and f"{words[found[1]]}\n",
        text,
        flags=re.M,
    )
    return re.sub(" +$", "", filled, flags=re.M).encode("ascii")
