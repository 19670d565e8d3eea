// The timeline of one account. A payment is one line, from the reservation to the booking.

import { ask } from "./api.js";
import { face } from "./face.js";
import { money } from "./money.js";

const SHOWN = 60; // lines

export class Feed {
  constructor(account, list, empty, served) {
    Object.assign(this, { account, list, empty, served });
    this.items = new Map(); // by sequence
    this.drawn = new Set();
    list.replaceChildren();
    empty.hidden = true;
  }

  async load() {
    const answer = await ask("GET", `/v1/accounts/${this.account}/feed?limit=50`);
    this.take(answer, false);
  }

  /** Fetches what came since. */
  async catchUp() {
    const last = Math.max(0, ...this.items.keys());
    this.take(await ask("GET", `/v1/accounts/${this.account}/feed?after=${last}&limit=200`), true);
  }

  take(answer, fresh) {
    for (const item of answer.items) this.items.set(item.sequence, item);
    if (answer.version) this.served.textContent = `feed ${answer.version}`;
    this.draw(fresh);
  }

  add(item) {
    if (this.items.has(item.sequence)) return;
    this.items.set(item.sequence, item);
    this.draw(true);
  }

  /** One line for each payment: what belongs to one hold is one, with its newest state. */
  lines() {
    const lines = new Map();
    for (const item of [...this.items.values()].sort((a, b) => a.sequence - b.sequence)) {
      const key = item.hold ?? item.id;
      const before = lines.get(key);
      // A hold that was captured is first released by the book; the line stays where it began.
      lines.set(key, { ...before, ...item, first: before?.first ?? item.sequence, type: strongest(before?.type, item.type) });
    }
    return [...lines.entries()].sort((a, b) => b[1].first - a[1].first).slice(0, SHOWN);
  }

  draw(fresh) {
    const lines = this.lines();
    this.empty.hidden = lines.length > 0;
    this.list.replaceChildren(...lines.map(([key, line]) => this.line(key, line, fresh && !this.drawn.has(key))));
    this.drawn = new Set(lines.map(([key]) => key));
  }

  line(key, item, isNew) {
    const row = part("li", { hold: "held", release: "gone" }[item.type] ?? "");
    if (isNew) row.classList.add("fresh");
    row.dataset.key = key;
    const merchant = typeof item.merchant === "object" ? item.merchant : null;
    const incoming = item.amount > 0 && item.type === "posting";
    const name = item.headline ?? merchant?.name ?? item.descriptor ?? item.reference ?? item.kind;
    const picture = merchant?.emoji ?? (item.kind === "opening" ? "🌱" : incoming ? "📥" : "📤");
    const facts = [merchant?.category, merchant?.place, merchant || !item.counterparty ? null : short(item.counterparty), clock(item.time)];
    row.append(
      face(picture, name || "Transfer"),
      part("span", "what", part("b", "", name || "Transfer"), part("small", "", facts.filter(Boolean).join(" · "))),
      part("span", `much${incoming ? " in" : ""}`, `${incoming ? "+" : ""}${money(item.amount, item.currency)}`,
        part("small", "", { hold: "reserved", release: "released" }[item.type] ?? "booked")),
    );
    return row;
  }
}

/** What has been booked stays booked, whatever order its parts are told in. */
function strongest(before, now) {
  return before === "posting" ? before : now;
}

/** Where the money of the last payments went. The answer is three calls deep: gateway, feed, merchants. */
export async function drawSpending(account, panel, list, counted) {
  const { merchants } = await ask("GET", `/v1/accounts/${account}/spending`);
  panel.hidden = merchants.length === 0;
  const most = Math.max(1, ...merchants.map((merchant) => merchant.spent));
  const version = merchants.find((merchant) => merchant.everyone)?.everyone.version;
  counted.textContent = version ? `merchants ${version}` : "";
  list.replaceChildren(...merchants.map((merchant) => {
    const bar = part("span", "bar");
    bar.style.width = `${Math.max(2, (100 * merchant.spent) / most)}%`;
    const facts = [`${merchant.payments} of yours`, merchant.everyone && `${merchant.everyone.payments} in all`, merchant.everyone?.place];
    return part("li", "",
      face(merchant.emoji, merchant.name),
      part("span", "what", part("b", "", merchant.name), bar, part("small", "", facts.filter(Boolean).join(" · "))),
      part("span", "much", money(merchant.spent, merchant.currency)));
  }));
}

function part(name, kind, ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

/** The end of an id, which is what tells ids apart. */
export const short = (id) => (id.length > 14 ? `…${id.slice(-6)}` : id);

function clock(time) {
  const when = new Date(time);
  if (Number.isNaN(when.getTime())) return "";
  const today = new Date().toDateString() === when.toDateString();
  const format = today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(undefined, format).format(when);
}
