"""A call as the bytes that go out."""

import pytest

from compass_ray.providers._message import Unsendable, encode
from compass_ray.providers._pool import Place
from compass_ray.providers.base import HttpCall


def test_a_post_tells_its_length_and_asks_for_no_compression():
    call = HttpCall("http://provider.test:8080/v1/x?y=1", {"authorization": "Bearer k"}, b"{}")

    place, message = encode(call)

    head, _, body = message.partition(b"\r\n\r\n")
    assert place == Place("provider.test", 8080, tls=False)
    assert head.split(b"\r\n") == [
        b"POST /v1/x?y=1 HTTP/1.1",
        b"host: provider.test:8080",
        b"accept: */*",
        b"accept-encoding: identity",
        b"user-agent: compass",
        b"authorization: Bearer k",
        b"content-length: 2",
    ]
    assert body == b"{}"


def test_a_get_has_no_body():
    _, message = encode(HttpCall("https://provider.test/x", {}, method="GET"))

    assert message.startswith(b"GET /x HTTP/1.1\r\n")
    assert b"content-length" not in message


@pytest.mark.parametrize(
    ("url", "place", "host"),
    [
        ("https://provider.test/x", Place("provider.test", 443, tls=True), b"provider.test"),
        ("https://provider.test:443/x", Place("provider.test", 443, tls=True), b"provider.test"),
        ("http://[::1]:8000/x", Place("::1", 8000, tls=False), b"[::1]:8000"),
        ("http://bücher.test/x", Place("xn--bcher-kva.test", 80, tls=False), b"xn--bcher-kva.test"),
    ],
)
def test_the_host_is_named_as_http_wants_it(url, place, host):
    found, message = encode(HttpCall(url, {}, b""))

    assert found == place
    assert b"\r\nhost: " + host + b"\r\n" in message


def test_what_may_not_stand_in_a_path_is_quoted_once():
    _, message = encode(HttpCall("http://provider.test/models/a b%2Fc:ask", {}, b""))

    assert message.startswith(b"POST /models/a%20b%2Fc:ask HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "url", ["", "provider.test/x", "ftp://provider.test/x", "http:///x", "http://a:99999/x"]
)
def test_what_is_no_url_of_http_cannot_be_sent(url):
    with pytest.raises(Unsendable, match="not a usable url"):
        encode(HttpCall(url, {}, b""))


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b"])
def test_a_header_with_the_end_of_a_line_cannot_be_sent(value):
    with pytest.raises(Unsendable, match="the end of a line") as refused:
        encode(HttpCall("http://provider.test/x", {"authorization": value}, b""))

    assert value not in str(refused.value)


@pytest.mark.parametrize("path", ["/a\r\nx-evil: 1", "/a b HTTP/1.1\r\n\r\n"])
def test_a_url_cannot_smuggle_a_line(path):
    try:
        _, message = encode(HttpCall(f"http://provider.test{path}", {}, b""))
    except Unsendable:
        return

    assert message.split(b"\r\n")[1] == b"host: provider.test"
