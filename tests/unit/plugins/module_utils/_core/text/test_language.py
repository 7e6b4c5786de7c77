# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.ipsec.manual.plugins.module_utils._core.errors import (
    InputError,
    IpsecError,
    Problems,
    TextError,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa import algorithms, keys, model
from ansible_collections.ipsec.manual.plugins.module_utils._core.sa.model import (
    Encapsulation,
    Lifetimes,
    Mark,
    Selector,
    build,
    pack_address,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text import fast_lines, language, script
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.grammar import (
    BY_WORD,
    COMMANDS,
    EXTRA,
    FLAG,
    KEYWORDS,
    OURS,
)
from ansible_collections.ipsec.manual.plugins.module_utils._core.text.values import (
    parse_key,
    parse_mark,
    parse_network,
    parse_number,
    parse_spi,
)
from ansible_collections.ipsec.manual.tests.unit.plugins.module_utils._core.text.strategies import (
    associations,
    together,
)

AES = "6e22b60f98ebd0b73324a4107b80cc9d"
AES2 = "0e344d2a96479aca195df9d123f85512"
SHA1 = "308c9d5d11316f73900c811691eaa6fb9561c2ee"
SHA256 = "ca6eb4b0e134bb5664037d3011ed614d341d3635d40b050ec425edd1ff341431"
GCM = "308c9d5d11316f73900c811691eaa6fb9561c2ee"
SECRETS = (AES, AES2, SHA1, SHA256)
ADDRESSES = "src 192.0.2.1 dst 192.0.2.2"
GOOD = f"add esp spi 0x1001 {ADDRESSES} encr_alg aes encrkey {AES}"


def parse(text, **options):
    return language.parse(text, **{"name": "keys", **options})


def one(text, **options):
    document = parse(text, **options)
    assert len(document.sas) == 1
    return document.sas[0]


def refusals_of(text, **options):
    """All problems of the text, each as (line, column, message with its fix)."""
    with pytest.raises(IpsecError) as caught:
        parse(text, **options)
    found = caught.value.problems if isinstance(caught.value, Problems) else (caught.value,)
    assert all(isinstance(problem, TextError) and problem.name == "keys" for problem in found)
    digits = max(len(secret) for secret in SECRETS)
    assert not any(secret[:8] in str(caught.value) or secret[-8:] in str(caught.value) for secret in SECRETS), digits
    return [(problem.line, problem.column, str(problem).partition(": ")[2]) for problem in found]


def refusal_of(text, **options):
    found = refusals_of(text, **options)
    assert len(found) == 1, found
    return found[0]


def column_of(text, word):
    return text.index(word) + 1


# The guide


def guide(third="dd325c5c137fb4739a55c9b3a1747baa06359826a5e4358e", partym="192.168.13.213", enigma="192.168.116.16"):
    return f"""\
add esp spi 8bcd1407 dst {partym}  encr_alg 3DES \\
   encrkey  d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d
#
add ah spi  18907dae  dst {partym} auth_alg MD5  \\
   authkey  e896f8df7f78d6cab36c94ccf293f031
#
#
add esp spi 122a43e4 dst {enigma} encr_alg 3DES \\
    encrkey {third}
#
add ah spi  91825a77  dst {enigma} auth_alg MD5  \\
   authkey  ad9ced7ad5f255c9a8605fba5eb4d2fd
"""


def test_the_guides_file_is_understood():
    document = parse(guide())
    assert document.lines == (1, 4, 8, 11)
    assert [model.label(sa) for sa in document.sas] == [
        "esp spi 0x8bcd1407 0.0.0.0 > 192.168.13.213 transport 3des-cbc",
        "ah spi 0x18907dae 0.0.0.0 > 192.168.13.213 transport hmac-md5",
        "esp spi 0x122a43e4 0.0.0.0 > 192.168.116.16 transport 3des-cbc",
        "ah spi 0x91825a77 0.0.0.0 > 192.168.116.16 transport hmac-md5",
    ]
    assert document.sas[2].encryption_key.hex() == "dd325c5c137fb4739a55c9b3a1747baa06359826a5e4358e"
    assert document.sas[3].authentication_key.hex() == "ad9ced7ad5f255c9a8605fba5eb4d2fd"


def test_each_bare_hexadecimal_spi_of_the_guide_is_accepted_with_a_warning():
    warnings = parse(guide()).warnings
    assert len(warnings) == 4
    assert {message for message, dummy in warnings} == {"ipseckey itself refuses hexadecimal digits without 0x"}
    assert warnings[0][1] == "keys, line 1, column 13: SPI 8bcd1407 is read as 0x8bcd1407"


def test_the_guides_prompt_lines_are_understood():
    document = parse(
        "add esp spi 8bcd1407 src 192.168.116.16 dst 192.168.13.213 encr_alg 3DES encrkey"
        " d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d\nadd ah spi 18907dae src 192.168.116.16 dst 192.168.13.213"
        " auth_alg MD5 authkey e896f8df7f78d6cab36c94ccf293f031\nadd esp spi 122a43e4 src 192.168.13.213 dst"
        " 192.168.116.16 encr_alg 3des encrkey dd325c5c137fb4739a55c9b3a1747baa06359826a5e4358e\nadd ah spi 91825a77"
        " src 192.168.13.213 dst 192.168.116.16 auth_alg md5 authkey ad9ced7ad5f255c9a8605fba5eb4d2fd\n"
    )
    assert [sa.spi for sa in document.sas] == [0x8BCD1407, 0x18907DAE, 0x122A43E4, 0x91825A77]
    assert document.sas[0].source == document.sas[2].destination == pack_address("192.168.116.16")


def test_the_key_that_the_guides_file_cut_short_is_refused_with_line_algorithm_and_lengths():
    line, column, message = refusal_of(guide(third="137fb4739a55c9b3a1747baa06359826a5e4358e"))
    assert (line, column) == (9, 13)
    assert "3des-cbc needs a key of 192 bits (48 hex digits), found 160 bits (40 hex digits)" in message


def test_all_problems_of_the_guides_stored_file_come_at_once():
    found = refusals_of(guide("137fb4739a55c9b3a1747baa06359826a5e4358e", "partym", "enigma"))
    assert [(line, column) for line, column, dummy in found] == [(1, 26), (4, 27), (8, 26), (9, 13), (11, 27)]
    assert "'partym' is not a literal IPv4 or IPv6 address" in found[0][2] and "resolve_names" in found[0][2]


# Lines and words


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD + "\n",
        GOOD + "\r\n",
        f"\n\n  \t\n{GOOD}\n\n",
        "\t" + GOOD.replace(" ", "\t \f\v") + " \n",
        GOOD.replace(" src", " \\\n src").replace(" encr_alg", "\\\nencr_alg") + "\n",
        GOOD.replace(" dst", " \\\n\tdst") + "\r\n",
        f"# one\n\t# zwei: \u00fc \u2026\n{GOOD}\n  #three",
        f"#\n\\\n{GOOD}\n",
        " ".join(f'"{word}"' for word in GOOD.split()) + "\n",
        f"{GOOD} \\\n\n",
        f"# a drawing \\\n# of two lines \\\n\n{GOOD}\n# and the end \\",
    ],
    ids=range(12),
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_one_command_can_be_laid_out_in_many_ways(text, kind):
    assert one(kind(text)) == one(GOOD)


