// Version 2 of the demo's accounts service: Node's own HTTP server, no dependencies.
//
// Usage: node accounts_v2.js PORT REPLICA
//
// It ends when its standard input does, so that it never outlives the demo that started it.
'use strict';

const http = require('node:http');

const [port, replica] = [Number(process.argv[2]), process.argv[3]];
let delay = 0; // milliseconds that every answer waits

const server = http.createServer((request, response) => {
  let received = 0;
  request.on('data', (chunk) => { received += chunk.length; });
  request.on('end', () => {
    const url = new URL(request.url, 'http://accounts');
    const control = request.method === 'POST' && url.pathname === '/control/slow';
    if (control) delay = Number(url.searchParams.get('ms'));
    const answer = { service: 'accounts', version: 'v2', replica, received };
    const text = JSON.stringify(answer) + '\n';
    const send = () => {
      response.writeHead(200, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
        'x-version': 'v2',
        'x-replica': replica,
      });
      response.end(text);
    };
    if (control || delay === 0) send();
    else setTimeout(send, delay);
  });
});

process.on('SIGINT', () => {}); // Ctrl-C is the demo's to handle
process.stdin.resume().on('end', () => process.exit(0)).on('error', () => process.exit(0));
server.listen(port, '127.0.0.1');
