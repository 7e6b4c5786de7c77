# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of setkey(8) that scripts for two hosts use, since Debian has that program no more: statements on
standard input become the PF_KEY messages (RFC 2367, and KAME's for policies) that it sends, byte by byte and
without our core:

    add SOURCE DESTINATION esp|ah SPI [-m MODE] [-u REQID] [-E rijndael-cbc 0xKEY] -A hmac-sha1 0xKEY;
    spdadd SOURCE/BITS DESTINATION/BITS any -P in|out|fwd ipsec esp/MODE/[SOURCE-DESTINATION]/LEVEL ...;

LEVEL is `require` or `unique:REQID`. As setkey does by default, an inbound policy brings one for forwarded
packets with it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
import typing as t

AF_KEY, PF_KEY_V2 = 15, 2
ADD, SPDADD = 3, 14
SATYPES = {"any": 0, "ah": 2, "esp": 3}
PROTOCOLS = {"ah": 51, "esp": 50}
MODES = {"any": 0, "transport": 1, "tunnel": 2}
DIRECTIONS = {"in": 1, "out": 2, "fwd": 3}
CIPHERS, HASHES = {"rijndael-cbc": 12}, {"hmac-sha1": 3}
SA, SOURCE, DESTINATION, AUTH_KEY, ENCRYPTION_KEY, POLICY, SA2 = 1, 5, 6, 8, 9, 18, 19
MATURE, ANY, IPSEC = 1, 255, 2
REQUIRE, UNIQUE = 2, 3


def extension(kind: int, body: bytes) -> bytes:
    whole = struct.pack("=HH", 0, kind) + body
    whole += bytes(-len(whole) % 8)
    return struct.pack("=H", len(whole) // 8) + whole[2:]


def sockaddr(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    if address.version == 4:
        return struct.pack("=H2x4s8x", socket.AF_INET, address.packed)
    return struct.pack("=H6x16s4x", socket.AF_INET6, address.packed)


def endpoint(kind: int, text: str, protocol: int) -> bytes:
    interface = ipaddress.ip_interface(text)
    return extension(kind, struct.pack("=BB2x", protocol, interface.network.prefixlen) + sockaddr(str(interface.ip)))


def key(kind: int, word: str) -> bytes:
    value = bytes.fromhex(word[2:])
    return extension(kind, struct.pack("=H2x", len(value) * 8) + value)


def add(source: str, destination: str, protocol: str, spi: str, *options: str) -> tuple[int, int, list[bytes]]:
    mode, reqid, cipher, digest, keys = "any", "0", 0, 0, []
    words = iter(options)
    for option in words:
        if option == "-m":
            mode = next(words)
        elif option == "-u":
            reqid = next(words)
        elif option == "-E":
            cipher = CIPHERS[next(words)]
            keys.append(key(ENCRYPTION_KEY, next(words)))
        elif option == "-A":
            digest = HASHES[next(words)]
            keys.insert(0, key(AUTH_KEY, next(words)))
    fields = struct.pack("!I", int(spi, 0)) + struct.pack("=BBBBI", 0, MATURE, digest, cipher, 0)
    return (
        ADD,
        SATYPES[protocol],
        [
            extension(SA, fields),
            extension(SA2, struct.pack("=B3xII", MODES[mode], 0, int(reqid))),
            endpoint(SOURCE, source, 0),
            endpoint(DESTINATION, destination, 0),
            *keys,
        ],
    )


def request(word: str) -> bytes:
    protocol, mode, ends, level = word.split("/")
    name, dummy, reqid = level.partition(":")
    addresses = b"".join(map(sockaddr, ends.split("-"))) if ends else b""
    fields = (PROTOCOLS[protocol], MODES[mode], UNIQUE if name == "unique" else REQUIRE, int(reqid or 0))
    return struct.pack("=HHBB2xII", 16 + len(addresses), *fields, 0) + addresses


def spdadd(source: str, destination: str, *words: str) -> t.Iterator[tuple[int, int, list[bytes]]]:
    direction = words[2]
    for each in ("in", "fwd") if direction == "in" else (direction,):
        fields = struct.pack("=HBxII", IPSEC, DIRECTIONS[each], 0, 0) + b"".join(map(request, words[4:]))
        ends = [endpoint(SOURCE, source, ANY), endpoint(DESTINATION, destination, ANY)]
        yield SPDADD, SATYPES["any"], [*ends, extension(POLICY, fields)]


def messages(text: str) -> t.Iterator[tuple[int, int, list[bytes]]]:
    for statement in text.split(";"):
        word, *words = statement.split() or [""]
        if word == "add":
            yield add(words[0], words[1], words[2], words[3], *words[4:])
        elif word == "spdadd":
            yield from spdadd(words[0], words[1], *words[2:])


def main() -> None:
    with socket.socket(AF_KEY, socket.SOCK_RAW, PF_KEY_V2) as link:
        for number, (kind, satype, extensions) in enumerate(messages(sys.stdin.read()), 1):
            body = b"".join(extensions)
            head = struct.pack("=BBBBHHII", PF_KEY_V2, kind, 0, satype, 2 + len(body) // 8, 0, number, os.getpid())
            link.send(head + body)
            while True:
                answer = link.recv(1 << 16)
                dummy, done, error, dummy, dummy, dummy, sequence, process = struct.unpack("=BBBBHHII", answer[:16])
                if (done, sequence, process) == (kind, number, os.getpid()):
                    break
            if error:
                raise OSError(error, os.strerror(error), str(number))


if __name__ == "__main__":
    main()