@pytest.mark.parametrize("text", ["", "\n", "\n\n\n", "# nothing\n", "   \t \r\n", "\\\n", "#\\\n"])
def test_a_text_may_add_nothing(text):
    assert parse(text) == ((), (), (), "keys")


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        # Lines.
        (f"# note \\\n{GOOD}\n", 1, 8, "swallows the next line"),
        (f"# a \\\n# b \\\n{GOOD}\n", 2, 5, "swallows the next line"),
        (f"{GOOD} \\\n", 1, len(GOOD) + 2, "ends inside a continued command"),
        (f"{GOOD} \\", 1, len(GOOD) + 2, "ends inside a continued command"),
        (f"{GOOD} \\ \n", 1, len(GOOD) + 2, "a blank stands after the backslash"),
        (f"add esp \\ \n{GOOD[8:]}\n", 1, 9, "a blank stands after the backslash"),
        (f"add esp \\\r\n{GOOD[8:]}\r\n", 1, 9, "a carriage return stands after the backslash"),
        (f"add esp \\\n # note\n{GOOD}\n", 2, 2, "a comment stands inside a continued command"),
        (f"add esp \\\n # note \\\n {GOOD[8:]}\n", 2, 2, "a comment stands inside a continued command"),
        (f"{GOOD} # note\n", 1, len(GOOD) + 2, "a comment cannot follow a command"),
        (f"# old\r{GOOD}\r", 1, 6, "carriage return in the comment"),
        (f"\ufeff{GOOD}\n", 1, 1, "byte-order mark"),
        (f"{GOOD}\0", 1, len(GOOD) + 1, "NUL byte"),
        (f"#\n# \0\n{GOOD}\n", 2, 3, "NUL byte"),
        (f"{GOOD} {GOOD}\n", 1, len(GOOD) + 2, "a command, add, stands inside a command"),
        (f"add esp spi 0x1001\n{GOOD}\n", 1, 1, "no dst"),
        # Quotes.
        (GOOD.replace("aes", '"aes'), 1, column_of(GOOD, "aes"), "quotes are not closed"),
        (GOOD.replace("aes", '"aes"-cbc'), 1, column_of(GOOD, "aes") + 5, "text stands right after the closing quotes"),
        (GOOD.replace("aes", 'a"es'), 1, column_of(GOOD, "aes") + 1, "quotes stand inside a word"),
        (GOOD.replace("spi", 'spi ""'), 1, 13, "empty quotes"),
        (GOOD.replace("aes", "'aes'"), 1, column_of(GOOD, "aes"), "unknown encryption algorithm"),
        # Characters.
        (GOOD.replace("spi ", "spi\u00a0"), 1, 12, "the character U+00A0"),
        (GOOD.replace("aes", "aes\u200b"), 1, column_of(GOOD, "aes") + 3, "the character U+200B"),
        (GOOD.replace("aes", "a\x1bes"), 1, column_of(GOOD, "aes") + 1, "the character U+001B"),
        (GOOD.replace(" src", "\x1csrc"), 1, column_of(GOOD, "src") - 1, "the character U+001C"),
        (GOOD.replace("aes", "\u0430es"), 1, column_of(GOOD, "aes"), "the character U+0430"),
        (GOOD.encode().replace(b"aes", b"a\xffes"), 1, column_of(GOOD, "aes") + 1, "the byte 0xff"),
        # Commands.
        (f"{GOOD}\nflush\n", 2, 1, "state exact of ipsec_sadb removes the SAs that the text does not name"),
        ("flush spi\n", 1, 7, "unknown SA type"),
        ("flush esp ah\n", 1, 11, "too many words after flush"),
        ("quit\nflush\n", 2, 1, "the command 'flush'"),
        (f"quit\n{GOOD}\n", 2, 1, "stands after the quit on line 1"),
        ("update esp spi 0x1001 dst 192.0.2.2 hard_bytes 9\n", 1, 1, "Write its limits into the add command"),
        ("delete esp spi 0x1001 dst 192.0.2.2\n", 1, 1, "Remove it: state exact"),
        ("monitor\n", 1, 1, "the command 'monitor'"),
        ("ADD esp\n", 1, 1, "unknown command 'ADD'"),
        (
            f"add esp\\\n {GOOD[8:]}\n\nsrc 192.0.2.9\n",
            4,
            1,
            "'src' is not a command. The line above may lack its backslash",
        ),
    ],
)
def test_what_ipseckey_drops_or_misreads_silently_is_refused_at_its_position(text, line, column, part):
    found = refusals_of(text)
    assert (line, column) == found[0][:2]
    assert part in found[0][2]


@pytest.mark.parametrize("row", [row for row in COMMANDS if row.name not in ("add", "flush", "quit")])
def test_every_other_command_is_refused_by_its_name(row):
    for word in (row.name, *row.synonyms):
        assert f"the command {row.name!r}" in refusal_of(f"{word} esp\n")[2]


def test_a_flush_after_a_wrong_add_command_is_refused_too():
    assert "the command 'flush'" in refusals_of("add esp\nflush\n")[-1][2]


def test_a_file_for_solaris_may_begin_with_flush_and_end_with_exit():
    """As the sample in the manual page of its ipseckey."""
    document = parse(f"""\
# This is a sample file
flush esp
 flush  ah
add esp spi 0x2112 {ADDRESSES} \\
    authalg sha1 authkey {SHA1} \\
    encralg aes encrkey {AES} hard_usetime 28800
exit
## End of file
""")
    assert len(document.sas) == 1 and document.lines == (4,)
    assert document.warnings == tuple(
        (
            "the options decide what happens to SAs that the text does not name",
            f"keys, line {line}, column {column}: {flush} is ignored",
        )
        for line, column, flush in ((2, 1, "flush esp"), (3, 2, "flush ah"))
    )


@pytest.mark.parametrize(("target", "limit"), [("solaris", 4093), ("linux", 65535)])
@pytest.mark.parametrize("filler", [" ", "\u00fc"])
def test_a_line_is_refused_beyond_its_limit(target, limit, filler):
    line = f"#{filler * 100_000}".encode()[:limit].decode("utf-8", "ignore")
    line += "x" * (limit - len(line.encode()))
    assert parse(f"{line}\n", target=target).sas == ()
    number, column, message = refusal_of(f"\n{line}x\n", target=target)
    assert number == 2 and f"{limit + 1} characters, more than {limit}" in message


def test_a_command_is_refused_beyond_its_limit_over_all_lines():
    text = "\\\n".join([GOOD, " " * 2000, " " * 2000]) + "\n"
    assert one(text) == one(GOOD)
    assert "characters over all its lines, more than 4095" in refusal_of(text, target="solaris")[2]


def test_line_numbers_are_those_of_the_first_word():
    text = f"# one\n\n{GOOD}\n\\\n\\\nadd ah spi 0x2001 \\\n{ADDRESSES} auth_alg sha1 \\\nauthkey {SHA1}\n"
    assert parse(text).lines == (3, 6)


# Values


@pytest.mark.parametrize(
    ("text", "spi", "warns"),
    [
        ("0x8bcd1407", 0x8BCD1407, False),
        ("0X8BCD1407", 0x8BCD1407, False),
        ("0x100", 256, False),
        ("0x00000100", 256, False),
        ("2345473031", 0x8BCD1407, False),
        ("4294967295", 0xFFFFFFFF, False),
        ("12345678", 12345678, True),
        ("256", 256, True),
        ("8bcd1407", 0x8BCD1407, True),
        ("8BCD1407", 0x8BCD1407, True),
        ("18907dae", 0x18907DAE, True),
        ("0abc1234", 0x0ABC1234, True),
        ("ff001122", 0xFF001122, True),
        (2345473031, 0x8BCD1407, False),
        (12345678, 12345678, False),
    ],
)
def test_an_spi_is_read_as_the_guides_and_ipseckey_read_it(text, spi, warns):
    found, warning = parse_spi(text)
    assert found == spi
    assert bool(warning) == warns


def test_the_warning_names_both_readings():
    warning = parse_spi("12345678")[1]
    assert "decimal, 0x00bc614e" in warning and "not as 0x12345678" in warning and "write 0x" in warning


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0", "local use"),
        ("0x0", "local use"),
        ("255", "reserved"),
        ("0xff", "reserved"),
        ("ff", "reserved"),
        ("01750", "leading zero"),
        ("00000000", "leading zero"),
        ("0x100000000", "32 bits"),
        ("0x100000001", "32 bits"),
        ("4294967296", "32 bits"),
        ("99999999999999999999999999", "32 bits"),
        ("-1", "not a valid SPI"),
        ("+256", "not a valid SPI"),
        ("0x", "not a valid SPI"),
        ("", "not a valid SPI"),
        ("zz", "not a valid SPI"),
        ("0x_1001", "not a valid SPI"),
        ("1_001", "not a valid SPI"),
        ("8bcd14071", "not a valid SPI"),
        (" 0x1001", "not a valid SPI"),
        ("0x1001 ", "not a valid SPI"),
        ("0x1001\n", "not a valid SPI"),
        ("\u0661\u0662\u0663\u0664", "not a valid SPI"),
        ("1e3", None),
        (-5, "not a valid SPI"),
        (0, "local use"),
    ],
)
def test_an_spi_that_ipseckey_could_read_as_another_is_refused(text, part):
    if part is None:
        assert parse_spi(text)[0] == 0x1E3
        return
    with pytest.raises(InputError) as caught:
        parse_spi(text, "spi")
    assert part in str(caught.value) and str(caught.value).startswith("spi: ")


NUMBERS = [
    ("0", 8, 0),
    ("00", 8, 0),
    ("07", 8, 7),
    ("255", 8, 255),
    ("0xff", 8, 255),
    ("0XFF", 8, 255),
    (str(2**64 - 1), 64, 2**64 - 1),
]


@pytest.mark.parametrize(("text", "bits", "number"), NUMBERS)
def test_a_number_is_decimal_or_hexadecimal(text, bits, number):
    assert parse_number(text, bits) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "010", "089", "1.0", "10m", "0x", "ff", "1_0", "256", "0x100", "9" * 5000, "\u0665", "tcp"]
)
def test_what_ipseckey_would_cut_or_guess_is_not_a_number(text):
    with pytest.raises(InputError):
        parse_number(text, 8)


def test_the_default_mask_of_a_mark_is_all_ones():
    assert parse_mark("0x10") == Mark(0x10, 0xFFFFFFFF)
    assert parse_mark("16/255") == Mark(16, 255)
    assert parse_mark("0/0") is None
    for text in ("", "/", "1/", "/1", "1/2/3", "0x100000000"):
        with pytest.raises(InputError):
            parse_mark(text)


def test_a_network_is_an_address_with_or_without_a_prefix():
    assert parse_network("10.1.0.0/16") == (pack_address("10.1.0.0"), 16)
    assert parse_network("10.1.2.3") == (pack_address("10.1.2.3"), 32)
    assert parse_network("2001:db8::/32") == (pack_address("2001:db8::"), 32)
    assert parse_network("0.0.0.0/0") == (bytes(4), 0)
    assert parse_network("::ffff:0.0.0.0/96") == (bytes(4), 0)
    for text in (
        "10.1.0.0/33",
        "10.1.0.0/99",
        "10.1.0.0/",
        "10.1.0.0/x",
        "10.1.0.0/-1",
        "10.1.0.0/016",
        "10.1.0.0/0x10",
        "10.1.0.0/16x",
        "10.1.0.0/112",
        "::ffff:10.1.0.0/129",
        "0.0.0.0",
        "::",
        "/16",
        "2001:db8::/129",
    ):
        with pytest.raises(InputError):
            parse_network(text)


