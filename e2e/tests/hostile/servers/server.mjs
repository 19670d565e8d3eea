// Answers every request with 200 and tells, on standard output, of each that came whole.
import { createServer } from 'node:http';

createServer((request, response) => {
  let length = 0;
  request.on('data', (data) => (length += data.length));
  request.on('error', () => {});
  request.on('end', () => {
    if (!request.complete) return;
    process.stdout.write(`seen ${request.method} ${request.url} ${length}\n`);
    response.end('ok');
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
