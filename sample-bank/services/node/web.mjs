// What both services in Node share: a server that ends well, answers, bodies, and calls by name.
//
// Node's own library only. Of the mesh it knows nothing but that `traceparent` is copied. Node 20 does not read
// http_proxy by itself, so `call` does.

import http from "node:http";

const BODY_LIMIT = 64 * 1024; // bytes; an event has a few hundred
const IDLE = 75_000; // ms that a connection may be quiet; longer than a proxy keeps it
const GRACE = 10_000; // ms that requests in work have when the process is told to end
const PATIENCE = 2_000; // ms that a call may take

/** An answer that is an error, for a person (RFC 9457). */
export class Refusal extends Error {
  constructor(status, code, title, detail) {
    super(detail);
    this.status = status;
    this.body = { type: `urn:heddle-bank:${code}`, title, status, detail };
  }
}

export const malformed = (detail) => new Refusal(400, "malformed", "The event cannot be read", detail);
export const notFound = (detail) => new Refusal(404, "not-found", "Nothing is here", detail);

/** Reads a body within its bound. */
export async function read(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > BODY_LIMIT) throw new Refusal(413, "too-large", "The event is too large", `A body may have ${BODY_LIMIT} bytes.`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

const proxy = process.env.http_proxy ? new URL(process.env.http_proxy) : null;
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

/** Asks another service for JSON: `call("http://merchants/merchants/x", request)`. */
export function call(url, cause) {
  const target = new URL(url);
  const headers = { host: target.host };
  if (cause.headers.traceparent) headers.traceparent = cause.headers.traceparent;
  const to = proxy ? { host: proxy.hostname, port: proxy.port, path: url } : { host: target.hostname, port: target.port, path: target.pathname };
  return new Promise((resolve, reject) => {
    const sent = http.get({ ...to, headers, agent, timeout: PATIENCE }, async (answer) => {
      try {
        const text = await read(answer);
        if (answer.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`${url} answered ${answer.statusCode}`));
      } catch (error) {
        reject(error);
      }
    });
    sent.on("timeout", () => sent.destroy(new Error(`${url} did not answer within ${PATIENCE} ms`)));
    sent.on("error", reject);
  });
}

/** Serves `routes(request, url, response)`, which gives what to answer, or undefined when it answers itself. */
export function serve(version, routes) {
  let ending = false;
  const ends = [];
  const server = http.createServer({ keepAliveTimeout: IDLE, headersTimeout: 10_000 }, async (request, response) => {
    response.setHeader("bank-version", version);
    response.setHeader("bank-replica", String(process.pid));
    const send = (status, kind, value) => {
      const data = Buffer.from(JSON.stringify(value));
      if (ending || status === 413) response.setHeader("connection", "close");
      response.writeHead(status, { "content-type": kind, "content-length": data.length });
      response.end(data);
    };
    try {
      const url = new URL(request.url, "http://bank");
      if (url.pathname === "/ready") return send(200, "application/json", { ready: true });
      const value = await routes(request, url, response);
      if (value !== undefined) send(200, "application/json", value);
    } catch (error) {
      if (response.headersSent) return response.destroy();
      const known = error instanceof Refusal ? error
        : new Refusal(503, "unavailable", "The read model is away", `It is not done and may be sent again: ${error.message}.`);
      send(known.status, "application/problem+json", known.body);
    }
  });
  const end = () => {
    if (ending) return;
    ending = true;
    for (const each of ends) each();
    setTimeout(() => process.exit(0), GRACE).unref();
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  server.listen(Number(process.env.PORT), "127.0.0.1");
  return { onEnd: (run) => ends.push(run) };
}