@pytest.mark.parametrize("text", [AES, AES.upper(), "0x" + AES, AES + "/128", "0X" + AES + "/128", AES + "/0128"])
def test_a_key_may_have_0x_and_its_bits(text):
    assert parse_key(text).hex() == AES


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (AES[:-1], "31 hex digits, an odd number"),
        (AES + "/120", "has 128 bits, but /120"),
        (AES + "/136", "has 128 bits, but /136"),
        (AES + "/0", "not a number of bits"),
        (AES + "/128x", "not a number of bits"),
        (AES + "/000", "not a number of bits"),
        (AES + ";", "not a hex digit, at position 33"),
        (AES + "/", "not a number of bits"),
        (AES + "/0x80", "not a number of bits"),
        (AES[:16] + "/" + AES[16:], "not a number of bits"),
        (AES + "//128", "not a number of bits"),
        ("0x", "empty"),
        ("/128", "empty"),
        (AES[:-1] + "g", "not a hex digit, at position 32"),
        (AES[:8] + ":" + AES[9:], "not a hex digit, at position 9"),
        ("0x0x" + AES, "not a hex digit, at position 2"),
    ],
)
def test_a_key_that_ipseckey_would_cut_or_fill_is_refused_and_not_shown(text, part):
    with pytest.raises(InputError) as caught:
        parse_key(text)
    assert part in str(caught.value)
    assert AES[:8] not in str(caught.value) and AES[-8:] not in str(caught.value)


# Attributes

AH = f"add ah spi 0x2001 {ADDRESSES} auth_alg hmac-sha256 authkey {SHA256}"
BOTH = f"{GOOD} auth_alg sha256 authkey {SHA256}"


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        (GOOD, "protocol", "esp"),
        (GOOD.replace("esp", "ESP"), "protocol", "esp"),
        (GOOD.replace("esp", "3"), "protocol", "esp"),
        (AH.replace("ah", "2"), "protocol", "ah"),
        (GOOD.replace("encr_alg", "encralg"), "encryption", "aes-cbc"),
        (GOOD.replace("aes", "12"), "encryption", "aes-cbc"),
        (GOOD.replace("aes", "AeS-CbC"), "encryption", "aes-cbc"),
        (BOTH.replace("sha256", "HMAC-Sha-256"), "authentication", "hmac-sha256"),
        (BOTH.replace("auth_alg", "authalg"), "authentication", "hmac-sha256"),
        (f"add esp spi 0x1001 {ADDRESSES} auth_alg sha1 authkey {SHA1}", "encryption", "null"),
        (f"add esp spi 0x1001 {ADDRESSES} encr_alg null auth_alg sha1 authkey {SHA1}", "encryption", "null"),
        (f"add esp spi 0x1001 {ADDRESSES} encr_alg any auth_alg sha1 authkey {SHA1}", "encryption", "null"),
        (f"{GOOD} auth_alg none", "authentication", ""),
        (GOOD.replace("src", "saddr").replace("dst", "daddr"), "source", pack_address("192.0.2.1")),
        (GOOD.replace("src", "srcaddr").replace("dst", "dstaddr"), "destination", pack_address("192.0.2.2")),
        (GOOD.replace("src 192.0.2.1 ", ""), "source", bytes(4)),
        (GOOD.replace("src 192.0.2.1 dst 192.0.2.2", "dst 2001:db8::2"), "source", bytes(16)),
        (
            GOOD.replace("src 192.0.2.1 dst 192.0.2.2", "src6 2001:db8::1 dst6 2001:db8::2"),
            "source",
            pack_address("2001:db8::1"),
        ),
        (GOOD.replace("192.0.2.2", "::ffff:192.0.2.2"), "destination", pack_address("192.0.2.2")),
        (f"{BOTH} icv_bits 96", "icv_bits", 96),
        (BOTH, "icv_bits", 128),
        (f"{GOOD} replay 4096", "replay_window", 4096),
        (f"{GOOD} esn replay 32", "esn", True),
        (f"{GOOD} esn esn replay 32", "esn", True),
        (f"{GOOD} esn outbound", "esn", True),
        (f"{GOOD} reqid 4294967295", "reqid", 0xFFFFFFFF),
        (f"{GOOD} if_id 0x2a", "if_id", 42),
        (f"{GOOD} mark 0x10/0xff", "mark", Mark(0x10, 0xFF)),
        (f"{GOOD} mark 0/0", "mark", None),
        (f"{GOOD} inbound", "direction", "inbound"),
        (GOOD.replace("spi", "outbound spi"), "direction", "outbound"),
        (f"{GOOD} state mature", "extra", ()),
        (f"{GOOD} pair-spi 0x1002", "extra", (("pair-spi", "0x00001002"),)),
        (f"{GOOD} replay_value 77", "extra", (("replay_value", "77"),)),
        (f"{GOOD} reserved_bits 0", "extra", ()),
        (
            f"{GOOD} idle_usetime 5 idle_addtime 6 hard_alloc 8 soft_alloc 7",
            "extra",
            (("hard_alloc", "8"), ("idle_addtime", "6"), ("idle_usetime", "5"), ("soft_alloc", "7")),
        ),
        (
            f'{GOOD} srcidtype domain host.example dstidtype der_dn "cn=a b"',
            "extra",
            (("dstidtype", "der_dn cn=a b"), ("srcidtype", "fqdn host.example")),
        ),
        (f"{GOOD} srcidtype 17 dst", "extra", (("srcidtype", "17 dst"),)),
        (
            f"{GOOD} srcidtype 0x3 a@b dstidtype 1 c",
            "extra",
            (("dstidtype", "prefix c"), ("srcidtype", "user_fqdn a@b")),
        ),
        (f"{GOOD} replay_value 0x100000001 esn replay 32", "extra", (("replay_value", "4294967297"),)),
        (f"{GOOD} hard_addtime 1 idle_addtime 2", "extra", (("idle_addtime", "2"),)),
        (
            f"{GOOD} isrc ::ffff:10.1.0.0/112 idst ::ffff:10.2.0.0/16",
            "selector",
            Selector(pack_address("10.1.0.0"), 16, pack_address("10.2.0.0"), 16),
        ),
        (GOOD.replace("0x1001", '" +0x1001"'), "spi", 0x1001),
        (f'{GOOD} replay "\t+07"', "replay_window", 7),
        (GOOD.replace("aes", "+12"), "encryption", "aes-cbc"),
        (GOOD.replace("esp", "0x0003"), "protocol", "esp"),
        (GOOD.replace("esp", "+03"), "protocol", "esp"),
        (f"{GOOD} label secret", "extra", (("label", "secret"),)),
        (f'{GOOD} label "\t a b "', "extra", (("label", "a b "),)),
        (f'{GOOD} srcidtype " fqdn" " a"', "extra", (("srcidtype", "fqdn a"),)),
        (GOOD.replace("192.0.2.2", '" 192.0.2.2"'), "destination", pack_address("192.0.2.2")),
        (GOOD.replace(AES, f'"  {AES}"'), "encryption_key", bytes.fromhex(AES)),
        (
            (
                f"{GOOD} soft_bytes 1 hard_bytes 2 soft_packets 3 hard_packets 4 soft_addtime 5 hard_addtime 6"
                " soft_usetime 7 hard_usetime 8"
            ),
            "lifetimes",
            Lifetimes(1, 2, 3, 4, 5, 6, 7, 8),
        ),
        (f"{GOOD} hard_bytes 0", "lifetimes", Lifetimes()),
        (GOOD, "mode", "transport"),
        (f"{GOOD} mode tunnel", "mode", "tunnel"),
        (f"{GOOD} proto 4 isrc 10.1.0.0/16 idst 10.2.0.0/16", "mode", "tunnel"),
        (
            f"{GOOD} proto 4 isrc 10.1.0.0/16 idst 10.2.0.0/16",
            "selector",
            Selector(pack_address("10.1.0.0"), 16, pack_address("10.2.0.0"), 16),
        ),
        (
            f"{GOOD} proxy 10.1.0.0/16 innerdst 10.2.0.7",
            "selector",
            Selector(pack_address("10.1.0.0"), 16, pack_address("10.2.0.7"), 32),
        ),
        (f"{GOOD} proto 41 innersrc6 2001:db8::/32 idst6 ::/0", "selector", Selector(pack_address("2001:db8::"), 32)),
        (f"{GOOD} isrc 0.0.0.0/0 idst 0.0.0.0/0", "selector", None),
        (f"{GOOD} isrc ::/0 idst ::/0", "selector", None),
        (f"{GOOD} isrc 0.0.0.0/0 idst 0.0.0.0/0 iproto 6", "selector", Selector(protocol=6)),
        (
            f"{GOOD} isrc ::/0 idst 2001:db8::/32 iproto 6",
            "selector",
            Selector(destination=pack_address("2001:db8::"), destination_prefix=32, protocol=6),
        ),
        (f"{GOOD} iproto 6 isport 1 idport 2", "selector", Selector(protocol=6, source_port=1, destination_port=2)),
        (f"{GOOD} iulp 6", "mode", "tunnel"),
        (
            f"{GOOD} proto 17 sport 500 dport 53",
            "selector",
            Selector(protocol=17, source_port=500, destination_port=53),
        ),
        (f"{GOOD} ulp 4", "selector", Selector(protocol=4)),
        (f"{GOOD} ulp 4", "mode", "transport"),
        (f"{GOOD} proto 0 sport 0", "selector", None),
        (f"{GOOD} mode transport isrc 10.1.0.0/16", "selector", Selector(pack_address("10.1.0.0"), 16)),
        (f"{GOOD} encap udp nat_lport 4500 nat_rport 33000", "encapsulation", Encapsulation(4500, 33000)),
        (f"{GOOD} encap udp nat_lport 4500 nat_rport 33000 inbound", "encapsulation", Encapsulation(33000, 4500)),
        (
            f"{GOOD} encap udp nat_rem 10.0.0.9",
            "encapsulation",
            Encapsulation(4500, 4500, nat_remote=pack_address("10.0.0.9")),
        ),
        (f"{GOOD} encap udp nat_loc 0.0.0.0 nat_lport 4501", "encapsulation", Encapsulation(4501, 4500)),
        (
            f"{GOOD} encap udp nat_rem ::ffff:0.0.0.0 nat_loc 10.0.0.9",
            "encapsulation",
            Encapsulation(4500, 4500, pack_address("10.0.0.9")),
        ),
        (
            f"{GOOD} encap udp nat_loc :: nat_lport 4501 nat_rem :: nat_rport 4502".replace("192.0.2.", "2001:db8::"),
            "encapsulation",
            Encapsulation(4501, 4502),
        ),
        (
            f"{GOOD} isrc ::ffff:0.0.0.0/96 idst ::ffff:10.2.0.0/112",
            "selector",
            Selector(destination=pack_address("10.2.0.0"), destination_prefix=16),
        ),
        (f"{GOOD} isrc 0.0.0.0 idst ::ffff:0.0.0.0", "selector", None),
        (f"{GOOD} isrc :: idst6 2001:db8::/32", "selector", Selector(b"", 0, pack_address("2001:db8::"), 32)),
        (f"{GOOD} isrc 0.0.0.0/32", "selector", Selector(bytes(4), 32)),
    ],
)
def test_an_attribute_fills_its_field(text, field, value):
    assert getattr(one(text), field) == value


