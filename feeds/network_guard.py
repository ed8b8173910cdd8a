"""Where a connection may lead: onto the internet, and never into our own network.

A name is judged when an operator enters it, and may resolve to something else a minute later. So sockets are judged,
too: after names are resolved and right before each connect, whatever name, redirect, proxy or venue's word led there.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.client_middlewares import ClientHandlerType

from feeds.base import NotConnected

# Public by Python's table, and still a way into private networks.
NAT64 = ip_network("64:ff9b::/96")
# Where machines find their cloud's secrets; nothing is traded there, whatever a setting allows.
METADATA = (
    ip_network("169.254.0.0/16"),
    ip_network("fe80::/10"),
    ip_network("168.63.129.16/32"),
    ip_network("100.100.100.200/32"),
    ip_network("fd00:ec2::254/128"),
    ip_network("fd20:ce::254/128"),
)
NOT_THE_INTERNET = (
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),
    ip_network("64:ff9b:1::/48"),  # NAT64 of one's own network
    ip_network("100:0:0:1::/64"),  # this and the next two are younger than Python's table
    ip_network("3fff::/20"),  # for examples in documents
    ip_network("5f00::/16"),  # segment routing within one network
    ip_network("fec0::/10"),  # private until 2004, and still routed by some
)


class PrivateAddress(NotConnected):
    """A connection that was not made; whoever runs this must change an address, a name or a setting."""

    def __init__(self, address: str, host: str = "") -> None:
        leads = f"{host[:100]} leads to {address}" if host and host != address else address
        permitted = "" if is_metadata(_parsed(address)) else "; ALLOW_PRIVATE_EXCHANGE_URLS=1 permits private ones"
        super().__init__(
            f"{leads}, which is no public address: not connected. Correct the exchange's address or proxy, or what "
            f"its name resolves to{permitted}."
        )
        self.address = address


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Somewhere on the internet, whatever it is wrapped in."""
    inner = _unwrapped(address)
    if inner is not address:
        return is_public(inner)
    if any(address in network for network in NOT_THE_INTERNET) or is_metadata(address):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def is_metadata(address: IPv4Address | IPv6Address) -> bool:
    return any(_unwrapped(address) in network for network in METADATA)


def public_socket(address_info: AddrInfoType) -> socket.socket:
    """A connector's `socket_factory`. Raises PrivateAddress."""
    if not is_public(_parsed(str(address_info[4][0]))):
        raise PrivateAddress(str(address_info[4][0]))
    return socket.socket(*address_info[:3])


def local_socket(address_info: AddrInfoType) -> socket.socket:
    """The same where private addresses are allowed."""
    if is_metadata(_parsed(str(address_info[4][0]))):
        raise PrivateAddress(str(address_info[4][0]))
    return socket.socket(*address_info[:3])


async def name_the_host(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """A socket knows no names, and an address alone would not tell whose it is."""
    try:
        return await handler(request)
    except PrivateAddress as error:
        raise PrivateAddress(error.address, (request.proxy or request.url).host or "") from error


def _parsed(host: str) -> IPv4Address | IPv6Address:
    """Without the zone, which names a network card."""
    return ip_address(host.partition("%")[0])


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
