// Many WebSocket connections at once with `ws`: ADDRESS NAME CONNECTIONS EACH. On every connection a message
// waits for the echo of the one before. Prints as JSON how many echoes came and how many were wrong.

import { once } from 'node:events';
import WebSocket from 'ws';

const [address, name, connections, each] = process.argv.slice(2);
const result = { echoes: 0, wrong: 0, closed: 0 };

async function talk(number) {
  const socket = new WebSocket(`ws://${address}/chat`, { headers: { host: name }, perMessageDeflate: false });
  await once(socket, 'open');
  for (let round = 0; round < Number(each); round += 1) {
    const text = `${number} ${round}`;
    socket.send(text);
    const [data] = await once(socket, 'message');
    result.echoes += 1;
    result.wrong += data.toString() === text ? 0 : 1;
  }
  socket.close(1000);
  const [code] = await once(socket, 'close');
  result.closed += code === 1000 ? 1 : 0;
}

await Promise.all(Array.from({ length: Number(connections) }, (_, number) => talk(number)));
console.log(JSON.stringify(result));