@pytest.mark.parametrize("row", [row for row in KEYWORDS if row.synonyms], ids=lambda row: row.name)
def test_a_synonym_means_what_its_keyword_means(row):
    value = {
        "address": "192.0.2.9",
        "IPv6 address": "2001:db8::9",
        "network": "10.9.0.0/16",
        "IPv6 network": "2001:db8:9::/48",
    }.get(row.kind, "4")
    value = {"encryption": "aes", "authentication": "none"}.get(row.kind, value)
    others = " ".join(
        words
        for words in ("spi 0x1001", "src 192.0.2.1", "dst 192.0.2.2", "encr_alg aes", f"encrkey {AES}")
        if BY_WORD[words.split()[0]].field != row.field
    )
    if row.kind == "IPv6 address":
        others = re.sub(r"(src|dst) 192\.0\.2\.", r"\1 2001:db8::", others)
    expected = one(f"add esp {others} {row.name} {value}")
    for synonym in row.synonyms:
        assert one(f"add esp {others} {synonym} {value}") == expected


@pytest.mark.parametrize(
    ("text", "word", "part"),
    [
        (GOOD.replace("0x1001", "0x100000001"), "0x100000001", "does not fit 32 bits"),
        (GOOD.replace("0x1001", "0"), "0 src", "local use"),
        (f"{GOOD} spi 0x1002", "spi 0x1002", "spi is given twice, first on line 1, column 13"),
        (f"{GOOD} daddr 192.0.2.3", "daddr", "daddr is given twice"),
        (f"{GOOD} hard_bytes 0 hard_bytes 5", "hard_bytes 5", "given twice"),
        (f"{GOOD} idle_addtime 5 idle_addtime 5", "idle_addtime 5\n", "given twice"),
        (f"{GOOD} inbound outbound", "outbound", "outbound contradicts inbound on line 1, column 102"),
        (f"{GOOD} SPI 0x1002", "SPI", "unknown keyword 'SPI'. Nearest: spi"),
        (f"{GOOD} colour red", "colour", "unknown keyword 'colour'"),
        (f"{GOOD} hard_byte 5", "hard_byte", "Nearest: hard_bytes"),
        (f"{GOOD} current_bytes 5", "current_bytes", "current_bytes cannot be set"),
        (f"{GOOD} replay", "replay", "replay lacks its value"),
        (f"{GOOD} replay esn", "replay", "replay lacks its value before 'esn'"),
        (f"{GOOD} srcidtype fqdn", "srcidtype", "srcidtype lacks its value"),
        (f"{GOOD} srcidtype email a@b", "email", "unknown identity type 'email'"),
        (f"{GOOD} srcidtype 65536 a", "65536", "unknown identity type '65536'"),
        (f"{GOOD} encap", "encap\n", "Write: encap udp."),
        (f"{GOOD} soft_alloc 2 hard_alloc 1", "2 hard", "the soft limit 2 is above the hard limit 1"),
        (f"{GOOD} soft_addtime 5 hard_bytes 9 idle_addtime 6", "6\n", "the idle limit 6 is above the limit 5"),
        (f"{GOOD} replay_value 0x100000000", "0x100000000", "without esn a sequence number has 32 bits"),
        (f"{GOOD} hard_bytes 18446744073709551616", "18446744073709551616", "The largest value is 2^64-1."),
        (f"{GOOD} isrc 10.1.0.0/0x10", "10.1.0.0/0x10", "'0x10' is not a valid prefix length"),
        (f"{GOOD} isrc ::ffff:10.1.0.0/95 idst 10.2.0.0/16", "::ffff:10.1.0.0/95", "longer"),
        (f"{GOOD} isrc ::ffff:10.1.0.0/96 idst 10.2.0.0/16", "::ffff:10.1.0.0/96", "Write 0.0.0.0/0."),
        (f"{AH} encr_alg any", "any", "AH accepts no encryption algorithm"),
        (GOOD.replace("aes", "256"), "256", "no encryption algorithm has a number above 255"),
        (GOOD.replace(AES, AES[:16] + "; "), AES[:16], "not a hex digit, at position 17"),
        (f"{GOOD} state larval", "larval", "state cannot be 'larval'. Choose mature"),
        (f"{GOOD} state 1", "1\n", "state cannot be '1'"),
        (f"{GOOD} encap udpx", "udpx", "encap cannot be 'udpx'"),
        (f"{GOOD} encap udp", "udp", "encap udp needs a NAT address or port"),
        (f"{GOOD} nat_lport 4500", "4500", "nat_lport needs encap udp"),
        (f"{AH} encap udp nat_lport 4500", "udp", "only ESP can be carried in UDP"),
        (f"{GOOD} encap udp nat_lport 0", "0\n", "0 is not a UDP port"),
        (f"{GOOD} encap udp nat_rport 0x0", "0x0", "0 is not a UDP port"),
        (f"{GOOD} encap udp nat_rem 2001:db8::1", "2001:db8::1", "cannot be the address before translation"),
        (f"{GOOD} encap udp nat_loc ::", "::", "cannot be the address before translation"),
        (
            f"{GOOD} mode transport isrc 2001:db8::/32",
            "2001:db8::/32",
            "transport mode cannot carry another address family",
        ),
        (f"{GOOD} proto tcp", "tcp", "'tcp' is not a number"),
        (f"{GOOD} proto 256", "256", "does not fit 8 bits"),
        (f"{GOOD} dport 65536", "65536", "does not fit 16 bits"),
        (f"{GOOD} hard_addtime 10m", "10m", "'10m' is not a number"),
        (f"{GOOD} replay 4097", "4097", "out of range"),
        (f"{GOOD} esn", "esn", "Set replay, 32 or more"),
        (f"{GOOD} mark 0x10/0x0f", "0x10/0x0f", "would match no packet"),
        (f"{GOOD} soft_addtime 300 hard_addtime 200", "300", "above the hard limit"),
        (f"{GOOD} icv_bits 96", "96", "without integrity"),
        (f"{BOTH} icv_bits 64", "64\n", "no ICV of 64 bits"),
        (f"{GOOD} mode beet", "beet", "mode cannot be 'beet'"),
        (f"{GOOD} proto 6 isrc 10.1.0.0/16 idst 10.2.0.0/16", "6 isrc", "protocol 6 is not a tunnel protocol"),
        (f"{GOOD} proto 41 isrc 10.1.0.0/16 idst 10.2.0.0/16", "41 isrc", "traffic inside, which is IPv4"),
        (f"{GOOD} proto 4 isrc 2001:db8::/32", "4 isrc", "traffic inside, which is IPv6"),
        (f"{GOOD} proto 41 isport 5", "41 isport", "traffic inside, which is IPv4"),
        (f"{GOOD} isrc 10.1.0.0/16 idst 2001:db8::/32", "2001:db8::/32", "mixes address families"),
        (f"{GOOD} isrc ::/0 idst 10.2.0.0/16", "10.2.0.0/16", "mixes address families"),
        (f"{GOOD} isrc 10.1.0.0/16 idst ::", "::", "mixes address families"),
        (f"{GOOD} idst 0.0.0.0/0 isrc ::/0", "0.0.0.0/0", "mixes address families"),
        (f"{GOOD} isrc 10.1.0.1/16", "10.1.0.1/16", "Write 10.1.0.0/16"),
        (f"{GOOD} idst 10.1.0.0/99", "10.1.0.0/99", "prefix /99 is longer"),
        (f"{GOOD} proto 41 isrc ::/0 idst ::/0 iproto 6", "::/0 idst", "a network of every address"),
        (f"{GOOD} isrc6 10.1.0.0/16", "10.1.0.0/16", "isrc6 takes IPv6 only; isrc takes both"),
        (f"{GOOD} mode tunnel sport 5", "5\n", "Use isport and idport"),
        (f"{GOOD} mode transport proto 6 iproto 6", "6\n", "described twice"),
        (f"{GOOD} reserved_bits 64", "64\n", "test vectors"),
        (GOOD.replace("192.0.2.1", "partym"), "partym", "host names are accepted only with resolve_names"),
        (GOOD.replace("192.0.2.1", "10.1"), "10.1", "not a literal"),
        (GOOD.replace("192.0.2.1", "192.0.2.1/24"), "192.0.2.1/24", "not a literal"),
        (GOOD.replace("192.0.2.1", "fe80::1%eth0"), "fe80", "not a literal"),
        (GOOD.replace("192.0.2.1", "2001:db8::1"), "2001:db8::1", "different address families"),
        (GOOD.replace("192.0.2.1", "224.0.0.1"), "224.0.0.1", "multicast"),
        (GOOD.replace("192.0.2.2", "0.0.0.0"), "0.0.0.0", "unspecified"),
        (GOOD.replace("src 192", "src6 192"), "192.0.2.1", "src6 takes IPv6 only; src takes both"),
        (GOOD.replace("dst 192.0.2.2", ""), "add", "no dst"),
        (GOOD.replace("spi 0x1001", ""), "add", "no spi"),
        (GOOD.replace("esp ", ""), "spi", "the SA type is missing"),
        (GOOD.replace("esp", "all"), "all", "unknown SA type 'all'"),
        (GOOD.replace("aes", "rot13"), "rot13", "unknown encryption algorithm 'rot13'"),
        (GOOD.replace("aes", "sha256"), "sha256", "is an authentication algorithm"),
        (GOOD.replace("aes", "3des"), AES, "192 bits (48 hex digits), found 128 bits (32 hex digits)"),
        (GOOD.replace(f" encrkey {AES}", ""), "aes", "none is given"),
        (f"{GOOD} authkey {SHA1}", SHA1, "Name the algorithm in auth_alg"),
        (f"{GOOD} auth_alg sha1", "sha1", "none is given"),
        (f"{GOOD} auth_alg md5 authkey {AES}", AES + "\n", "one key serves both"),
        (GOOD.replace(AES, "00" * 16), "00" * 16, "one byte repeated"),
        (GOOD.replace("aes", "des").replace(AES, "0101010101010100"), "01010101", "weak"),
        (AH.replace("authkey", f"encr_alg aes encrkey {AES} authkey"), "aes", "AH cannot encrypt"),
        (GOOD.replace("aes", "null"), AES, "takes no key"),
        (GOOD.replace("aes", "aes-gcm").replace(AES, GCM), "aes-gcm", "RFC 8221"),
        (f"add esp spi 0x1001 {ADDRESSES} encr_alg null", "null", "protects nothing"),
    ],
)
def test_a_problem_points_at_its_word(text, word, part):
    found = refusals_of(text + "\n")
    column = (text + "\n").index(word) + 1 if not word.endswith("\n") else (text + "\n").rindex(word) + 1
    assert (1, column) in [place[:2] for place in found], found
    assert any(part in message and (1, column) == (line, at) for line, at, message in found), found


