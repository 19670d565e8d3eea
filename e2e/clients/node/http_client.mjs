// The steps of ../README.md with Node's own HTTP clients.
//
// host-http, host-http2     node:http and node:http2, with the name in Host or :authority
// proxy-http, proxy-fetch   node:http, and fetch, which sends CONNECT; NODE_USE_ENV_PROXY makes them use http_proxy
//
// There is no host-fetch: fetch does not let a program choose Host.

import http from 'node:http';
import http2 from 'node:http2';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

const [how, address, name] = process.argv.slice(2);

function pattern(count) {
  return Buffer.from(Uint8Array.from({ length: count }, (_, position) => position % 251));
}

function* pieces(count, size) {
  const whole = pattern(count);
  for (let start = 0; start < count; start += size) {
    yield whole.subarray(start, start + size);
  }
}

const agent = new http.Agent({ keepAlive: true });

async function withHttp(method, target, body, to) {
  const [hostname, port] = address.split(':');
  const options = how.startsWith('host')
    ? { hostname, port, headers: { host: to }, agent }
    : { hostname: to, port: 80, headers: {} };
  if (Buffer.isBuffer(body)) {
    options.headers['content-length'] = body.length;
  }
  const request = http.request({ ...options, method, path: target });
  const answered = once(request, 'response');
  if (body === undefined || Buffer.isBuffer(body)) {
    request.end(body);
  } else {
    Readable.from(body).pipe(request);
  }
  const [response] = await answered;
  return { status: response.statusCode, error: response.headers['heddle-err'], content: await buffer(response) };
}

async function withFetch(method, target, body, to) {
  const streamed = body !== undefined && !Buffer.isBuffer(body);
  const options = { method, body: streamed ? Readable.toWeb(Readable.from(body)) : body, duplex: 'half' };
  let response;
  try {
    response = await fetch(`http://${to}${target}`, options);
  } catch (error) {
    // fetch asks for a tunnel; of a refusal it tells the status only, deep inside its error.
    const refused = /Proxy response \((\d+)\)/.exec(error.cause?.cause?.message ?? error.cause?.message);
    if (refused === null) {
      throw error;
    }
    return { status: Number(refused[1]), error: 'refused tunnel', content: Buffer.alloc(0) };
  }
  const content = Buffer.from(await response.arrayBuffer());
  return { status: response.status, error: response.headers.get('heddle-err') ?? undefined, content };
}

let session;

async function withHttp2(method, target, body, to) {
  session ??= http2.connect(`http://${address}`);
  const stream = session.request(
    { ':method': method, ':path': target, ':authority': to },
    { endStream: body === undefined },
  );
  const answered = once(stream, 'response');
  if (Buffer.isBuffer(body)) {
    stream.end(body);
  } else if (body !== undefined) {
    Readable.from(body).pipe(stream);
  }
  const [headers] = await answered;
  return { status: headers[':status'], error: headers['heddle-err'], content: await buffer(stream) };
}

const ask = { http: withHttp, fetch: withFetch, http2: withHttp2 }[how.split('-')[1]];
const results = {};

async function step(step, method, target, { body, report, to = name } = {}) {
  const { status, error, content } = await ask(method, target, body, to);
  results[step] = { status, bytes: content.length, error: error ?? null };
  if (report) {
    results[step].report = JSON.parse(content.toString());
  }
}

await step('get', 'GET', '/hello?x=1', { report: true });
await step('post', 'POST', '/post', { body: pattern(1 << 20), report: true });
await step('stream', 'POST', '/stream', { body: pieces(300_000, 7_000), report: true });
await step('status', 'GET', '/?status=404');
await step('large', 'GET', '/?bytes=3000000');
await step('head', 'HEAD', '/');
let ok = 0;
for (let round = 0; round < 20; round += 1) {
  ok += (await ask('GET', '/', undefined, name)).status === 200 ? 1 : 0;
}
results.repeat = { ok };
await step('unknown', 'GET', '/', { to: 'nobody' });
console.log(JSON.stringify(results));
session?.close();
agent.destroy();
