"""The steps of ../README.md with Python's own HTTP clients.

host    http.client, with the name in `Host`
proxy   urllib.request, which honours http_proxy
"""

import http.client
import json
import sys
import urllib.error
import urllib.request

PATTERN = bytes(range(251))


def pattern(count):
    return (PATTERN * (count // 251 + 1))[:count]


def pieces(count, size):
    whole = pattern(count)
    for start in range(0, count, size):
        yield whole[start : start + size]


class ByHost:
    """http.client over one kept-alive connection."""

    def __init__(self, address, name):
        self.name = name
        self.connection = http.client.HTTPConnection(address, timeout=20)

    def ask(self, method, target, body=None, name=None):
        headers = {"Host": name or self.name}
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        self.connection.request(method, target, body=body, headers=headers, encode_chunked=chunked)
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()


class ByProxy:
    """urllib, a new connection for each request."""

    def __init__(self, name):
        self.name = name

    def ask(self, method, target, body=None, name=None):
        request = urllib.request.Request(f"http://{name or self.name}{target}", data=body, method=method)
        if body is not None:
            request.add_header("Content-Type", "application/octet-stream")
        try:
            response = urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as refused:
            response = refused
        with response:
            return response.status, response.headers, response.read()


def steps(client):
    results = {}

    def step(name, method, target, body=None, report=False, to=None):
        status, headers, content = client.ask(method, target, body, to)
        results[name] = {"status": status, "bytes": len(content), "error": headers.get("heddle-err")}
        if report:
            results[name]["report"] = json.loads(content)

    step("get", "GET", "/hello?x=1", report=True)
    step("post", "POST", "/post", pattern(1 << 20), report=True)
    step("stream", "POST", "/stream", pieces(300_000, 7_000), report=True)
    step("status", "GET", "/?status=404")
    step("large", "GET", "/?bytes=3000000")
    step("head", "HEAD", "/")
    results["repeat"] = {"ok": sum(client.ask("GET", "/")[0] == 200 for _ in range(20))}
    step("unknown", "GET", "/", to="nobody")
    return results


def main():
    how, address, name = sys.argv[1:4]
    client = ByHost(address, name) if how == "host" else ByProxy(name)
    print(json.dumps(steps(client)))


if __name__ == "__main__":
    main()
