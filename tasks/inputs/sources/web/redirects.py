"""Refuse redirects of web servers to other servers of a private network."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from yarl import URL

from clipes_core.errors import StorageError


def check_redirects_of(url: URL) -> Callable[[Any, Any], Any]:
    """Return a middleware of aiohttp that refuses redirects from a URL to another server in a private network.

    A list may come from somebody else, and a redirect must not let its author read from servers that only this machine
    can reach. Servers in the internet are permitted, because many servers redirect to a network that delivers files.

    The middleware raises StorageError for a refused redirect.
    """
    permitted = {url.origin(), url.with_scheme("https").origin()}

    async def send(request: Any, handler: Any) -> Any:
        target = request.url.origin()
        if target not in permitted and not await _is_public(target):
            reason = (
                f"the server redirects to {target}, which is not a server in the internet: if you trust it, name the "
                "file there"
            )
            raise StorageError(f"{url}: {reason}")
        return await handler(request)

    return send


async def _is_public(server: URL) -> bool:
    """Return whether all addresses of a server are public; False if it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port)
    except OSError:
        return False
    addresses = [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
    return bool(addresses) and all(address.is_global for address in addresses)
