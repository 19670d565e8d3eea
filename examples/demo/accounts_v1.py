"""Version 1 of the demo's accounts service: Python's own HTTP server, no dependencies.

Usage: python3 accounts_v1.py PORT REPLICA

It ends when its standard input does, so that it never outlives the demo that started it.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PORT, REPLICA = int(sys.argv[1]), sys.argv[2]
delay = 0.0  # seconds that every answer waits


class Accounts(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def answer(self):
        global delay
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urlsplit(self.path)
        if self.command == "POST" and url.path == "/control/slow":
            delay = float(parse_qs(url.query)["ms"][0]) / 1000
        elif delay:
            time.sleep(delay)
        answer = {"service": "accounts", "version": "v1", "replica": REPLICA, "received": len(body)}
        text = json.dumps(answer).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.send_header("x-version", "v1")
        self.send_header("x-replica", REPLICA)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a client that went away is no event


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the demo's to handle
threading.Thread(target=end_with_parent, daemon=True).start()
Server(("127.0.0.1", PORT), Accounts).serve_forever()
