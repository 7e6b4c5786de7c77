# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of findings: everything that an audit can find, how bad it is, and why. ``what`` has placeholders in
braces. `remedies` has how to fix each of them.
"""

from __future__ import annotations

import typing as t

INFO, LOW, MEDIUM, HIGH = SEVERITIES = ("info", "low", "medium", "high")
NONE = "none"

_GUIDE = "Solaris guide, security considerations: "
_FILE = "the protected file of keys"


class Kind(t.NamedTuple):
    """One row of the table. ``group`` is the heading of the documentation."""

    group: str
    severity: str
    what: str
    why: str


KEYS, TRAFFIC, FILES, WAYS, BOOT, OTHERS = "keys", "traffic", "files", "ways", "boot and machine", "others"

KINDS: t.Mapping[str, Kind] = {
    "key-age": Kind(
        KEYS,
        MEDIUM,
        "the keys are {age} days old, and the limit is {limit} days",
        _GUIDE + "keying material should be refreshed periodically, which limits the damage of an exposed key.",
    ),
    "key-age-unknown": Kind(
        KEYS,
        INFO,
        "the age of the keys is unknown",
        _GUIDE + "is the keying material refreshed periodically?",
    ),
    "due-packets": Kind(
        KEYS,
        MEDIUM,
        "{used} % of the packets of an SA are used up",
        "RFC 4303 section 3.3.3: the sequence number must not cycle, so the SA sends nothing after the last one.",
    ),
    "due-bytes": Kind(
        KEYS,
        MEDIUM,
        "{used} % of the bytes of an SA are used up",
        "RFC 4301 section 4.4.2.1: an SA ends when its lifetime in bytes is used up.",
    ),
    "due-blocks": Kind(
        KEYS,
        MEDIUM,
        "an SA encrypted {used} % of the 2^20 blocks of 64 bits that are advised for one key",
        "RFC 4301 section 4.4.2.1 asks for a lifetime in bytes; NIST SP 800-67 advises 2^20 blocks for 3DES, since"
        " equal blocks show parts of the plaintext.",
    ),
    "due-now": Kind(
        KEYS,
        HIGH,
        "{used} % of the {what} of an SA are used up: it is about to end",
        "RFC 4303 section 3.3.3: the sequence number must not cycle. RFC 4301 section 4.4.2.1: at the end of its"
        " lifetime, an SA must not be used.",
    ),
    "key-reloaded": Kind(
        KEYS,
        MEDIUM,
        "the SAs were loaded again with keys that had been in use before, so their counters restarted",
        "RFC 4303 section 3.3.3: anti-replay and the limit of packets assume that a key is used with one run of the"
        " counter.",
    ),
    "generation-behind": Kind(
        KEYS,
        HIGH,
        "the host holds generation {mine}, its peer {theirs}",
        "Solaris guide, replacing SAs: keys are replaced on every system that communicates with this one.",
    ),
    "peers-differ": Kind(
        KEYS,
        HIGH,
        "the two hosts hold different SAs",
        "Solaris guide, creating SAs: both systems need the same key information.",
    ),
    "agreement-unknown": Kind(
        KEYS,
        INFO,
        "whether both hosts hold the same keys is unknown",
        "Solaris guide, creating SAs: both systems need the same key information.",
    ),
    "no-sas": Kind(
        KEYS,
        HIGH,
        "the host holds no SAs for this pair",
        "RFC 4301 section 4.4.1: traffic that needs an SA is dropped without one, and other traffic is not protected.",
    ),
    "drift-keystore": Kind(
        KEYS,
        HIGH,
        "the kernel's SAs belong to no generation in the keystore",
        "RFC 4301 section 4.4.2: the SAD records what is protected, and how; keys that are not recorded cannot be"
        " renewed.",
    ),
    "drift-file": Kind(
        KEYS,
        MEDIUM,
        "the kernel's SAs are not those of the file, so after a reboot the host has other ones, or none",
        "Solaris guide, creating SAs: the file is what survives a reboot.",
    ),
    "drift-file-keystore": Kind(
        KEYS,
        MEDIUM,
        "the file holds {detail} of this pair, but the keystore has generation {theirs}, so after a reboot the host"
        " does not have the SAs of the keystore",
        "Solaris guide, creating SAs: both systems need the same key information, and the file is what survives a"
        " reboot.",
    ),
    "rotation-unfinished": Kind(
        KEYS,
        MEDIUM,
        "a rotation of the connection {place} is not finished (phase {detail})",
        "Solaris guide, replacing SAs: keys are replaced on every system, or communication ends.",
    ),
    "key-shared": Kind(
        KEYS,
        HIGH,
        "two SAs have the same key: {detail}",
        "Solaris guide, creating SAs: each SA has a key of its own. RFC 4107 section 2.1: keys that many share are a"
        " case for automated key management.",
    ),
    "key-retired": Kind(
        KEYS,
        HIGH,
        "a key is in use that the keystore has retired",
        _GUIDE + "refreshing keys limits what an exposed key is worth, unless the key is used again.",
    ),
    "spi-shared": Kind(
        KEYS,
        LOW,
        "two SAs of the host have the same SPI: {detail}",
        "Solaris guide, creating SAs: each SA has an SPI of its own. RFC 4301 section 4.1: the SPI tells SAs apart.",
    ),
    "algorithm-must-not": Kind(
        KEYS,
        HIGH,
        "{detail} is in use, which an RFC forbids",
        "RFC 8221 sections 5 and 6: MUST NOT.",
    ),
    "algorithm-should-not": Kind(
        KEYS,
        LOW,
        "{detail} is in use, which an RFC advises against",
        "RFC 8221 sections 5 and 6: SHOULD NOT, or a MUST that is expected to end.",
    ),
    "no-integrity": Kind(
        KEYS,
        HIGH,
        "ESP encrypts without integrity",
        "RFC 8221 section 4: encryption without authentication MUST NOT be used.",
    ),
    "integrity-by-ah": Kind(
        KEYS,
        INFO,
        "ESP has no integrity of its own, AH provides it",
        "RFC 8221 section 4: using AH for it is NOT RECOMMENDED.",
    ),
    "counter-mode": Kind(
        KEYS,
        HIGH,
        "{detail} has a static key",
        "RFC 8221 section 3: manual keys MUST NOT be used with counter modes, which break when a nonce repeats.",
    ),
    "keys-hidden": Kind(
        KEYS,
        INFO,
        "the kernel hides keys (lockdown), so its SAs are compared without them",
        "RFC 4301 section 4.4.2: the SAD holds the keys; this kernel does not show them.",
    ),
    "keystore-unread": Kind(
        KEYS,
        INFO,
        "the keystore was not read, so generations, drift from it and retired keys are unknown: {detail}",
        _GUIDE + "is the keying material refreshed periodically?",
    ),
    "no-policy": Kind(
        TRAFFIC,
        HIGH,
        "no policy uses {detail} of the outbound SAs, so their traffic leaves unprotected",
        "RFC 4301 section 4.4.1: the SPD decides which traffic is protected, SAs alone protect nothing.",
    ),
    "no-inbound-policy": Kind(
        TRAFFIC,
        HIGH,
        "no policy requires {detail} of the inbound SAs, so unprotected packets are accepted as well",
        "RFC 4301 section 5.2: inbound packets must be checked against the SPD.",
    ),
    "policy-without-sa": Kind(
        TRAFFIC,
        MEDIUM,
        "a policy requires an SA that does not exist, so its traffic is dropped: {place}",
        "RFC 4301 section 4.4.1: traffic that a policy protects needs an SA.",
    ),
    "level-use": Kind(
        TRAFFIC,
        MEDIUM,
        "a policy lets traffic pass unprotected when there is no SA (level use): {place}",
        "RFC 4301 section 4.4.1: traffic is discarded, bypassed or protected; level use turns protection"
        " into bypass.",
    ),
    "integrity-failures": Kind(
        TRAFFIC,
        MEDIUM,
        "{detail} packets had a wrong integrity check value",
        "RFC 4303 section 3.4.4.1: such packets are discarded, which is an auditable event. Either the two hosts have"
        " different keys, or packets were changed on their way, by a faulty device or on purpose.",
    ),
    "replayed": Kind(
        TRAFFIC,
        MEDIUM,
        "{detail} packets arrived twice or too late",
        "RFC 4303 section 3.4.3: such packets are discarded, which is an auditable event. Most often the network"
        " reordered or duplicated them; an attacker who sends copies looks the same.",
    ),
    "no-state-packets": Kind(
        TRAFFIC,
        LOW,
        "{detail} more packets arrived since the previous audit for SAs that do not exist ({place})",
        "RFC 4301 section 5.2: such packets are discarded, which is an auditable event. A peer has other SAs, or a"
        " rotation had just removed theirs.",
    ),
    "counter-rose": Kind(
        TRAFFIC,
        LOW,
        "the counter {place} rose by {detail} since the previous audit",
        "RFC 4301 section 5: discarding a packet is an auditable event.",
    ),
    "counter-expected": Kind(
        TRAFFIC,
        INFO,
        "the counter {place} rose by {detail} since the previous audit, as it does in normal operation",
        "RFC 4301 section 5: discarding a packet is an auditable event.",
    ),
    "file-world-readable": Kind(
        FILES,
        HIGH,
        f"everybody can read {_FILE} ({{detail}})",
        _GUIDE + "is the file readable by the world?",
    ),
    "file-mode": Kind(
        FILES,
        HIGH,
        f"others than root can use {_FILE} ({{detail}})",
        _GUIDE + "who can read the file?",
    ),
    "file-owner": Kind(
        FILES,
        HIGH,
        f"{_FILE} belongs to {{detail}}",
        _GUIDE + "who can read the file?",
    ),
    "file-path": Kind(
        FILES,
        HIGH,
        f"the way to {_FILE} is not safe: {{place}}: {{detail}}",
        _GUIDE + "who can read the file?",
    ),
    "file-acl": Kind(
        FILES,
        HIGH,
        "an access list gives others access to {place}: {detail}",
        _GUIDE + "who can read the file?",
    ),
    "file-links": Kind(
        FILES,
        MEDIUM,
        f"{_FILE} has other names ({{detail}})",
        _GUIDE + "who can read the file?",
    ),
    "file-network": Kind(
        FILES,
        HIGH,
        f"{_FILE} is on a network: {{detail}}",
        _GUIDE + "a file on a network mount can be seen in transit.",
    ),
    "file-system-unknown": Kind(
        FILES,
        MEDIUM,
        "the type of the file system of {place} is unknown",
        _GUIDE + "a file on a network mount can be seen in transit.",
    ),
    "file-copy": Kind(
        FILES,
        HIGH,
        "a possible copy of the keys is beside them: {place} ({detail})",
        _GUIDE + "who can read the file? A copy may have other readers.",
    ),
    "file-leftover": Kind(
        FILES,
        LOW,
        "a rotation that was interrupted left {place}",
        _GUIDE + "who can read the file? Keys belong in one file only.",
    ),
    "file-missing": Kind(
        FILES,
        MEDIUM,
        f"{_FILE} is missing, so after a reboot there are no SAs",
        "Solaris guide, creating SAs: the file is what survives a reboot.",
    ),
    "file-invalid": Kind(
        FILES,
        HIGH,
        f"{_FILE} cannot be loaded: {{detail}}",
        "Solaris guide, creating SAs: keys have the length that the algorithm needs, and the file is what survives a"
        " reboot.",
    ),
    "file-names": Kind(
        FILES,
        MEDIUM,
        f"{_FILE} contains a host name instead of an address: {{detail}}",
        _GUIDE + "names are looked up, and a naming system may be compromised.",
    ),
    "key-in-history": Kind(
        FILES,
        HIGH,
        "a shell history holds what looks like keys: {place} ({detail})",
        _GUIDE + "whoever sees the commands sees the keys.",
    ),
    "key-in-script": Kind(
        FILES,
        HIGH,
        "a file below /etc holds what looks like keys: {place} ({detail})",
        _GUIDE + "who can read the file? Keys belong in the protected file only.",
    ),
    "transport-clear": Kind(
        WAYS,
        HIGH,
        "Ansible reaches the host over {detail}, which is not known to encrypt",
        _GUIDE + "does the terminal cross a network? telnet and rlogin show everything to others.",
    ),
    "host-key-unchecked": Kind(
        WAYS,
        HIGH,
        "Ansible does not check the host's key",
        "RFC 4251 section 4.1: without checking the host key, the connection is open to a man in the middle.",
    ),
    "login-clear": Kind(
        WAYS,
        HIGH,
        "{place} is logged in without encryption: {detail}",
        _GUIDE + "does the terminal cross a network? A clear-text login lowers the security of everything to its own.",
    ),
    "server-clear": Kind(
        WAYS,
        MEDIUM,
        "the host accepts logins without encryption: {place}, {detail}",
        _GUIDE + "does the terminal cross a network?",
    ),
    "name-resolved": Kind(
        WAYS,
        LOW,
        "the host is reached by a name that a network service resolves: {detail}",
        _GUIDE + "are host names used? The naming system may be compromised.",
    ),
    "facts-change-inputs": Kind(
        WAYS,
        HIGH,
        "the host reports facts that have the names of inputs: {detail}",
        "RFC 4301 section 4.4: the databases are under the administrator's control, not under that of a peer.",
    ),
    "service-absent": Kind(
        BOOT,
        MEDIUM,
        "no service loads the SAs at boot",
        "Solaris guide, creating SAs: what is not loaded at boot is lost with a reboot.",
    ),
    "service-disabled": Kind(
        BOOT,
        MEDIUM,
        "the service that loads the SAs is not enabled",
        "Solaris guide, creating SAs: what is not loaded at boot is lost with a reboot.",
    ),
    "service-failed": Kind(
        BOOT,
        HIGH,
        "the service that loads the SAs has failed",
        "RFC 4301 section 4.4.1: without SAs, protected traffic is dropped.",
    ),
    "service-other-file": Kind(
        BOOT,
        MEDIUM,
        "the service loads another file: {place}",
        "Solaris guide, creating SAs: the file is what survives a reboot.",
    ),
    "service-without-policies": Kind(
        BOOT,
        MEDIUM,
        "the service loads {place} and no policies, although policies of the kernel guard SAs now (number: {detail}):"
        " after a reboot the traffic of these SAs leaves unencrypted, unless something else adds the policies",
        "RFC 4301 section 4.4.1: the SPD decides what is protected; without a policy, traffic bypasses IPsec.",
    ),
    "service-overridden": Kind(
        BOOT,
        MEDIUM,
        "a drop-in of systemd replaces commands of the service, which may load something else: {place}",
        "Solaris guide, creating SAs: the file is what survives a reboot.",
    ),
    "file-newer": Kind(
        BOOT,
        MEDIUM,
        f"{_FILE} is newer than what is loaded, and has other SAs for {{detail}}",
        "Solaris guide, creating SAs: the file and the kernel hold the same SAs.",
    ),
    "clock-offset": Kind(
        BOOT,
        LOW,
        "the clock is {detail} s off the controller's",
        "RFC 4301 section 4.4.2.1: lifetimes count in seconds; ages and instants are wrong if the clock is.",
    ),
    "swap": Kind(
        BOOT,
        LOW,
        "memory may reach a disk unencrypted: swap on {place}",
        _GUIDE + "whoever obtains the keys can read the traffic; programs have them in memory.",
    ),
    "core-dumps": Kind(
        BOOT,
        LOW,
        "a crash writes the memory of a program to a file: {detail}",
        _GUIDE + "whoever obtains the keys can read the traffic; programs have them in memory.",
    ),
    "others-sas": Kind(
        OTHERS,
        INFO,
        "the kernel has {detail} SAs that belong to no connection of the inventory",
        "RFC 4301 section 4.4.2: the SAD may hold SAs of several managers, such as an IKE daemon.",
    ),
    "others-file": Kind(
        OTHERS,
        LOW,
        f"{_FILE} has SAs for {{detail}} pairs of addresses that are in no connection of the inventory, and the kernel"
        " does not have them: they are loaded at the next boot",
        "Solaris guide, creating SAs: the file is what survives a reboot. Keys that nobody renews stay in it.",
    ),
    "others-policies": Kind(
        OTHERS,
        INFO,
        "the kernel has {detail} policies that belong to no connection of the inventory",
        "RFC 4301 section 4.4.1: the SPD may hold policies of several managers.",
    ),
    "absent": Kind(
        OTHERS,
        MEDIUM,
        "the host did not answer, so nothing is known about it: {detail}",
        "Solaris guide, replacing SAs: every system that communicates counts.",
    ),
    "unread": Kind(
        OTHERS,
        MEDIUM,
        "a part of the audit failed: {detail}",
        "RFC 4301 section 4.4: the administrator must be able to see the databases; what cannot be seen is not"
        " audited.",
    ),
}
