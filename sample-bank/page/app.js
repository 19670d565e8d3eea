// The page: accounts, a card to tap, and the feed, which fills in as events arrive.

import { ask, follow, setToken } from "./api.js";
import { face } from "./face.js";
import { Feed, drawSpending, short } from "./feed.js";
import { money, minor } from "./money.js";

const SESSION = "heddle-bank-session"; // of this tab only
const at = (id) => document.getElementById(id);

let me = null;
let accounts = [];
let chosen = null; // id of the shown account
let card = null;
let feed = null;
let stop = () => {};
let friends = []; // accounts that money may be sent to, of the demo's link
let tapped = null; // { time } of a payment whose event has not come yet

function element(name, kind, ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

// --- coming and going

async function enter(customer, secret) {
  const session = await ask("POST", "/v1/sessions", { customer, secret });
  sessionStorage.setItem(SESSION, session.token);
  await open(session.token);
}

async function open(token) {
  setToken(token);
  me = await ask("GET", "/v1/me");
  ({ accounts } = await ask("GET", "/v1/accounts"));
  at("door").hidden = true;
  at("bank").hidden = at("leave").hidden = at("live").hidden = false;
  at("hello").textContent = `Hello, ${me.name || me.customer || me.id}`;
  await show(accounts[0]?.id);
  stop();
  stop = follow(arrived, (connected, error) => {
    at("live").textContent = connected ? "live" : "reconnecting";
    at("live").classList.toggle("on", connected);
    if (error) leave();
    // What came between the answer for the feed and the stream is in the feed by now.
    else if (connected) feed.catchUp().catch(() => {});
  });
}

function leave() {
  stop();
  sessionStorage.removeItem(SESSION);
  setToken(null);
  at("bank").hidden = at("leave").hidden = at("live").hidden = true;
  at("door").hidden = false;
}

// --- accounts and card

async function show(id) {
  chosen = id;
  drawAccounts();
  feed = new Feed(id, at("feed"), at("empty"), at("served"));
  at("known").replaceChildren(...friends.map((friend) => new Option(friend, friend)));
  const account = accounts.find((each) => each.id === id);
  card = null;
  at("wallet").hidden = true;
  await Promise.all([feed.load(), showCard(account), spending()]);
}

let asked = 0;
/** Soon, and once for many events. */
function spendingSoon() {
  clearTimeout(asked);
  asked = setTimeout(() => spending(), 800);
}

/** A part of the page that may be missing. */
function spending() {
  return drawSpending(chosen, at("spending"), at("merchants"), at("counted")).catch(() => { at("spending").hidden = true; });
}

function drawAccounts() {
  at("accounts").replaceChildren(...accounts.map((account) => {
    const held = account.balance - account.available;
    const button = element("button", "account",
      element("span", "", `${account.currency} account ${short(account.id)}`),
      element("b", "", money(account.available, account.currency)),
      element("span", "", held > 0 ? `${money(held, account.currency)} reserved` : "available"));
    button.setAttribute("aria-pressed", String(account.id === chosen));
    button.title = account.id;
    button.addEventListener("click", () => show(account.id).catch(complain));
    return button;
  }));
}

async function showCard(account) {
  const id = account?.cards?.[0]?.id ?? account?.cards?.[0];
  if (!id) return;
  card = await ask("GET", `/v1/cards/${id}`);
  at("wallet").hidden = false;
  drawCard();
  drawShops(account.currency);
}

function drawCard() {
  at("card").classList.toggle("frozen", card.frozen);
  at("card-number").textContent = `•••• •••• ${card.id.slice(-4)}`;
  at("card-number").title = card.id;
  at("card-name").textContent = me.name || me.id;
  at("card-limit").textContent = card.frozen ? "frozen" : `up to ${money(card.limit.amount ?? card.limit, accountOf(card).currency)}`;
  at("freeze").textContent = card.frozen ? "Unfreeze card" : "Freeze card";
  at("freeze").setAttribute("aria-pressed", String(card.frozen));
}

const accountOf = (owned) => accounts.find((each) => each.id === owned.account) ?? accounts[0];

// --- paying

let shops = [];

function drawShops(currency) {
  at("shops").replaceChildren(...shops.map((shop) => {
    const button = element("button", "shop",
      face(shop.emoji, shop.name), element("span", "", shop.name), element("b", "", money(shop.price, currency)));
    button.addEventListener("click", () => tap(shop, shop.price, currency, button));
    return button;
  }));
}

async function tap(shop, amount, currency, button) {
  button.disabled = true;
  at("card").classList.add("tapped");
  const started = performance.now();
  try {
    const answer = await ask("POST", "/v1/card-payments", {
      card: card.id, merchant: shop.id, descriptor: shop.descriptor, amount, currency,
    }, true);
    const took = Math.round(performance.now() - started);
    const approved = answer.decision === "approved";
    if (approved) tapped = { time: performance.now() };
    verdict(approved, approved ? `${shop.name}, answered in ${took} ms` : reason(answer.reason));
  } catch (error) {
    verdict(false, error.message);
  } finally {
    button.disabled = false;
    at("card").classList.remove("tapped");
  }
}

const reason = (code) => ({
  "card-frozen": "The card is frozen.",
  "over-limit": "That is more than the card's limit.",
  "insufficient-funds": "There is not enough in the account.",
  "currency-mismatch": "The account has another currency.",
}[code] ?? `Reason: ${code ?? "not told"}.`);

let hiding = 0;
function verdict(good, text) {
  const shown = at("verdict");
  shown.className = `verdict shown${good ? "" : " no"}`;
  shown.replaceChildren(good ? "Approved" : "Declined", element("small", "", text));
  clearTimeout(hiding);
  hiding = setTimeout(() => shown.classList.remove("shown"), good ? 1800 : 3500);
}

at("freeze").addEventListener("click", async () => {
  at("freeze").disabled = true;
  try {
    card = await ask("PATCH", `/v1/cards/${card.id}`, { frozen: !card.frozen });
    drawCard();
  } catch (error) {
    verdict(false, error.message);
  } finally {
    at("freeze").disabled = false;
  }
});

at("transfer").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const form = submitted.target;
  const said = form.querySelector(".problem");
  const button = form.querySelector("button");
  const { currency } = accounts.find((each) => each.id === chosen);
  said.className = "problem";
  said.textContent = "";
  button.disabled = true;
  try {
    const amount = minor(form.amount.value, currency);
    await ask("POST", "/v1/transfers", {
      from: chosen, to: form.to.value, amount, currency, reference: form.reference.value || "Transfer",
    }, true);
    said.classList.add("good");
    said.textContent = `Sent ${money(amount, currency)}.`;
    form.amount.value = form.reference.value = "";
  } catch (error) {
    said.textContent = error.message;
  } finally {
    button.disabled = false;
  }
});

