"""A WebSocket caller whose proxy restarts under it: ADDRESS NAME MARKER.

Says `open` after the first echo, then sends on, one message after the other, until the file MARKER
is there (then it closes) or the other side ends it. Prints how it ended as JSON.
"""

import json
import pathlib
import socket
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main():
    address, name, marker = sys.argv[1:4]
    marker = pathlib.Path(marker)
    host, port = address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    result = {"order": True}
    echoes = 0
    with connect(f"ws://{name}/chat", sock=connection, compression=None, proxy=None) as client:
        try:
            while not marker.exists():
                client.send(str(echoes))
                result["order"] = result["order"] and client.recv(timeout=20) == str(echoes)
                echoes += 1
                if echoes == 1:
                    print("open now", flush=True)
                time.sleep(0.02)
            result["after"] = echoes
            client.close()
        except ConnectionClosed as closed:
            result["code"] = closed.rcvd.code if closed.rcvd else None
            result["reason"] = closed.rcvd.reason if closed.rcvd else None
    result["echoes"] = echoes
    print(json.dumps(result))


if __name__ == "__main__":
    main()
