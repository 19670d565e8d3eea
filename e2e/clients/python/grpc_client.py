"""The cases of ../README.md with grpcio.

host    connects to TARGET and makes NAME the authority
tls     the same over TLS; GRPC_DEFAULT_SSL_ROOTS_FILE_PATH says whom to trust
proxy   TARGET is a name; the environment says which proxy a CONNECT goes to
refused TARGET is one that the proxy must refuse: a single call
"""

import json
import sys
import time

import grpc

SERVICE = "/heddle.test.Echo/"


class Client:
    def __init__(self, how, target, name):
        options = [("grpc.max_receive_message_length", 16 << 20)]
        if how == "host":
            options.append(("grpc.default_authority", name))
        if how == "tls":
            options.append(("grpc.ssl_target_name_override", name))
            self.channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), options=options)
        else:
            self.channel = grpc.insecure_channel(target, options=options)

    def unary(self, method):
        return self.channel.unary_unary(SERVICE + method)

    def case_unary(self):
        reply, call = self.unary("Unary").with_call(b"hello", metadata=(("x-ask", "why"),), timeout=20)
        trailing = dict(call.trailing_metadata())
        return {
            "code": call.code(),
            "reply": reply.decode(),
            "initial": dict(call.initial_metadata()).get("x-initial"),
            "trailing": trailing.get("x-trailing"),
            "binary": list(trailing.get("x-data-bin", b"")),
        }

    def case_large(self):
        reply, call = self.unary("Unary").with_call(bytes(3 << 20), timeout=20)
        return {"code": call.code(), "bytes": len(reply)}

    def case_gzip(self):
        call_with = self.unary("Unary").with_call
        reply, call = call_with(b"z" * 100_000, timeout=20, compression=grpc.Compression.Gzip)
        return {"code": call.code(), "bytes": len(reply)}

    def case_look(self):
        reply, call = self.unary("Look").with_call(b"", metadata=(("x-ask", "a"), ("x-ask", "b")), timeout=10)
        return {"code": call.code(), "report": json.loads(reply)}

    def case_download(self):
        call = self.channel.unary_stream(SERVICE + "Download")(b"1000", timeout=20)
        messages = list(call)
        ordered = messages == [b"message %d" % number for number in range(1000)]
        trailing = dict(call.trailing_metadata()).get("x-trailing")
        return {"code": call.code(), "messages": len(messages), "ordered": ordered, "trailing": trailing}

    def case_upload(self):
        sender = self.channel.stream_unary(SERVICE + "Upload")
        reply, call = sender.with_call((bytes(1000) for _ in range(500)), timeout=20)
        return {"code": call.code(), "reply": reply.decode()}

    def case_chat(self):
        """Lockstep: each message waits for the echo of the last."""
        echoes = []

        def speak():
            for number in range(200):
                while len(echoes) < number:
                    time.sleep(0.0001)
                yield b"%d" % number

        call = self.channel.stream_stream(SERVICE + "Chat")(speak(), timeout=20)
        for echo in call:
            echoes.append(echo)
        ordered = echoes == [b"%d" % number for number in range(200)]
        return {"code": call.code(), "messages": len(echoes), "ordered": ordered}

    def case_fail(self):
        try:
            self.unary("Fail")(b"", timeout=20)
        except grpc.RpcError as error:
            trailing = dict(error.trailing_metadata()).get("x-trailing")
            return {"code": error.code(), "details": error.details(), "trailing": trailing}

    def case_unimplemented(self):
        return self.refused("Nothing")

    def case_deadline(self):
        started = time.monotonic()
        result = self.refused("Slow", 0.4)
        result["seconds"] = time.monotonic() - started
        return result

    def case_cancel(self):
        """Gives up a stream after its first message; the server must learn of it."""
        before = int(self.unary("Cancelled")(b"", timeout=20))
        call = self.channel.unary_stream(SERVICE + "Endless")(b"", timeout=20)
        next(call)
        call.cancel()
        until = time.monotonic() + 5
        while int(self.unary("Cancelled")(b"", timeout=20)) == before and time.monotonic() < until:
            time.sleep(0.02)
        heard = int(self.unary("Cancelled")(b"", timeout=20)) - before
        return {"code": call.code(), "heard": heard}

    def refused(self, method, timeout=20):
        try:
            self.unary(method)(b"", timeout=timeout)
        except grpc.RpcError as error:
            metadata = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
            return {"code": error.code(), "details": error.details(), "error": metadata.get("heddle-err")}
        return {"code": grpc.StatusCode.OK}


def main():
    how, target, name = sys.argv[1:4]
    client = Client(how, target, name)
    if how == "refused":
        result = client.refused("Unary")
        print(json.dumps(result | {"code": result["code"].value[0]}))
        return
    cases = ("unary", "large", "gzip", "look", "download", "upload", "chat")
    cases += ("fail", "unimplemented", "deadline", "cancel")
    results = {case: getattr(client, f"case_{case}")() for case in cases}
    stranger = Client(how, target.replace(name, "nobody"), "nobody")
    results["unknown"] = stranger.refused("Unary")
    for result in results.values():
        result["code"] = result["code"].value[0]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
