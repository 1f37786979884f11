"""No test reaches another machine: what conftest.py lets Python call."""

import ipaddress
import socket

REACHED: list[str] = []  # what a test reached for
NAMES = {"", "localhost", socket.gethostname()}


def stay_here(event: str, arguments: tuple) -> None:
    """Python calls this before anything that it audits."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""  # else a file's name
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0] or ""
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(host)
        here = address.is_loopback or address.is_unspecified
    except ValueError:
        here = host in NAMES
    if not here:
        REACHED.append(f"{event} {host}")
        raise ConnectionRefusedError(f"a test reached for {host}")
