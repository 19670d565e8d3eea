"""A service that `heddle run` starts: what it does is in the path, what it says on standard output."""

import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.request

NAME = sys.argv[1]
HOW = sys.argv[2:]


def call(name):
    with urllib.request.urlopen(f"http://{name}/", timeout=10) as answer:
        return answer.read().decode()


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        kind, _, rest = self.path.strip("/").partition("/")
        text = f"{NAME}{self.path}"
        if kind == "slow":
            print("working", flush=True)
            time.sleep(int(rest) / 1000)
        elif kind == "call":
            text = call(rest)
        elif kind == "environment":
            text = json.dumps(dict(os.environ))
        body = text.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    address_family = socket.AF_INET6 if "ipv6" in HOW else socket.AF_INET


def told(number, _frame):
    name = signal.Signals(number).name
    print(f"told {name}", flush=True)
    if number == signal.SIGTERM and "stubborn" not in HOW:
        threading.Thread(target=end).start()


def end():
    if "farewell" in HOW:
        print(f"farewell {call('ledger')}", flush=True)
    print("ended", flush=True)
    os._exit(3)


for number in ("TERM", "HUP", "QUIT", "USR1", "USR2"):
    signal.signal(getattr(signal, f"SIG{number}"), told)
print(f"started as {os.getpid()}.", flush=True)
if "late" in HOW:
    time.sleep(1)
if "crash" in HOW:
    sys.exit(9)
Server(("::1" if "ipv6" in HOW else "127.0.0.1", int(os.environ["PORT"])), Service).serve_forever()
