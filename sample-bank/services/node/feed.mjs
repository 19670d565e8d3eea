// feed, version 1: the timeline of an account.
//
//   POST /events                      an event of the topic feed.items
//   GET  /feed/ACCOUNT?after=7&limit=20   what came after number 7; without `after` the newest
//   GET  /feed/ACCOUNT/spending       the newest payments by merchant, with what the merchants service says of each

import { Model, isId } from "./model.mjs";
import { call, notFound, malformed, read, serve } from "./web.mjs";

const VERSION = process.env.BANK_VERSION ?? "v1";
const LIMIT = 200; // items of an answer
const SPENDING = 100; // events that the spending looks at
const MERCHANTS = 5; // merchants that it shows

const model = new Model("feed");

serve(VERSION, async (request, url) => {
  if (request.method === "POST" && url.pathname === "/events") return model.take(await read(request));
  const [, account, what] = /^\/feed\/([^/]+)(\/spending)?$/.exec(url.pathname) ?? [];
  if (request.method !== "GET" || !isId(account)) throw notFound("There are POST /events and GET /feed/ACCOUNT.");
  return what ? spending(account, request) : feed(account, url.searchParams);
});

async function feed(account, query) {
  const limit = number(query, "limit", 50, LIMIT);
  const all = await model.names(account);
  const chosen = query.has("after")
    ? after(all, number(query, "after", 0, 999_999_999_999)).slice(0, limit)
    : all.slice(-Math.max(limit, 1));
  return { account, version: VERSION, items: await items(account, chosen) };
}

/** The names behind a sequence number, found by halving: an account may have many. */
function after(names, sequence) {
  const last = `${String(sequence).padStart(12, "0")}.json`;
  let [low, high] = [0, names.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (names[middle] <= last) low = middle + 1;
    else high = middle;
  }
  return names.slice(low);
}

const items = (account, names) => Promise.all(names.map(async (name) => JSON.parse(await model.read(account, name))));

async function spending(account, request) {
  const newest = await items(account, (await model.names(account)).slice(-SPENDING));
  const sums = new Map();
  for (const { type, merchant, amount, currency } of newest) {
    if (type !== "posting" || !merchant?.id) continue;
    const sum = sums.get(merchant.id) ?? { ...merchant, payments: 0, spent: 0, currency };
    sum.payments += 1;
    sum.spent -= amount;
    sums.set(merchant.id, sum);
  }
  const most = [...sums.values()].sort((a, b) => b.spent - a.spent).slice(0, MERCHANTS);
  const merchants = await Promise.all(most.map(async (sum) => {
    try {
      return { ...sum, everyone: await call(`http://merchants/merchants/${sum.id}`, request) };
    } catch {
      return sum; // the feed does not fail for a merchant that cannot be asked
    }
  }));
  return { account, version: VERSION, merchants };
}

function number(query, name, otherwise, most) {
  const text = query.get(name);
  if (text === null) return otherwise;
  if (!/^\d{1,12}$/.test(text)) throw malformed(`'${name}' must be a whole number.`);
  return Math.min(Number(text), most);
}