def test_one_mistake_is_one_problem():
    for text in (
        GOOD.replace("0x1001", "zz"),
        GOOD.replace("192.0.2.2", "partym"),
        GOOD.replace("aes", "rot13"),
        GOOD.replace(AES, AES[1:]),
        f"{GOOD} colour red and more of that",
        f"{GOOD} nat_lport 4500",
        f"{GOOD} replay",
        GOOD.replace(AES, " ".join(AES[start : start + 8] for start in range(0, 32, 8))).replace("aes", "rot13"),
    ):
        assert len(refusals_of(text)) <= 2, text
    assert len(refusals_of(GOOD.replace("aes", "rot13"))) == 1


def test_problems_of_many_lines_come_together_and_in_order():
    lines = ["frobnicate", f"{GOOD} replay x", "add esp", "# fine", GOOD.replace(AES, AES2).replace("1001", "1002")]
    text = "\n".join([*lines, f"add ah spi 5 dst ::1 auth_alg md5 authkey {AES}{AES}\n"])
    found = refusals_of(text)
    assert [line for line, dummy, message in found] == sorted(line for line, dummy, message in found)
    assert {line for line, dummy, message in found} == {1, 2, 3, 6}


OWN_KEYS = "Every SA needs its own keys. If the peer dictates one key, accept it with allow_shared_key."


def test_a_conflict_between_two_lines_names_both():
    text = (
        f"{GOOD}\n{GOOD.replace('aes', 'aes-cbc')}\nadd esp spi 0x1003 {ADDRESSES} \\\n encr_alg aes \\\n encrkey"
        f" 0x{AES}/128\n"
    )
    found = refusals_of(text)
    assert found == [
        (
            2,
            13,
            (
                "SPI 0x00001001 towards 192.0.2.2 is used twice for esp, first by line 1. Every SA towards one"
                " destination needs its own SPI."
            ),
        ),
        (2, column_of(GOOD, AES) + 4, f"the encryption key is also used by line 1. {OWN_KEYS}"),
        (5, 10, f"the encryption key is also used by line 1. {OWN_KEYS}"),
    ]


@pytest.mark.parametrize("spi", [1, 2, 255])
def test_a_reserved_spi_is_accepted_only_when_allowed(spi):
    text = GOOD.replace("0x1001", str(spi))
    ((dummy, dummies, message),) = refusals_of(text)
    assert message.startswith(f"SPI {spi} is reserved (1 to 255).") and "with allow_reserved_spi" in message
    assert one(text, allow_reserved_spi=True).spi == spi
    assert one(f"{text} pair-spi {spi}", allow_reserved_spi=True).extra == (("pair-spi", f"0x{spi:08x}"),)
    many = f"{GOOD}\n{text.replace(AES, AES[::-1])}\n"
    assert [sa.spi for sa in parse(many, allow_reserved_spi=True).sas] == [0x1001, spi]


def test_spi_0_is_never_accepted():
    ((dummy, dummies, message),) = refusals_of(GOOD.replace("0x1001", "0"), allow_reserved_spi=True)
    assert "SPI 0 is for local use only" in message and "allow_reserved_spi" not in message


def test_a_key_of_several_sas_is_accepted_only_when_allowed_and_with_one_warning():
    text = "\n".join(GOOD.replace("0x1001", f"0x{spi:x}") for spi in range(0x1001, 0x1005))
    assert len(refusals_of(text)) == 3
    found = parse(text, allow_shared_key=True)
    assert len(found.sas) == 4
    assert found.warnings == (
        ("several SAs share one key; whoever finds it can read the traffic of all of them", "keys"),
    )


@pytest.mark.parametrize(
    "other",
    [
        f"add esp spi 0x1002 {ADDRESSES} encr_alg aes-gcm encrkey {AES}00112233",
        f"add ah spi 0x1002 {ADDRESSES} auth_alg hmac-md5 authkey {AES}",
        f"add esp spi 0x1002 {ADDRESSES} encr_alg blowfish encrkey {AES}",
    ],
)
def test_a_key_in_another_place_or_of_a_counter_mode_is_never_accepted_twice(other):
    first = GOOD if "gcm" not in other else other.replace("0x1002", "0x1001")
    text = f"{first}\n{other}\n"
    ((dummy, dummies, message),) = refusals_of(text, allow_shared_key=True, allow_static_counter_mode=True)
    assert message.endswith("key is also used by line 1. Every SA needs its own keys.")


def test_a_repeated_identity_is_refused_even_if_keys_may_be_shared():
    ((line, dummy, message),) = refusals_of(f"{GOOD}\n{GOOD}\n", allow_shared_key=True)
    assert line == 2 and "is used twice for esp" in message


def test_counter_mode_is_accepted_only_when_allowed():
    text = GOOD.replace("aes", "aes-gcm").replace(AES, GCM)
    assert one(text, allow_static_counter_mode=True).icv_bits == 128


def test_an_unknown_target_is_refused():
    with pytest.raises(InputError, match="unknown target"):
        language.parse("", target="plan9")
    with pytest.raises(InputError, match="unknown target"):
        language.render([], target="plan9")


# Names


def test_names_are_not_resolved_unless_asked(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: pytest.fail("looked up"))
    refusal_of(GOOD.replace("192.0.2.2", "localhost"))


@pytest.mark.parametrize(
    "word",
    [
        "256.1.1.1",
        "10.1",
        "1",
        "0x7f.1",
        "a.0x1",
        AES,
        f"{AES}.example",
        "a b",
        "-",
        "",
        "partym!",
        "x" * 64,
        "::zz",
        "a..b",
    ],
)
def test_a_bad_address_or_a_key_is_never_looked_up(monkeypatch, word):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: pytest.fail("looked up"))
    refusals_of(GOOD.replace("192.0.2.2", f'"{word}"'), resolve_names=True)


