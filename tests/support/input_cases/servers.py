"""Addresses at which no usable Prefect server answers."""

import json
from collections.abc import Callable

from support.web_server import Handler

NOBODY = "http://127.0.0.1:9/api"  # no server listens on the discard port
PAGE = b"<html>hello</html>"


class WebServer(Handler):
    """A web server whose answer depends on the first part of the path: a status, a version, or anything else."""

    def do_GET(self):  # noqa: N802 -- http.server calls this name
        first = self.path.split("/")[1]
        self.send_response(int(first) if first.isdigit() else 200)
        self.end_headers()
        self.wfile.write(json.dumps(first.removeprefix("v")).encode() if first.startswith("v") else PAGE)

    def do_POST(self):  # noqa: N802 -- http.server calls this name
        self.do_GET()


# the URL of a `WebServer` -> the value of PREFECT_API_URL
SERVERS: dict[tuple[str, str], Callable[[str], str]] = {
    ("Server", "address at which no server answers"): lambda _: NOBODY,
    ("Server", "address of another web server"): lambda url: f"{url}/api",
    ("Server", "address that the web server does not know"): lambda url: f"{url}/404/api",
    ("Server", "address that asks for a password"): lambda url: f"{url}/401/api",
    ("Server", "address of a server that is out of order"): lambda url: f"{url}/503/api",
    ("Server", "address of Prefect 2"): lambda url: f"{url}/v2.19.0/api",
    ("Server", "address with https:// of a server without TLS"): lambda url: f"{url.replace('http:', 'https:')}/api",
    ("Server", "address without http://"): lambda url: f"{url.removeprefix('http://')}/api",
    ("Server", "address whose port is not a number"): lambda _: "http://127.0.0.1:x/api",
}
