"""A gRPC caller whose proxy restarts under it: TARGET NAME MARKER.

Opens a lockstep chat and a stream of ticks, says `open`, and goes on with both and with single calls
over the same channel until the file MARKER is there, or until the streams are ended for it. Prints
what came of each as JSON.
"""

import json
import pathlib
import sys
import threading
import time

import grpc

SERVICE = "/heddle.test.Echo/"
PACE = 0.05


def main():
    target, name, marker = sys.argv[1:4]
    marker = pathlib.Path(marker)
    channel = grpc.insecure_channel(target, options=[("grpc.default_authority", name)])
    echoes = []
    ticks = []

    def speak():
        number = 0
        while not marker.exists():
            yield b"%d" % number
            while len(echoes) <= number:
                time.sleep(0.001)
            number += 1
            time.sleep(PACE)

    chat = channel.stream_stream(SERVICE + "Chat")(speak(), timeout=60)
    clock = channel.unary_stream(SERVICE + "Ticks")(b"60", timeout=60)

    def hear(call, heard):
        try:
            heard.extend([next(call)])
            for message in call:
                heard.append(message)
        except grpc.RpcError:
            pass

    ears = [threading.Thread(target=hear, args=pair) for pair in ((chat, echoes), (clock, ticks))]
    for ear in ears:
        ear.start()
    while not echoes or not ticks:
        time.sleep(0.01)
    print("open now", flush=True)

    single = {"done": 0, "failed": []}
    unary = channel.unary_unary(SERVICE + "Unary")
    while any(ear.is_alive() for ear in ears) and not marker.exists():
        try:
            unary(b"hello", timeout=20)
            single["done"] += 1
        except grpc.RpcError as error:
            single["failed"].append(f"{error.code()}: {error.details()}")
        time.sleep(PACE)
    for ear in ears:
        ear.join()

    def told(call, heard, expected):
        return {
            "code": call.code().value[0],
            "details": call.details(),
            "messages": len(heard),
            "ordered": heard == [expected(number) for number in range(len(heard))],
            "trailing": dict(call.trailing_metadata() or ()).get("x-trailing"),
        }

    result = {
        "chat": told(chat, echoes, lambda number: b"%d" % number),
        "ticks": told(clock, ticks, lambda number: b"tick %d" % number),
        "single": single,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