def resolving(*addresses):
    def getaddrinfo(host, port, **options):
        assert host == "partym"
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 0))
            for address in addresses
        ]

    return getaddrinfo


def test_a_name_with_one_address_is_accepted_with_a_warning(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", resolving("192.0.2.7"))
    text = GOOD.replace("192.0.2.2", "partym") + "\n"
    document = parse(text + text.replace("1001", "1002").replace(AES, AES2), resolve_names=True)
    assert {sa.destination for sa in document.sas} == {pack_address("192.0.2.7")}
    assert [place for dummy, place in document.warnings] == [
        f"keys, line {line}, column 38: partym is 192.0.2.7" for line in (1, 2)
    ]
    assert "name service" in document.warnings[0][0]


@pytest.mark.parametrize("addresses", [("192.0.2.7", "192.0.2.8"), ("192.0.2.7", "2001:db8::7"), ()])
def test_a_name_without_exactly_one_address_is_refused(monkeypatch, addresses):
    monkeypatch.setattr(socket, "getaddrinfo", resolving(*addresses))
    message = refusal_of(GOOD.replace("192.0.2.2", "partym"), resolve_names=True)[2]
    assert f"has {len(addresses)} addresses" in message and all(address in message for address in addresses)


def test_a_name_with_an_ipv4_address_is_refused_for_an_ipv6_keyword(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", resolving("192.0.2.7"))
    assert "has no IPv6 address" in refusal_of(GOOD.replace("dst 192.0.2.2", "dst6 partym"), resolve_names=True)[2]


@pytest.mark.parametrize("order", [("src", "dst6"), ("dst6", "src")])
def test_a_name_with_addresses_of_both_families_is_accepted_for_an_ipv6_keyword(monkeypatch, order):
    monkeypatch.setattr(socket, "getaddrinfo", resolving("192.0.2.7", "2001:db8::7"))
    (sa,) = parse(
        GOOD.replace("src 192.0.2.1", "src6 partym").replace("dst 192.0.2.2", "dst6 partym"), resolve_names=True
    ).sas
    assert (sa.source, sa.destination) == (pack_address("2001:db8::7"),) * 2
    words = GOOD.replace("src 192.0.2.1", f"{order[0]} partym").replace("dst 192.0.2.2", f"{order[1]} partym")
    assert any("has 2 addresses" in refusal[2] for refusal in refusals_of(words, resolve_names=True))


def test_a_name_that_does_not_resolve_is_refused(monkeypatch):
    def getaddrinfo(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert "'partym' does not resolve" in refusal_of(GOOD.replace("192.0.2.2", "partym"), resolve_names=True)[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a hosts file of its own")
def test_the_guides_names_are_resolved_by_a_real_hosts_file(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("192.168.116.16 enigma\n192.168.13.213 partym\n")
    nsswitch = tmp_path / "nsswitch.conf"
    nsswitch.write_text("hosts: files\n")
    stored = tmp_path / "stored"
    stored.write_text(guide(partym="partym", enigma="enigma"))
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        f"from {language.__name__} import parse, render\n"
        f"print(render(parse(open({str(stored)!r}).read(), resolve_names=True).sas, hide_keys=True))"
    )
    script = (
        'mount --bind "$1" /etc/hosts && { [ ! -e /etc/nsswitch.conf ] || mount --bind "$2" /etc/nsswitch.conf; } &&'
        ' exec "$3" -c "$4"'
    )
    command = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        str(hosts),
        str(nsswitch),
        sys.executable,
        code,
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare failed" in answer.stderr or "mount:" in answer.stderr:
        pytest.skip("this container cannot mount")
    assert answer.returncode == 0, answer.stderr
    assert re.findall(r"dst (\S+)", answer.stdout) == [
        "192.168.13.213",
        "192.168.13.213",
        "192.168.116.16",
        "192.168.116.16",
    ]


# Solaris


@pytest.mark.parametrize("row", [row for row in KEYWORDS if row.known == OURS], ids=lambda row: row.name)
def test_text_for_solaris_refuses_every_keyword_of_ours_by_name(row):
    value = {FLAG: "", "choice": "tunnel"}.get(row.kind, "128")
    text = f"{BOTH} {row.name} {value}".rstrip()
    if row.name == "esn":
        text = text.replace("esn", "replay 32 esn")
    parse(text + "\n")
    line, column, message = refusal_of(text + "\n", target="solaris")
    assert message.startswith(f"{row.name} is not a keyword of Solaris") and column == text.rindex(row.name) + 1


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (f"{GOOD} replay 256", "8 bits of Solaris"),
        (GOOD.replace("aes", "aes-ctr").replace(AES, GCM), "has no aes-ctr"),
        (f"add ah spi 0x1001 {ADDRESSES} auth_alg aes-xcbc authkey {AES}", "has no aes-xcbc"),
        (GOOD.replace("0x1001", "100a"), "'100a' is not a number on Solaris. Write 0x0000100a"),
        (GOOD.replace("aes", "cbc(aes)"), "not an algorithm name on Solaris. Write aes-cbc"),
        (GOOD.replace("spi", "inbound spi"), "crashes on a direction"),
        (f"{GOOD} outer-label x", "only with a label"),
        (f"{GOOD} outer-label x label y", "only after a label"),
        (f"{GOOD} reserved_bits 0", "reserved_bits only before encrkey"),
        (f"{GOOD} idst 10.2.0.0/16", "Give both isrc and idst"),
        (f"{GOOD} isrc ::/0 idst ::/0", "a network of every address"),
        (f"{GOOD} encap udp nat_rport 4500", "only with the remote address behind the NAT"),
        (f"{GOOD} encap udp nat_rem 0.0.0.0", "Give the address in nat_rem, or only nat_lport"),
        (f"{GOOD} encap udp nat_loc 10.0.0.9 nat_rport 4500 inbound", "only with the remote address"),
        (
            f"{GOOD} encap udp nat_rem 2001:db8::9".replace("192.0.2.", "2001:db8::"),
            "supports only IPv4 addresses behind a NAT",
        ),
        (
            f"{GOOD} encap udp nat_loc :: nat_lport 4501".replace("192.0.2.", "2001:db8::"),
            "supports only IPv4 addresses behind a NAT. Remove it; nat_lport alone is enough.",
        ),
        (f"{GOOD} proto 4 isport 5", "contradicts the traffic inside, which is IPv6"),
        (f"{GOOD} iproto 6", "takes the traffic inside the tunnel for IPv6. Add: isrc 0.0.0.0/0 idst 0.0.0.0/0."),
        (f"{GOOD} isport 0", "takes the traffic inside the tunnel for IPv6"),
        (GOOD.replace("192.0.2.2", "255.255.255.255"), "does not load 255.255.255.255"),
        (GOOD.replace("192.0.2.1", "255.255.255.255"), "does not load 255.255.255.255"),
        (f"{GOOD} encap udp nat_loc 255.255.255.255", "does not load 255.255.255.255"),
        (f"{GOOD} isrc 255.255.255.255 idst 10.2.0.0/16", "does not load 255.255.255.255"),
        (
            GOOD.replace(ADDRESSES, "src fe80::1 dst 2001:db8::2"),
            "a source of scope link-local for a destination of scope global",
        ),
        (GOOD.replace(ADDRESSES, "src fec0::1 dst ::192.0.2.2"), "scope site-local for a destination of scope IPv4-c"),
        (GOOD.replace(ADDRESSES, "src ::1 dst ff02::5"), "scope loopback for a destination of scope global"),
        (f"{GOOD} isrc 0.0.0.0 idst 10.2.0.0/16", "Write 0.0.0.0/0 for every address, 0.0.0.0/32 for this one."),
    ],
)
def test_text_for_solaris_refuses_what_its_ipseckey_cannot_do(text, part):
    parse(text, allow_static_counter_mode=True)
    assert any(part in refusal[2] for refusal in refusals_of(text, target="solaris", allow_static_counter_mode=True))


def test_a_file_that_ipseckey_saved_is_read():
    """Such a file has no prefix length of 0, and 0.0.0.0 for an unknown NAT address."""
    document = parse(f"""\
# This key file was generated by the ipseckey(1m) command's 'save' feature.

# begin assoc
add esp  \\
    spi 0x1001 encr_alg aes-cbc auth_alg hmac-sha256 replay 0 encap udp \\
	hard_bytes 4096 hard_addtime 600  \\
    proto 4 \\
    dst 192.0.2.2 \\
    nat_loc  0.0.0.0 nat_lport 4501 \\
    src 192.0.2.1 \\
    iproto 6 \\
    isrc 0.0.0.0 \\
    idst 10.2.0.7 idport 53 \\
	encrkey {AES}/128 \\
	authkey {SHA256}/256 \\

# end assoc

""")
    assert document.sas == (
        build(
            "esp",
            0x1001,
            pack_address("192.0.2.2"),
            pack_address("192.0.2.1"),
            "aes-cbc",
            "hmac-sha256",
            encryption_key=bytes.fromhex(AES),
            authentication_key=bytes.fromhex(SHA256),
            mode="tunnel",
            selector=Selector(b"", 0, pack_address("10.2.0.7"), 32, 6, 0, 53),
            encapsulation=Encapsulation(4501, 4500),
            lifetimes=Lifetimes(hard_bytes=4096, hard_addtime=600),
        ),
    )
    assert document.warnings == (
        ("ipseckey saves every address like this; write /0", "keys, line 12, column 10: 0.0.0.0 is read as 0.0.0.0/0"),
    )


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD} isrc 0.0.0.0/0 idst 0.0.0.0/0 proto 4 iproto 6 encap udp nat_rport 4500",
        f"{GOOD} isrc 10.1.0.0/16 idst 10.2.0.0/16 encap udp nat_rem 0.0.0.0",
        f"{GOOD} encap udp nat_loc 0.0.0.0 nat_lport 4501",
        f"{GOOD} encap udp nat_rem 10.0.0.9 nat_rport 4501",
        GOOD.replace(ADDRESSES, "src fe80::1 dst fe80::2"),
        GOOD.replace(ADDRESSES, "src :: dst ff02::5"),
        GOOD.replace(ADDRESSES, "dst 2001:db8::2") + " isport 5",
    ],
)
def test_text_that_solaris_loads_is_accepted_for_solaris(text):
    assert one(text, target="solaris") == one(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_mark": Mark(5, 0xFF)}, "output_mark=0x5/0xff"),
        ({"mode": "tunnel", "tfc_padding": 1400, "nat_keepalive": 20}, "tfc_padding=1400 nat_keepalive=20"),
        ({"mode": "beet"}, "mode=beet"),
        ({"extra": (("flags", "noecn pcpu=3"),)}, "noecn pcpu=3"),
    ],
)
def test_what_the_language_cannot_express_is_named_and_not_written(changes, words):
    (sa,) = many(1)
    sa = sa._replace(**changes)
    for target in ("linux", "solaris"):
        with pytest.raises(IpsecError, match=f"no word for: {words}"):
            language.render([sa], target=target)
    assert language.render([sa], hide_keys=True).endswith(f" flags {words}\n")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"reqid": 1}, "no reqid"),
        ({"if_id": 1}, "no if_id"),
        ({"mark": Mark(1)}, "no mark"),
        ({"esn": True, "replay_window": 32}, "no esn"),
        ({"lifetimes": Lifetimes(hard_packets=1)}, "no hard_packets"),
        ({"icv_bits": 96}, "ICV of 128 bits only"),
        ({"replay_window": 256}, "8 bits"),
        ({"selector": Selector(pack_address("10.0.0.0"), 8)}, "inner addresses mean tunnel mode"),
        ({"encryption": "cbc(camellia)"}, "no cbc(camellia)"),
        ({"encapsulation": Encapsulation(4500, 4501)}, "the remote port 4501"),
        ({"encapsulation": Encapsulation(4501, 4500), "direction": "inbound"}, "the remote port 4501"),
        ({"source": b"\xff" * 4}, "does not load 255.255.255.255"),
    ],
)
def test_what_solaris_cannot_express_is_not_written_for_it(changes, part):
    (sa,) = many(1)
    assert "add esp" in language.render([sa], target="solaris")
    with pytest.raises(InputError) as caught:
        language.render([sa._replace(**changes)], target="solaris")
    assert part in str(caught.value) and "esp spi 0x00010000" in str(caught.value)
    assert sa.encryption_key.hex() not in str(caught.value)