// --- what arrives

function arrived(event) {
  const account = accounts.find((each) => each.id === event.account);
  if (account && !(event.sequence < account.sequence)) {
    Object.assign(account, { balance: event.balance, available: event.available, sequence: event.sequence });
    drawAccounts();
  }
  if (event.account !== chosen) return;
  feed.add(event);
  if (event.type === "posting") spendingSoon();
  if (tapped) {
    const took = Math.round(performance.now() - tapped.time);
    at("timing").textContent = `The last payment was in the feed ${took} ms after its answer: ledger, outbox, Kafka, merchants, notifications, each call through Heddle.`;
    tapped = null;
  }
}

// --- start

function complain(error) {
  at("enter").querySelector(".problem").textContent = error.message;
}

at("enter").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  complain({ message: "" });
  const form = submitted.target;
  try {
    await enter(form.customer.value, form.secret.value);
  } catch (error) {
    complain(error);
  }
});
at("leave").addEventListener("click", leave);

async function start() {
  shops = await ask("GET", "/shops.json");
  // `#customer=…&secret=…` of the demo's link; a fragment is never sent to a server.
  const given = new URLSearchParams(location.hash.slice(1));
  const kept = sessionStorage.getItem(SESSION);
  if (given.has("customer")) {
    const form = at("enter");
    form.customer.value = given.get("customer");
    form.secret.value = given.get("secret") ?? "";
    friends = given.getAll("friend");
    at("transfer").to.value = friends[0] ?? "";
    history.replaceState(null, "", location.pathname);
    await enter(form.customer.value, form.secret.value);
  } else if (kept) {
    await open(kept);
  } else {
    leave();
  }
}

start().catch((error) => {
  leave();
  complain(error);
});
