"""No web page but local mode's own reaches the engine or the plane."""

import http.client
import json
import urllib.parse

import pytest

from local.host.request_guard import find_rejection
from tests.fixtures.local.running import Local


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:4566"},
        {"host": "localhost"},
        {"host": "photos.localhost:4566"},
        {"host": "127.0.0.1:4566", "origin": "http://127.0.0.1:4566", "sec-fetch-site": "same-origin"},
        {"host": "localhost:4566", "origin": "http://localhost:4566"},
        {"host": "127.0.0.1:4566", "sec-fetch-site": "none"},
    ],
)
def test_programs_and_own_pages_are_served(headers: dict[str, str]) -> None:
    assert find_rejection(headers) is None


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({}, "not ''"),
        ({"host": "rebound.example:4566"}, "not 'rebound.example:4566'"),
        ({"host": "127.0.0.1.example.com"}, "only the host names 127.0.0.1 and localhost"),
        ({"host": "localhost.example.com:4566"}, "only the host names 127.0.0.1 and localhost"),
        ({"host": "127.0.0.1:4566", "origin": "https://example.com"}, "not from 'https://example.com'"),
        ({"host": "127.0.0.1:4566", "origin": "http://127.0.0.1:8000"}, "not from 'http://127.0.0.1:8000'"),
        ({"host": "127.0.0.1:4566", "origin": "null"}, "not from 'null'"),
        ({"host": "127.0.0.1:4566", "sec-fetch-site": "cross-site"}, "type or paste the address"),
        ({"host": "127.0.0.1:4566", "sec-fetch-site": "same-site"}, "type or paste the address"),
    ],
)
def test_foreign_names_and_foreign_pages_are_refused(headers: dict[str, str], sentence: str) -> None:
    assert sentence in str(find_rejection(headers))


def ask(url: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, str, dict[str, str]]:
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=30)
    try:
        connection.request(method, path, headers={"Host": where.netloc, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


@pytest.mark.parametrize("part", ["engine", "plane"])
def test_engine_and_plane_both_refuse_foreign_pages(local: Local, part: str) -> None:
    url = local.mode.engine_url if part == "engine" else local.mode.plane_url
    health = "/_ministack/health" if part == "engine" else "/health"
    assert ask(url, "GET", health, {})[0] == 200
    assert ask(url, "GET", health, {"Origin": url})[0] == 200
    for headers in ({"Origin": "https://example.com"}, {"Host": "rebound.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, body, _headers = ask(url, "GET", health, headers)
        assert status == 403 and "local mode" in json.loads(body)["message"]
    asked_first = {
        "Origin": "https://example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-amz-target",
    }
    status, _body, answered = ask(url, "OPTIONS", "/", asked_first)
    assert status == 403 and not [name for name in answered if name.startswith("access-control-")]