def test_solaris_gets_no_remote_port_that_its_kernel_would_reject():
    (sa,) = many(1)
    behind = pack_address("10.1.1.1")
    for encapsulation, ports in (
        (Encapsulation(4501, 4500), "nat_lport 4501"),
        (Encapsulation(4501, 4500, nat_remote=behind), "nat_rem 10.1.1.1 nat_lport 4501 nat_rport 4500"),
        (Encapsulation(4500, 4501, nat_remote=behind), "nat_rem 10.1.1.1 nat_lport 4500 nat_rport 4501"),
    ):
        changed = sa._replace(encapsulation=encapsulation)
        text = language.render([changed], target="solaris")
        assert text.split("encap udp ")[1].split("\n")[0] == ports
        assert language.parse(text, target="solaris").sas == (changed,)
        assert "nat_rport" in language.render([changed])


# Writing


def test_the_written_form_is_one_plain_line_for_each_sa():
    document = parse(
        f"{guide()}add esp spi 0x5001 dst ::1 src 2001:DB8:0::1 encr_alg aes encrkey {AES.upper()} auth_alg sha256"
        f" authkey {SHA256} replay 64 esn outbound\n"
    )
    assert (
        language.render(document.sas, comment="Four and one.\nSecond line")
        == "# Four and one.\n# Second line\nadd esp spi 0x8bcd1407 dst 192.168.13.213 encr_alg 3des-cbc encrkey"
        " d41fb74470271826a8e7a80d343cc5aae9e2a7f05f13730d\nadd ah spi 0x18907dae dst 192.168.13.213 auth_alg"
        " hmac-md5 authkey e896f8df7f78d6cab36c94ccf293f031\nadd esp spi 0x122a43e4 dst 192.168.116.16 encr_alg"
        " 3des-cbc encrkey dd325c5c137fb4739a55c9b3a1747baa06359826a5e4358e\nadd ah spi 0x91825a77 dst"
        " 192.168.116.16 auth_alg hmac-md5 authkey ad9ced7ad5f255c9a8605fba5eb4d2fd\nadd esp spi 0x00005001 src"
        f" 2001:db8::1 dst ::1 encr_alg aes-cbc encrkey {AES} auth_alg hmac-sha256 authkey {SHA256} replay 64 esn"
        " outbound\n"
    )


def test_no_sas_are_an_empty_text():
    assert language.render([]) == ""


@pytest.mark.parametrize(
    "comment", ["ends in a backslash \\", "a\r\nb\\", "\\", "#\n\n", "\0", "\v\fadd esp", "\u00fc", "x" * 5000 + "\\"]
)
def test_a_comment_hides_nothing(comment):
    sas = parse(GOOD).sas
    assert parse(language.render(sas, comment=comment)).sas == sas


def test_a_text_without_keys_shows_their_fingerprints():
    sas = parse(BOTH).sas
    text = language.render(sas, hide_keys=True)
    prints = model.fingerprints(sas[0])
    assert (
        f"encrkey (fingerprint:{prints['encryption']})" in text
        and f"authkey (fingerprint:{prints['authentication']})" in text
    )
    assert AES not in text and SHA256 not in text
    refusals_of(text)


def test_a_text_without_keys_shows_no_more_of_a_short_key_than_its_change():
    old = parse(BOTH).sas[0]._replace(encryption="des-cbc", encryption_key=bytes.fromhex("0123456789abcdef"))
    same, new = (old._replace(encryption_key=bytes.fromhex(text)) for text in ("0022446688aaccee", "fedcba9876543210"))
    earlier = {model.identity(old): old}
    assert "encrkey (short-key) auth_alg" in language.render([old], hide_keys=True)
    assert "encrkey (short-key) auth_alg" in language.render([same], hide_keys=True, earlier=earlier)
    assert "encrkey (short-key:changed) auth_alg" in language.render([new], hide_keys=True, earlier=earlier)
    refusals_of(language.render([new], hide_keys=True, earlier=earlier))


def test_a_long_command_is_continued_below_2000_characters():
    label = "l" * 1990
    sas = parse(f'{GOOD} label {label} srcidtype fqdn {"h" * 1500} dstidtype der_dn "{"d " * 900}"\n').sas
    text = language.render(sas)
    assert len(text.splitlines()) > 2 and max(map(len, text.splitlines())) < 2010
    assert parse(text).sas == sas


@pytest.mark.parametrize("text", ["a b", "back\\", "two words\\", "#", "'", "\\", "a\t", "add"])
def test_a_solaris_attribute_of_any_characters_is_read_back(text):
    sa = parse(GOOD).sas[0]._replace(extra=(("label", text), ("srcidtype", f"fqdn {text}")))
    assert parse(language.render([sa])).sas == (sa,)


UNWRITABLE = [
    ("label", ""),
    ("label", 'a"b'),
    ("label", "a\nb"),
    ("label", "\u00fc"),
    ("srcidtype", "fqdn "),
    ("label", " a"),
    ("srcidtype", "fqdn \ta"),
    ("colour", "red"),
    ("spi", "1"),
]


@pytest.mark.parametrize("extra", UNWRITABLE)
def test_a_solaris_attribute_that_cannot_be_written_is_refused(extra):
    with pytest.raises(InputError):
        language.render([parse(GOOD).sas[0]._replace(extra=(extra,))])


# Properties


@settings(max_examples=60)
@given(st.lists(associations(), max_size=2).filter(together), st.text(max_size=20))
def test_what_is_written_is_read_back_as_the_same_sas(sas, comment):
    text = language.render(sas, comment=comment)
    assert language.parse(text, allow_static_counter_mode=True)[0] == tuple(sas)
    assert language.parse(text.encode("utf-8", "surrogatepass"), allow_static_counter_mode=True)[0] == tuple(sas)
    assert text.endswith("\n") or not (sas or comment)
    assert all(len(line) < 2000 or line.startswith("#") for line in text.splitlines())


@settings(max_examples=40)
@given(st.lists(associations(target="solaris"), min_size=1, max_size=2).filter(together))
def test_what_is_written_for_solaris_has_only_its_keywords_and_is_read_back(sas):
    text = language.render(sas, target="solaris")
    assert (
        language.parse(text, target="solaris", allow_static_counter_mode=True).sas
        == language.parse(text, allow_static_counter_mode=True).sas
        == tuple(sas)
    )


