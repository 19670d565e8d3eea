// notifications, version 2: keeps events and pushes them to who listens, as server-sent events, each with a title.
//
//   POST /events                          an event of the topic feed.items
//   GET  /notifications/ACCOUNT/events    goes on after `last-event-id`, else with what is new
//   GET  /notifications/CUSTOMER/events?account=A&account=B

import fs from "node:fs/promises";
import path from "node:path";
import { Model, isId } from "./model.mjs";
import { notFound, malformed, read, serve } from "./web.mjs";

const VERSION = process.env.BANK_VERSION ?? "v2";
const LOOK = 100; // ms between looks at the folder of a connected account
const ALIVE = 10_000; // ms of quiet after which a stream says that it lives
const ACCOUNTS = 32; // accounts of one stream

const model = new Model("notifications");
const streams = new Set();

const server = serve(VERSION, async (request, url, response) => {
  if (request.method === "POST" && url.pathname === "/events") return model.take(await read(request));
  const [, whose] = /^\/notifications\/([^/]+)\/events$/.exec(url.pathname) ?? [];
  if (request.method !== "GET" || !isId(whose)) throw notFound("There are POST /events and GET /notifications/ACCOUNT/events.");
  const named = whose.startsWith("acc-") ? [whose] : url.searchParams.getAll("account");
  const accounts = [...new Set(named)].sort();
  if (accounts.length < 1 || accounts.length > ACCOUNTS || !accounts.every(isId)) {
    throw malformed(`Ask for /notifications/ACCOUNT/events, or name 1 to ${ACCOUNTS} accounts with ?account=.`);
  }
  const at = await places(accounts, request.headers["last-event-id"] || url.searchParams.get("after") || "");
  push(response, accounts, at);
  return undefined;
});
server.onEnd(() => streams.forEach((stream) => stream.end()));

const nameOf = (sequence) => `${String(sequence).padStart(12, "0")}.json`;

/** The last file name that the listener has of each account: as it says (`7`, or `acc-1:7,acc-2:9`), or the newest. */
async function places(accounts, said) {
  const given = new Map(said.split(",").map((part) => (part.includes(":") ? part.split(":") : [accounts[0], part])));
  const at = new Map();
  for (const account of accounts) {
    const sequence = given.get(account);
    if (/^\d{1,12}$/.test(sequence ?? "")) at.set(account, nameOf(sequence));
    else at.set(account, (await model.names(account)).at(-1) ?? nameOf(0));
  }
  return at;
}

function push(response, accounts, at) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.write(`: notifications ${VERSION}\nretry: 1000\n\n`);
  const changed = new Map();
  let quiet = Date.now();
  let busy = false;
  const look = setInterval(async () => {
    if (busy || response.writableNeedDrain) return; // a slow listener gets it later
    busy = true;
    try {
      for (const account of accounts) {
        for (const name of await fresh(account, at.get(account), changed)) {
          const data = titled(await model.read(account, name));
          at.set(account, name);
          response.write(`id: ${place(accounts, at)}\nevent: item\ndata: ${data}\n\n`);
          quiet = Date.now();
        }
      }
      if (Date.now() - quiet > ALIVE) {
        response.write(": alive\n\n");
        quiet = Date.now();
      }
    } catch {
      response.end(); // the listener comes back and says where it was
    } finally {
      busy = false;
    }
  }, LOOK);
  streams.add(response);
  response.on("close", () => {
    clearInterval(look);
    streams.delete(response);
  });
}

/** Names that came after `last`; the folder is read only when it may have changed. */
async function fresh(account, last, changed) {
  const folder = path.join(model.folder, account);
  const info = await fs.stat(folder).catch((error) => (error.code === "ENOENT" ? null : Promise.reject(error)));
  if (!info || (info.mtimeMs === changed.get(account) && Date.now() - info.mtimeMs > 1000)) return [];
  const names = (await model.names(account)).filter((name) => name > last);
  changed.set(account, info.mtimeMs);
  return names;
}

const place = (accounts, at) => {
  const number = (account) => String(Number.parseInt(at.get(account), 10));
  return accounts.length === 1 ? number(accounts[0]) : accounts.map((account) => `${account}:${number(account)}`).join(",");
};

function titled(text) {
  const event = JSON.parse(text);
  const who = event.merchant?.name ?? event.reference ?? event.kind ?? "your account";
  const verb = event.type === "hold" ? "Reserved for" : event.type === "release" ? "Released by" : event.amount < 0 ? "Paid:" : "Received:";
  return JSON.stringify({ ...event, title: `${verb} ${who}` });
}
