// Talks to the WebSocket echo server with `ws`: ADDRESS NAME. Prints what came back as JSON.

import { once } from 'node:events';
import WebSocket from 'ws';

const [address, name] = process.argv.slice(2);
const socket = new WebSocket(`ws://${address}/chat`, { headers: { host: name }, perMessageDeflate: false });
await once(socket, 'open');
const result = { echoes: 0, order: true };
for (let number = 0; number < 200; number += 1) {
  socket.send(`${number}`);
  const [data] = await once(socket, 'message');
  result.echoes += 1;
  result.order &&= data.toString() === `${number}`;
}
const big = Buffer.alloc(1 << 20, 7);
socket.send(big);
const [returned, binary] = await once(socket, 'message');
result.big = binary && big.equals(returned);
socket.ping('are you there');
const [pong] = await once(socket, 'pong');
result.pong = pong.toString();
socket.send('close 4001 enough');
const [code, reason] = await once(socket, 'close');
result.close = { code, reason: reason.toString() };
console.log(JSON.stringify(result));
