"""A call as the bytes of an HTTP/1.1 request, and where they go. Pure.

The answer is asked for uncompressed: answers are small, and a compression bomb cannot be sent.
"""

import functools
import re

from yarl import URL

from compass_ray.providers._pool import Place
from compass_ray.providers.base import HttpCall

_PORTS = {"http": 80, "https": 443}
_NOT_IN_A_HEADER = re.compile(r"[\0\r\n]")


class Unsendable(Exception):
    """A call that no server can be sent; says what is wrong with it."""


def encode(call: HttpCall) -> tuple[Place, bytes]:
    """Return where the call goes, and what is sent.

    Raises:
        Unsendable: the URL is none of HTTP's, or a header holds the end of a line.
    """
    place, begin = _begin(call.method, call.url)
    lines = "".join([f"{name}: {value}\r\n" for name, value in call.headers.items()])
    if len(_NOT_IN_A_HEADER.findall(lines)) != 2 * len(call.headers):
        raise Unsendable("a header holds the end of a line")
    length = b"content-length: %d\r\n" % len(call.body) if call.method == "POST" else b""
    return place, b"".join((begin, lines.encode(), length, b"\r\n", call.body))


@functools.lru_cache(maxsize=1024)
def _begin(method: str, url: str) -> tuple[Place, bytes]:
    """Return a URL's place, and the lines that its requests begin with."""
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError as error:
        raise Unsendable("not a usable url") from error
    if parsed.scheme not in _PORTS or not parsed.raw_host or port is None:
        raise Unsendable("not a usable url")
    lines = (
        f"{method} {parsed.raw_path_qs} HTTP/1.1",
        f"host: {parsed.host_port_subcomponent}",
        "accept: */*",
        "accept-encoding: identity",
        "user-agent: compass",
        "",
    )
    place = Place(parsed.raw_host, port, tls=parsed.scheme == "https")
    return place, "\r\n".join(lines).encode("ascii")
