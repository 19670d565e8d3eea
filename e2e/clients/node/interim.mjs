// Interim answers (103 Early Hints, 100 Continue) of Node's own servers, and as Node's HTTP/2 client sees them.
//
//   node interim.mjs serve http1|http2    prints `listening on ADDRESS` and serves a free port of loopback
//   node interim.mjs ask ADDRESS NAME     prints what came, as JSON

import http from 'node:http';
import http2 from 'node:http2';

const [what, where, name] = process.argv.slice(2);
const link = '</a.css>; rel=preload';

// A compat response over HTTP/2 has the same methods.
function answer(request, response) {
  let length = 0;
  request.on('data', (piece) => (length += piece.length));
  request.on('end', () => response.end(String(length)));
}

function go(request, response) {
  response.writeEarlyHints({ link });
  response.writeContinue();
  answer(request, response);
}

function hint(request, response) {
  response.writeEarlyHints({ link });
  answer(request, response);
}

if (what === 'serve') {
  const server = where === 'http2' ? http2.createServer() : http.createServer();
  server.on('request', hint);
  server.on('checkContinue', go);
  server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
} else {
  const session = http2.connect(`http://${where}`);
  const stream = session.request({ ':method': 'POST', ':authority': name, expect: '100-continue' }, { endStream: false });
  const seen = { interim: [] };
  stream.on('headers', (headers) => seen.interim.push([headers[':status'], headers.link ?? null]));
  stream.on('continue', () => stream.end('hello'));
  stream.on('response', (headers) => (seen.status = headers[':status']));
  stream.setEncoding('utf8');
  seen.body = '';
  stream.on('data', (piece) => (seen.body += piece));
  stream.on('end', () => {
    console.log(JSON.stringify(seen));
    session.close();
  });
}
