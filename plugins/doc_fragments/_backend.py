# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is private to the collection and may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Options and notes of the modules that talk to a kernel."""

    DOCUMENTATION = r"""
options:
  backend:
    description:
      - How to reach the kernel's security association database (SADB).
      - V(auto) chooses by the target's platform.
      - V(xfrm) speaks NETLINK_XFRM to a Linux kernel.
      - V(solaris) drives the prompt of C(/usr/sbin/ipseckey) of Solaris and illumos, which keeps
        keys out of command lines and files, and reads the SADB back after each change, since that
        command ends with status 0 even after an error.
      - V(pfkey) speaks PF_KEY v2 (RFC 2367) over a raw socket, to FreeBSD and NetBSD, and on
        request to Linux (module C(af_key)) and illumos. If the system's PF_KEY cannot express an
        option, the option is refused by name. On Linux it has no marks, XFRM interfaces, ESN, or
        combined ciphers, no replay window above 32 packets, and HMAC-SHA-256 only with an ICV of 96
        bits.
    type: str
    choices: [auto, xfrm, solaris, pfkey]
    default: auto
requirements:
  - Python 3.8 or later on the target, nothing else.
  - On Linux, a kernel with XFRM, ESP and AH (modules C(xfrm_user), C(esp4), C(esp6), C(ah4),
    C(ah6)) and the capability CAP_NET_ADMIN.
  - On Solaris and illumos, C(/usr/sbin/ipseckey), and root.
  - On FreeBSD and NetBSD, a kernel with IPsec, and root.
"""

    SECRETS = r"""
options: {}
notes:
  - Keys appear in no result, difference, warning, or error; fingerprints replace them. A
    fingerprint is the first 16 hex digits of SHA-256 over a fixed label, the algorithm and the key.
    For a key of fewer than 112 bits it is the word C(short-key), since such a key could be
    found from its fingerprint.
  - Its tasks run pipelined, whatever C(ansible_pipelining) says, since Ansible would otherwise
    store their keys in a temporary file of the target. They fail if the connection plugin or the
    become method cannot pipeline, or if C(ANSIBLE_KEEP_REMOTE_FILES) is set.
  - A key in an option that is not for keys, and an option that does not exist, are refused on the
    controller, since Ansible would show their values.
"""

    DIGEST = r"""
options:
  digest_key:
    description:
      - A secret of this run, as 64 hex digits. With it, digest covers every key and can be compared
        between hosts of this run only. It is HMAC-SHA-256, cut to 32 hex digits.
      - Without it, keys of fewer than 112 bits are left out of digests, since anyone who reads
        those could test guesses. Only DES and Blowfish have such keys.
      - Create a new one for each run with P(ipsec.manual.ipsec_key#lookup) for V(hmac-sha256), and
        do not store it.
    type: str
"""

    COUNTER_MODE = r"""
options:
  allow_static_counter_mode:
    description:
      - Whether to accept AES-GCM, AES-CCM, AES-GMAC, AES-CTR, and ChaCha20-Poly1305.
      - With static keys these repeat nonces as soon as a key is loaded a second time, which breaks
        them. See RFC 8221, section 3.
      - Not needed for removing such SAs.
    type: bool
    default: false
"""

    RESERVED_SPI = r"""
options:
  allow_reserved_spi:
    description:
      - Whether to accept the SPIs 1 to 255, which IANA reserves (RFC 4303, section 2.1).
      - Only for a peer that dictates such a number, as some routers do for OSPFv3.
      - Not needed for removing such SAs.
    type: bool
    default: false
"""

    SHARED_KEY = r"""
options:
  allow_shared_key:
    description:
      - Whether to accept one key in several SAs, for the same algorithm. They may be in one text, or
        one of them may already be in the kernel or in the file.
      - Only for a peer that dictates it, such as an IMS core (3GPP TS 33.203). Whoever finds the key
        can then read and forge the packets of all these SAs.
      - A key of a counter-mode cipher is never accepted twice with one salt, nor one key for two algorithms.
      - Not needed for removing such SAs.
    type: bool
    default: false
"""
