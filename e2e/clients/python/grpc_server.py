"""The gRPC server of the whole-system tests. Messages are bytes: no generated code.

Prints `listening on ADDRESS` and serves until it is stopped.
"""

import json
import threading
import time
from concurrent import futures

import grpc

SERVICE = "heddle.test.Echo"


class Echo:
    """The methods; the names are those on the wire."""

    def __init__(self):
        self.lock = threading.Lock()
        self.cancelled = 0

    def Unary(self, request, context):
        """Returns the request, with what came as `x-ask` in both kinds of metadata."""
        asked = dict(context.invocation_metadata()).get("x-ask", "")
        context.send_initial_metadata((("x-initial", asked),))
        context.set_trailing_metadata((("x-trailing", asked), ("x-data-bin", bytes([0, 255, 10]))))
        return request

    def Look(self, _request, context):
        """Returns what the server knows of the call."""
        known = {
            "metadata": [[key, value] for key, value in context.invocation_metadata() if not key.endswith("-bin")],
            "seconds": context.time_remaining(),
        }
        return json.dumps(known).encode()

    def Fail(self, _request, context):
        context.set_trailing_metadata((("x-trailing", "failed"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so: 100 % \u00fcber\n")

    def Slow(self, _request, context):
        """Takes ten seconds, unless the caller gives up before."""
        self.note_cancellation(context)
        deadline = time.monotonic() + 10
        while context.is_active() and time.monotonic() < deadline:
            time.sleep(0.02)
        return b"late"

    def Download(self, request, context):
        for number in range(int(request)):
            yield b"message %d" % number
        context.set_trailing_metadata((("x-trailing", "down"),))

    def Ticks(self, request, context):
        """So many messages, twenty a second."""
        for number in range(int(request)):
            yield b"tick %d" % number
            time.sleep(0.05)
        context.set_trailing_metadata((("x-trailing", "ticked"),))

    def Endless(self, _request, context):
        """Sends until the caller gives up, ten seconds at most."""
        self.note_cancellation(context)
        deadline = time.monotonic() + 10
        while context.is_active() and time.monotonic() < deadline:
            yield b"again"
            time.sleep(0.01)

    def Upload(self, requests, _context):
        count = total = 0
        for request in requests:
            count += 1
            total += len(request)
        return b"%d messages, %d bytes" % (count, total)

    def Chat(self, requests, _context):
        yield from requests

    def Cancelled(self, _request, _context):
        """How many calls of Slow and Endless their callers gave up."""
        with self.lock:
            return b"%d" % self.cancelled

    def note_cancellation(self, context):
        def ended():
            # The callback comes for every call that ends; one that was given up never set its code.
            if not context.code():
                with self.lock:
                    self.cancelled += 1

        context.add_callback(ended)


def main():
    echo = Echo()
    kinds = {
        grpc.unary_unary_rpc_method_handler: ("Unary", "Look", "Fail", "Slow", "Cancelled"),
        grpc.unary_stream_rpc_method_handler: ("Download", "Ticks", "Endless"),
        grpc.stream_unary_rpc_method_handler: ("Upload",),
        grpc.stream_stream_rpc_method_handler: ("Chat",),
    }
    handlers = {name: make(getattr(echo, name)) for make, names in kinds.items() for name in names}
    options = [("grpc.max_receive_message_length", 16 << 20)]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