@settings(max_examples=20)
@given(st.lists(associations(), min_size=1, max_size=2))
def test_a_text_without_keys_has_none(sas):
    text = language.render(sas, comment="c", hide_keys=True)
    assert not any(key and key.hex() in text for sa in sas for key in (sa.encryption_key, sa.authentication_key))


def taken(text, **options):
    """The SAs, lines and warnings of a text, or its problems."""
    try:
        return language.parse(text, resolve_names=False, allow_static_counter_mode=True, **options)
    except IpsecError as refused:
        return str(refused)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
@example(b"\xff\xfea\0d\0d\0")
@example("\ud800")
@example("#\\\n" * 50)
@example('add esp "')
@example("add")
@example("add esp inbound")
@example("add esp encap")
@example('""')
@example("\\")
def test_random_text_raises_only_our_errors(text):
    taken(text)
    taken(text, target="solaris")


# Words of texts, and typing mistakes.
SLIPS = ["\\\n", "\\", "\n", "#", '"', '""', "\0", "\ufeff", "\r", "/", "/128", "0x"]
VALUES = ["add", "esp", "ah", "192.0.2.1", "::1", "aes", "sha256", "3des", "0x1001", "udp", "mature", "fqdn"]
PIECES = st.one_of(
    st.sampled_from(sorted(BY_WORD)),
    st.sampled_from(SLIPS + VALUES),
    st.sampled_from(sorted(row.name for row in COMMANDS)),
    st.integers(0, 2**33).map(str),
    st.text(max_size=5),
)


@given(st.lists(st.tuples(PIECES, st.sampled_from([" ", "", "\n", " \\\n"])), max_size=40))
def test_random_words_raise_only_our_errors(pieces):
    text = "".join(piece + blank for piece, blank in pieces)
    taken(text)
    taken("add esp " + text, target="solaris")


@given(data=st.data(), key=st.binary(min_size=8, max_size=36).filter(lambda key: len(set(key)) > 4))
def test_no_message_ever_has_a_key_wherever_it_stands(data, key):
    """A key replaces, precedes or extends any word of a valid command. It may be split into groups."""
    secret = key.hex()
    words = (
        f"add esp spi 0x1001 src 192.0.2.1 dst 192.0.2.2 encr_alg aes-cbc auth_alg sha256 encrkey {secret} authkey"
        f" {secret} replay 32 mark 1/1".split()
    )
    separator = data.draw(st.sampled_from(["", ":", "-", " ", "."]))
    group = data.draw(st.sampled_from([2, 8, 16, len(secret)]))
    spread = (
        separator.join(secret[start : start + group] for start in range(0, len(secret), group)) if separator else secret
    )
    dressed = [
        spread,
        spread.upper(),
        f"0x{spread}",
        f"{spread}/128",
        f'"{spread}',
        f'"{spread}"x',
        f"{spread}\u00fc",
        f"{spread}g",
        f"x={spread}",
    ]
    spread = data.draw(st.sampled_from(dressed))
    index = data.draw(st.integers(0, len(words)))
    words[index : index + data.draw(st.integers(0, 1))] = [spread]
    text = " ".join(words) + data.draw(st.sampled_from(["\n", " \\\n", "\\ \n", " # x\n"]))
    shown = repr(taken(text)) + repr(taken(text, target="solaris"))
    lowered = shown.lower()
    assert secret not in lowered and spread.lower() not in lowered
    assert group < 8 or not any(secret[start : start + 16] in lowered for start in range(0, len(secret) - 15))


class SlowLines(fast_lines.PlainLines):
    def take(self, lines, start, sas):
        return start

    def read(self, words):
        return None


WORDS_TO_PUT = (
    "0x1001 4097 1001 0x100000001 192.0.2.9 2001:db8::9 ::ffff:192.0.2.9 224.0.0.1 fd00::1 0.0.0.0 :: aes esn inbound"
    " esp ah x 0.0.0.0/0 ::ffff:0.0.0.0/96 255.255.255.255 fe80::9 ::192.0.2.9 fec0::9"
)
NOISE = st.sampled_from([*WORDS_TO_PUT.split(), "00" * 32, AES])


@pytest.mark.parametrize("target", ["linux", "solaris"])
@settings(max_examples=60)
@given(data=st.data())
def test_the_fast_and_the_general_reader_agree_on_every_line(target, data):
    """The lines are similar, some with one word changed. The fast reader must read the same SAs,
    or leave them to the general one.
    """
    sas = data.draw(st.lists(associations(target), min_size=1, max_size=2).filter(together))
    lines = language.render(sas, target=target).splitlines()
    changed = []
    for line in data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=6)):
        words = line.split(" ")
        if data.draw(st.booleans()):
            words[data.draw(st.integers(0, len(words) - 1))] = data.draw(NOISE)
        changed.append(" ".join(words))
    text = "\n".join(lines + changed) + "\n"
    fast = taken(text, target=target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "PlainLines", SlowLines)
        assert taken(text, target=target) == fast


def many(count, cipher="aes-cbc"):
    row = algorithms.BY_NAME[cipher]
    integrity = algorithms.BY_NAME["hmac-sha256"]
    return [
        build(
            "esp",
            0x10000 + number,
            (0x0A000000 + number).to_bytes(4, "big"),
            pack_address("192.0.2.1"),
            cipher,
            integrity.name,
            encryption_key=keys.generate(row),
            authentication_key=keys.generate(integrity),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("cipher", ["aes-cbc", "3des-cbc", "aes-cbc continued"])
def test_the_fast_reader_reads_all_lines_but_the_first_of_a_kind(monkeypatch, cipher):
    general = []
    run = script.ScriptReader._run
    monkeypatch.setattr(
        script.ScriptReader, "_run", lambda reader, command: general.append(command) or run(reader, command)
    )
    sas = many(50, cipher.split()[0])
    text = language.render(sas)
    if "continued" in cipher:
        text = text.replace(" encrkey", " \\\n   encrkey")
    assert parse(f"# one\n\n{text}# \u00fc\n").sas == tuple(sas)
    assert len(general) == 1


LIKE_BOTH = BOTH.replace("0x1001", "0x1002").replace(AES, AES2).replace(SHA256, SHA256[::-1])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0x1002", "0xff"),
        ("0x1002", "0x1_2"),
        ("0x1002", "0x100000002"),
        ("0x1002", "4098"),
        ("192.0.2.2", "0.0.0.0"),
        ("192.0.2.2", "::ffff:192.0.2.2"),
        ("192.0.2.2", "2001:db8::2"),
        ("192.0.2.2", "partym"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("192.0.2.1", "2001:db8::1"),
        ("192.0.2.1", "239.0.0.1"),
        (AES2, "11" * 16),
        (AES2, AES2[:-2]),
        (AES2, AES2[:-1]),
        (AES2, AES2 + "/128"),
        (AES2, "0x" + AES2),
        (AES2, SHA256),
        (SHA256[::-1], "22" * 32),
        (SHA256[::-1], AES),
        ("sha256", "md5"),
        ("aes", "null"),
        (" auth_alg", " esn auth_alg"),
        (" auth_alg", " auth_alg auth_alg"),
        ("add esp", "add ah"),
    ],
)
def test_the_fast_reader_leaves_unusual_lines_to_the_general_one(monkeypatch, old, new):
    text = f"{BOTH}\n{LIKE_BOTH.replace(old, new)}\n"
    assert old in LIKE_BOTH
    fast = taken(text)
    monkeypatch.setattr(script, "PlainLines", SlowLines)
    assert taken(text) == fast


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        ("src 192.0.2.1 dst 192.0.2.2", "src 255.255.255.255 dst 192.0.2.2"),
        ("src 192.0.2.1 dst 192.0.2.2", "src 192.0.2.1 dst 255.255.255.255"),
        ("src 2001:db8::1 dst 2001:db8::2", "src fe80::1 dst 2001:db8::2"),
        ("src fe80::1 dst fe80::2", "src fe80::1 dst ff02::5"),
    ],
)
def test_the_fast_reader_leaves_addresses_that_solaris_does_not_load(addresses, other):
    one, like = (BOTH.replace(ADDRESSES, addresses), LIKE_BOTH.replace(ADDRESSES, other))
    assert len(parse(f"{one}\n{like}\n").sas) == 2
    line, dummy, message = refusal_of(f"{one}\n{like}\n", target="solaris")
    assert line == 2 and "Solaris does not load" in message


def test_the_number_of_problems_is_limited():
    found = refusals_of("frobnicate\n" * 5000)
    assert len(found) == script.grammar.PROBLEMS_MAX + 1
    assert "the rest of the text was not checked" in found[-1][2]


# The table


def test_every_word_of_the_table_means_one_thing():
    words = [word for row in KEYWORDS for word in (row.name, *row.synonyms)]
    assert len(words) == len(set(words))
    assert all(row.help and row.kind for row in KEYWORDS)
    assert all(row.bits for row in KEYWORDS if row.kind == "number")
    commands = [word for row in COMMANDS for word in (row.name, *row.synonyms)]
    assert len(commands) == len(set(commands)) and not set(commands) & set(words)


def test_what_only_solaris_knows_is_kept_under_its_own_name():
    assert all(row.field == row.name for row in KEYWORDS if row.known == EXTRA)
