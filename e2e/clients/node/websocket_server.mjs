// A WebSocket echo server with the package ws, compression included.
//
//   node websocket_server.mjs
//
// Prints `listening on ADDRESS` and serves a free port of loopback until it is ended.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: true,
  // The largest message of Autobahn's cases has 16 MiB.
  maxPayload: 32 * 1024 * 1024,
  // And one of them comes in 65,536 pieces.
  maxFragments: 128 * 1024,
});

server.on("listening", () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});

server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  // What breaks the protocol ends its connection; the suite judges how.
  socket.on("error", () => {});
});
