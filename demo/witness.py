# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks captured packets with scapy's own IPsec. The keys come from ipseckeys text, read by eight
lines that share no code with the collection.

    witness.py CAPTURE CURRENT PREVIOUS < TEXTS

TEXTS is one JSON object, name -> ipseckeys text, on standard input, since arguments are public.
The program shows the first packet of CAPTURE that belongs to the SAs of CURRENT as it is on the
wire, decrypts it with them, and tries the keys of PREVIOUS, which must fail. Exit status 1 if any
of that fails."""

from __future__ import annotations

import json
import sys
import typing as t

from scapy.layers.inet import IP
from scapy.layers.ipsec import AH, ESP, IPSecIntegrityError, SecurityAssociation
from scapy.packet import Packet, Raw
from scapy.utils import rdpcap

CIPHERS = {"aes-cbc": "AES-CBC", "3des-cbc": "3DES", "null": "NULL", "aes-gcm": "AES-GCM"}
MACS = {
    "hmac-md5": "HMAC-MD5-96",
    "hmac-sha1": "HMAC-SHA1-96",
    "hmac-sha256": "SHA2-256-128",
    "hmac-sha384": "SHA2-384-192",
    "hmac-sha512": "SHA2-512-256",
}
LAYERS = {"esp": ESP, "ah": AH}


def read_sas(text: str) -> list[dict[str, str]]:
    sas = []
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        if words and words[0] == "add":
            sas.append({"protocol": words[1], **dict(zip(words[2::2], words[3::2]))})
    return sas


def scapy_sa(sa: dict[str, str], spi: int) -> SecurityAssociation:
    options: dict[str, t.Any] = {}
    if sa["protocol"] == "esp":
        options.update(
            crypt_algo=CIPHERS[sa.get("encr_alg", "null")], crypt_key=bytes.fromhex(sa.get("encrkey", "")) or None
        )
    if "auth_alg" in sa:
        options.update(auth_algo=MACS[sa["auth_alg"]], auth_key=bytes.fromhex(sa["authkey"]))
    return SecurityAssociation(LAYERS[sa["protocol"]], spi=spi, **options)


def layers_of(packet: Packet) -> list[tuple[str, int]]:
    """(protocol, SPI) of the packet's visible IPsec layers, outermost first."""
    return [(name, packet[layer].spi) for name, layer in (("ah", AH), ("esp", ESP)) if layer in packet]


def find(sas: list[dict[str, str]], protocol: str, packet: Packet) -> dict[str, str]:
    return next(
        sa for sa in sas if (sa["protocol"], sa["src"], sa["dst"]) == (protocol, packet[IP].src, packet[IP].dst)
    )


def unseal(packet: Packet, sa: dict[str, str], spi: int) -> Packet:
    # A copy, since decrypt() clears fields of its argument.
    return IP(bytes(scapy_sa(sa, spi).decrypt(IP(bytes(packet)))))


def peel(packet: Packet, sas: list[dict[str, str]]) -> t.Iterator[tuple[str, int, Packet, Packet]]:
    """Open the packet layer by layer; yields protocol, SPI, the packet with and without that layer."""
    while layers_of(packet):
        protocol, spi = layers_of(packet)[0]
        opened = unseal(packet, find(sas, protocol, packet), spi)
        yield protocol, spi, packet, opened
        packet = opened


def main() -> int:
    capture, current, previous = sys.argv[1:]
    texts = json.load(sys.stdin)
    new, old = read_sas(texts[current]), read_sas(texts[previous])
    ours = {(sa["protocol"], int(sa["spi"], 16)) for sa in new}
    packet = next(
        (
            IP(bytes(frame[IP]))
            for frame in rdpcap(capture)
            if IP in frame and set(layers_of(IP(bytes(frame[IP])))) & ours
        ),
        None,
    )
    if packet is None:
        print("the capture has no packet of these SAs")
        return 1
    wire = " / ".join(f"{name.upper()} spi 0x{spi:08x}" for name, spi in layers_of(packet))
    print(f"on the wire  IP {packet[IP].src} > {packet[IP].dst} / {wire}, {len(packet)} bytes")
    status = 0
    for protocol, spi, closed, opened in peel(packet, new):
        inside = "ESP" if ESP in opened else opened.payload.summary()
        print(f"{current:<12} {protocol.upper()} 0x{spi:08x} opens, inside: {inside}")
        try:
            unseal(closed, find(old, protocol, closed), spi)
        except IPSecIntegrityError:
            print(f"{previous:<12} {protocol.upper()} 0x{spi:08x} refused: integrity check failed")
        else:
            print(f"{previous:<12} {protocol.upper()} 0x{spi:08x} OPENS: the retired key still fits")
            status = 1
        packet = opened
    if Raw in packet:
        print(f"payload      {bytes(packet[Raw])[-36:]!r}")
    return status


if __name__ == "__main__":
    sys.exit(main())
