"""Answers every request with 200 and tells, on standard output, of each that came whole."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        """The length of the body; None if it broke off."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            wanted = int(self.headers.get("content-length", 0))
            return wanted if len(self.rfile.read(wanted)) == wanted else None
        length = 0
        while True:
            line = self.rfile.readline()
            if not line.endswith(b"\r\n"):
                return None
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            if len(self.rfile.read(size + 2)) != size + 2:
                return None
            length += size
        while True:
            line = self.rfile.readline()
            if line == b"\r\n":
                return length
            if not line:
                return None

    def answer(self):
        length = self.body()
        if length is None:
            self.close_connection = True
            return
        sys.stdout.write(f"seen {self.command} {self.path} {length}\n")
        sys.stdout.flush()
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = answer

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
