"""Addresses that strangers name: only those of the public internet are connected to."""

import socket
from typing import Any

import pytest

from llava.errors import InputError
from llava.files import public_addresses
from llava.files.public_addresses import check_public, connect_publicly, fetch_public_picture

PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1"),
    *(
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a00:1",
        "::127.0.0.1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
    ),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not on the public internet"):
        check_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_not(address: str) -> None:
    check_public(address)


def test_a_name_is_judged_by_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only one of several addresses is private, and what was judged is what is connected to."""
    connected: list[Any] = []
    monkeypatch.setattr(socket, "create_connection", lambda place, *_: connected.append(place))

    def resolves_to(*addresses: str) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
        monkeypatch.setattr(public_addresses.socket, "getaddrinfo", lambda *_, **__: found)

    resolves_to("8.8.8.8", "127.0.0.1")
    with pytest.raises(ValueError, match="public internet"):
        connect_publicly(("pictures.example", 443))
    resolves_to("8.8.8.8")
    connect_publicly(("pictures.example", 443))
    assert connected == [("8.8.8.8", 443)]


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/a.png", "https://127.0.0.1:9/a.png", "https://localhost/a.png", "https://[::1]/", "ftp://a/b",
     "https://2130706433/a.png", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/", "https://[::ffff:7f00:1]/",
     "https://[64:ff9b::7f00:1]/", "https://0/", "https://user:pw@127.0.0.1/"],
)  # fmt: skip
def test_fetching_from_this_machine_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="must be there to fetch"):
        fetch_public_picture(address)
