"""Fetching for strangers: `https:` only, and never from this machine's own network, whatever a name resolves to."""

import http.client
import ipaddress
import socket
import ssl
import urllib.request
from typing import Any

from llava.files.fetching import fetch_picture

TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # NAT64: the last 32 bits are an IPv4 address


def fetch_public_picture(address: str) -> bytes:
    """As `fetch_picture`, from public addresses only and without proxies; redirects are held to the same rule.

    Raises:
        InputError: also for an address that is not `https:`, and for one of a private, local or reserved network.
    """
    return fetch_picture(address, (_PublicHTTPS(),))


def check_public(address: str) -> None:
    """Refuse an IP address that is not of the public internet; ValueError says so."""
    number = ipaddress.ip_address(address.partition("%")[0])
    inner = _inner(number)
    special = number.is_multicast or number.is_reserved or getattr(number, "is_site_local", False)
    if not number.is_global or (special if inner is None else not inner.is_global or inner.is_multicast):
        raise ValueError("it is not on the public internet")


def _inner(number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a network translates an IPv6 address to, if it is of such a kind."""
    if isinstance(number, ipaddress.IPv4Address):
        return None
    translated = ipaddress.IPv4Address(number.packed[-4:]) if number in TRANSLATED else None
    return number.ipv4_mapped or number.sixtofour or translated


def connect_publicly(address: tuple[str, int], timeout: Any = None, source_address: Any = None) -> socket.socket:
    """A connection to a host all of whose IP addresses are public; exactly one of those checked is connected to."""
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    for *_, place in found:
        check_public(str(place[0]))
    return socket.create_connection(found[0][4][:2], timeout, source_address)  # type: ignore[arg-type]


class _Connection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = connect_publicly


class _PublicHTTPS(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Connection, req, context=ssl.create_default_context())  # type: ignore[arg-type]
