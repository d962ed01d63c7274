"""Which addresses a request may go to that somebody's setting names: the public ones (server-side request forgery).

Names are looked up here, and what comes back is both checked and connected to: a name that means something else a
moment later (DNS rebinding) leads nowhere. Whatever spelling of a number the system understands as an address
(``2130706433``, ``0x7f.1``) is looked at as the address that it becomes.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import AddressRefused

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network


def _networks(*names: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, names))


# Of IPv6 only what is global unicast, and of that neither documentation nor tunnels, whose other end may be anywhere.
_GLOBAL_V6 = _networks("2000::/3")
_NOT_PUBLIC = _networks("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
# Where clouds tell machines their secrets, beside the link-local ones: Azure, Alibaba, AWS; Google, Oracle, Scaleway.
_METADATA = _networks(
    *("168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::/32"),
    *("fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128"),
)
_PRIVATE = _networks(
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
    *("::1/128", "fc00::/7"),
)
_NAT64 = ip_network("64:ff9b::/96")
"""Public servers that only have IPv4, as networks that only have IPv6 see them."""


def is_allowed(address: str, *, allow_private: bool = False) -> bool:
    """Return whether a request may go there: to a public address, and to private and loopback ones if that is said.

    Never to one that is link-local, multicast, unspecified or reserved, or where a cloud serves its metadata.
    """
    try:
        found = ip_address(address)
    except ValueError:  # with a zone: link-local
        return False
    if isinstance(found, IPv6Address) and found in _NAT64:
        found = IPv4Address(int(found) & 0xFFFF_FFFF)
    if _is_in(found, _METADATA):
        return False
    if _is_in(found, _PRIVATE):
        return allow_private
    if isinstance(found, IPv6Address):
        return _is_in(found, _GLOBAL_V6) and not _is_in(found, _NOT_PUBLIC)
    return found.is_global and not found.is_multicast and not _is_in(found, _NOT_PUBLIC)


def resolve(host: str, port: int, *, allow_private: bool) -> list[tuple[socket.AddressFamily, Any]]:
    """Return where to connect to for a host, as its family and address each.

    Raises AddressRefused when one of its addresses is not allowed, OSError when it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that no name can have
        raise OSError(f"{type(error).__name__}: no name") from None
    for _, _, _, _, place in found:
        if not is_allowed(str(place[0]), allow_private=allow_private):
            raise AddressRefused(f"the host has an address that is not allowed: {place[0]}", payload=str(place[0]))
    return [(family, place) for family, _, _, _, place in found]


def _is_in(address: IPv4Address | IPv6Address, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(address in network for network in networks)
