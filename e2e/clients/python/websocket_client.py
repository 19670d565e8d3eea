"""Talks to the WebSocket echo server with websockets: ADDRESS NAME. Prints what came back as JSON."""

import json
import socket
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main():
    address, name = sys.argv[1:3]
    host, port = address.split(":")
    # The library takes `Host` from the address it is given, so the connection is made for it.
    connection = socket.create_connection((host, int(port)), timeout=20)
    result = {"echoes": 0, "order": True}
    with connect(f"ws://{name}/chat", sock=connection, compression=None, max_size=None, proxy=None) as client:
        for number in range(200):
            client.send(str(number))
            result["order"] = result["order"] and client.recv() == str(number)
            result["echoes"] += 1
        big = bytes([7]) * (1 << 20)
        client.send(big)
        result["big"] = client.recv() == big
        result["pong"] = "are you there" if client.ping("are you there").wait(10) else None
        client.send("close 4001 enough")
        try:
            client.recv()
        except ConnectionClosed as closed:
            result["close"] = {"code": closed.rcvd.code, "reason": closed.rcvd.reason}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
