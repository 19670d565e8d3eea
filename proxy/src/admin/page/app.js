// The dashboard. It reads /stats.json every second and draws from the difference of two readings.
// Names come from strangers: everything is put in as text, never as markup.
"use strict";

const EVERY = 1000; // milliseconds between two readings
const PATIENCE = 4000; // a reading that takes longer has failed
const HISTORY = 60; // readings in a sparkline
const ROWS = 200; // rows of a table; the rest is counted

const $ = (id) => document.getElementById(id);
let last = null; // the reading before
let lastAt = 0; // when it came, by this page's clock
let paused = false;
let order = { key: "rate", down: true };
let timer = 0;
const history = new Map(); // by listener and name: readings of the last minute

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") made.addEventListener(value[0], value[1]);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(String2Node));
  return made;
}
const String2Node = (child) => (child instanceof Node ? child : document.createTextNode(String(child)));
const fill = (place, ...children) => place.replaceChildren(...children.flat(Infinity).map(String2Node));

// ---- figures

// A counter that went down began anew with another process.
const grown = (now, before) => (before === undefined || now < before ? now : now - before);
const sum = (counts) => Object.values(counts || {}).reduce((a, b) => a + b, 0);

// Linear within the bucket, as Prometheus does; beyond the last bound nothing better than it is known.
function quantile(bounds, counts, q) {
  const total = counts.reduce((a, b) => a + b, 0);
  if (total === 0) return null;
  const wanted = q * total;
  let passed = 0;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] > 0 && passed + counts[i] >= wanted) {
      if (i >= bounds.length) return bounds[bounds.length - 1];
      const low = i === 0 ? 0 : bounds[i - 1];
      return low + (bounds[i] - low) * Math.max(0, (wanted - passed) / counts[i]);
    }
    passed += counts[i];
  }
  return bounds[bounds.length - 1];
}

const count = (n) => Math.round(n).toLocaleString("en");
const rate = (n) => (n === null ? "–" : n >= 100 ? count(n) : n.toFixed(1));
function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const ms = seconds * 1000;
  if (ms >= 1000) return seconds.toFixed(seconds >= 10 ? 1 : 2) + " s";
  return ms >= 100 ? ms.toFixed(0) + " ms" : ms >= 1 ? ms.toFixed(1) + " ms" : ms.toFixed(2) + " ms";
}
// Never rounded up to a whole: one failure in a million is not 100 %.
function percent(good, all) {
  if (all === 0) return "–";
  if (good >= all) return "100 %";
  const share = Math.floor((good / all) * 100000) / 1000;
  return share.toFixed(share >= 99 ? 3 : 1) + " %";
}
const shade = (good, all) => (all === 0 || good >= all ? "good" : good / all >= 0.99 ? "warn" : "bad");

function figures(now, before) {
  const seconds = before ? now.monotonicSeconds - before.monotonicSeconds : 0;
  const old = new Map((before ? before.services : []).map((s) => [s.listener + "\n" + s.name, s]));
  return now.services.map((s) => {
    const was = old.get(s.listener + "\n" + s.name);
    const requests = seconds > 0 ? grown(s.requests, was && was.requests) : 0;
    const failures = seconds > 0 ? grown(s.failures, was && was.failures) : 0;
    const counts = s.latency.counts.map((n, i) => grown(n, was && was.latency.counts[i]));
    // While nothing comes, what came before is better than nothing.
    const shown = seconds > 0 && counts.some((n) => n > 0) ? counts : s.latency.counts;
    const retries = sum(s.retries);
    return {
      key: s.listener + "\n" + s.name, name: s.name, listener: s.listener, requests: s.requests,
      rate: seconds > 0 ? requests / seconds : null, recent: requests, recentFailures: failures, failures: s.failures, inFlight: s.inFlight, counts: shown, retries, exhausted: s.retryBudget.exhausted,
      retryRate: seconds > 0 ? grown(retries, was && sum(was.retries)) / seconds : null, balance: s.retryBudget.balance,
      p50: quantile(now.latencyBounds, shown, 0.5), p95: quantile(now.latencyBounds, shown, 0.95),
      p99: quantile(now.latencyBounds, shown, 0.99),
    };
  });
}

// What went well, and of how many: of the last minute, or of all if nothing came in it.
function success(r) {
  const minute = history.get(r.key) || [];
  const all = minute.reduce((n, reading) => n + reading.recent, 0);
  if (all === 0) return [r.requests - r.failures, r.requests];
  return [all - minute.reduce((n, reading) => n + reading.failures, 0), all];
}

// ---- drawing

function spark(values) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  const top = Math.max(...values, 1e-9);
  const points = values.map((v, i) => `${((HISTORY - values.length + i) * 96) / (HISTORY - 1)},${(21 - (v / top) * 19).toFixed(1)}`);
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 96 22");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `requests per second over the last minute, at most ${rate(top)}`);
  if (values.length > 1) {
    const path = document.createElementNS(ns, "path");
    const first = points[0].split(",")[0];
    path.setAttribute("d", `M${first},22 L${points.join(" L")} L96,22 Z`);
    svg.append(path);
  }
  return svg;
}

function table(place, heads, rows) {
  const head = heads.map((h) => el("th", { scope: "col", class: h.text ? "text" : null,
    "aria-sort": h.key && order.key === h.key ? (order.down ? "descending" : "ascending") : null },
    h.key ? el("button", { type: "button", "data-key": h.key, on: ["click", () => sort(h.key)] }, h.label) : h.label));
  // On a phone there is no room for these.
  heads.forEach((h, i) => { if (h.wide) for (const row of [head, ...rows.map((r) => [...r.children])]) if (row[i]) row[i].classList.add("wide"); });
  // Whoever sorts by keys keeps the focus although the table is drawn anew.
  const focus = document.activeElement && place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  fill(place, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows.slice(0, ROWS)));
  if (focus) for (const button of place.querySelectorAll("button")) if (button.dataset.key === focus) button.focus();
}

function sort(key) {
  order = { key, down: order.key === key ? !order.down : key !== "name" };
  if (last) draw(last.now, last.before);
}

function totals(now, rows) {
  const all = rows.reduce((t, r) => ({ rate: t.rate + (r.rate || 0), inFlight: t.inFlight + r.inFlight, retry: t.retry + (r.retryRate || 0) }),
    { rate: 0, inFlight: 0, retry: 0 });
  const counts = now.latencyBounds.map(() => 0).concat(0);
  rows.forEach((r) => r.counts.forEach((n, i) => { counts[i] += n; }));
  const [good, done] = rows.map(success).reduce((t, s) => [t[0] + s[0], t[1] + s[1]], [0, 0]);
  const endpoints = now.replicaSets.flatMap((set) => set.endpoints);
  const out = endpoints.filter((e) => e.ejectedMs !== null || e.status !== "open").length;
  const tile = (label, value, look) => el("div", {}, el("dt", {}, label), el("dd", { class: look }, value));
  fill($("totals"),
    tile("requests/s", rate(all.rate)), tile("success", percent(good, done), shade(good, done)),
    tile("p50", time(quantile(now.latencyBounds, counts, 0.5))), tile("p95", time(quantile(now.latencyBounds, counts, 0.95))),
    tile("p99", time(quantile(now.latencyBounds, counts, 0.99))), tile("in flight", count(all.inFlight)),
    tile("retries/s", rate(all.retry)),
    tile("replicas open", `${endpoints.length - out}/${endpoints.length}`, out > 0 ? "warn" : null));
}

const WHAT = [
  { label: "Name", key: "name", text: true }, { label: "Last minute", wide: true }, { label: "Req/s", key: "rate" }, { label: "Success", key: "success" },
  { label: "p50", key: "p50", wide: true }, { label: "p95", key: "p95", wide: true }, { label: "p99", key: "p99" },
  { label: "In flight", key: "inFlight", wide: true }, { label: "Retries/s", key: "retryRate", wide: true }, { label: "Budget", key: "balance", wide: true },
  { label: "Requests", key: "requests", wide: true }, { label: "Listener", key: "listener", text: true, wide: true },
];

function services(rows) {
  const share = (r) => { const [good, all] = success(r); return good / Math.max(1, all); };
  const value = (r) => (order.key === "success" ? share(r) : r[order.key]);
  rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    const by = typeof x === "string" ? x.localeCompare(y) : (x ?? -1) - (y ?? -1);
    return (order.down ? -by : by) || a.key.localeCompare(b.key);
  });
  table($("services"), WHAT, rows.map((r) => el("tr", {},
    el("td", { class: "name" }, el("button", { type: "button", title: r.name, "data-key": "row " + r.key,
      on: ["click", () => ask(r.name, r.listener)] }, r.name)),
    el("td", {}, spark((history.get(r.key) || []).map((reading) => reading.rate))), el("td", {}, rate(r.rate)),
    el("td", { class: shade(...success(r)) }, percent(...success(r))),
    el("td", {}, time(r.p50)), el("td", {}, time(r.p95)), el("td", {}, time(r.p99)), el("td", {}, count(r.inFlight)),
    el("td", {}, rate(r.retryRate)), el("td", { class: r.exhausted > 0 ? "warn" : null,
      title: `${r.retries} retries, ${r.exhausted} refused by the budget` }, count(r.balance), r.exhausted > 0 ? ` (${count(r.exhausted)} refused)` : ""),
    el("td", {}, count(r.requests)), el("td", { class: "text" }, r.listener))));
  $("services-note").textContent = rows.length === 0
    ? "No request has come yet. Send one to a listener below: curl -x http://LISTENER http://NAME/"
    : rows.length > ROWS ? `and ${rows.length - ROWS} more; sort to see others` : "";
}

function status(e) {
  if (e.ejectedMs !== null) return ["bad", `ejected, probe in ${time(e.ejectedMs / 1000)}`];
  return [e.status === "open" ? "good" : "warn", e.status];
}

function sets(now) {
  const heads = ["Endpoint", "Status", "EWMA", "Load", "In flight", "Requests", "Failures", "Connections", "Weight", "Zone"]
    .map((label) => ({ label, text: label === "Status" || label === "Zone", wide: !["Endpoint", "Status", "EWMA", "Failures"].includes(label) }));
  if (now.replicaSets.length === 0) return fill($("sets"), el("p", { class: "note" }, "No replica set is in use. One appears here with the first request that binds to it."));
  fill($("sets"), now.replicaSets.slice(0, ROWS).flatMap((set) => {
    const place = el("table", { "aria-label": set.id });
    table(place, heads, set.endpoints.map((e) => {
      const [look, words] = status(e);
      return el("tr", {}, el("td", { class: "mono" }, e.address), el("td", { class: "text " + look }, words),
        el("td", {}, e.ewmaMs === null ? "–" : time(e.ewmaMs / 1000)), el("td", {}, score(e.load, set.balancer)), el("td", {}, count(e.inFlight)),
        el("td", {}, count(e.requests)), el("td", { class: e.failures > 0 ? "warn" : null }, count(e.failures)),
        el("td", {}, count(e.connections)), el("td", {}, e.weight), el("td", { class: "text" }, e.zone || "–"));
    }));
    const more = set.endpoints.length > ROWS ? `, ${ROWS} of ${set.endpoints.length} endpoints shown` : "";
    return [el("h3", {}, set.id + " ", el("small", {}, `${set.state}, ${set.balancer}, ${set.ejections || 0} ejections, ${set.revivals || 0} revivals${more}`)),
      set.endpoints.length === 0 ? el("p", { class: "note warn" }, "It has no endpoints: requests for it are answered 503 no-endpoints.")
        : el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": set.id }, place)];
  }));
}
// Peak EWMA's load is what a request there is expected to cost, in nanoseconds; of other balancers it has no unit.
const score = (n, balancer) => (balancer === "p2c-peak-ewma" ? time(n / 1e9) : n >= 1e6 ? (n / 1e6).toFixed(2) + " M" : n >= 1e3 ? (n / 1e3).toFixed(1) + " k" : n.toFixed(1));

function own(now, before) {
  const rows = [];
  const add = (place, what, kind, n, was) => { if (n > 0) rows.push([kind, what, place, n, before ? grown(n, was || 0) : 0]); };
  const old = new Map((before ? before.services : []).map((s) => [s.listener + "\n" + s.name, s.answers]));
  for (const s of now.services) for (const [kind, n] of Object.entries(s.answers)) add(s.name, "answer", kind, n, (old.get(s.listener + "\n" + s.name) || {})[kind]);
  const oldListeners = new Map((before ? before.listeners : []).map((l) => [l.name, l.refused || {}]));
  for (const l of now.listeners) for (const [kind, n] of Object.entries(l.refused || {})) add(l.name, "refused before routing", kind, n, (oldListeners.get(l.name) || {})[kind]);
  rows.sort((a, b) => b[3] - a[3]);
  table($("own"), rows.length === 0 ? [] : [{ label: "Kind or reason" }, { label: "What", text: true, wide: true }, { label: "For", text: true }, { label: "Count" }, { label: "Since last reading", wide: true }],
    rows.map(([kind, what, place, n, recent]) => el("tr", {}, el("td", {}, kind), el("td", { class: "text" }, what),
      el("td", { class: "text" }, place), el("td", {}, count(n)), el("td", { class: recent > 0 ? "warn" : null }, recent > 0 ? "+" + count(recent) : "–"))));
  $("own-note").textContent = rows.length === 0 ? "Nothing: every request so far was answered by a service." : "";
}

function listeners(now) {
  table($("listeners"), [{ label: "Listener" }, { label: "Address", text: true }, { label: "Mode", text: true, wide: true }, { label: "Open" }, { label: "Accepted", wide: true }, { label: "In flight", wide: true }, { label: "Refused" }],
    now.listeners.map((l) => el("tr", {}, el("td", {}, l.name), el("td", { class: "text mono" }, l.listen), el("td", { class: "text" }, l.mode),
      el("td", {}, count(l.connectionsOpen || 0)), el("td", {}, count(l.connections || 0)), el("td", {}, count(l.requestsInFlight || 0)), el("td", {}, count(sum(l.refused))))));
  const select = document.forms.explain.elements.listener;
  const names = now.listeners.map((l) => l.name);
  if (names.join("\n") !== [...select.options].slice(1).map((o) => o.value).join("\n")) {
    const chosen = select.value;
    fill(select, el("option", { value: "" }, "the first outbound one"), names.map((name) => el("option", { value: name }, name)));
    select.value = names.includes(chosen) ? chosen : "";
  }
}

const finding = (f) => el("li", {}, el("code", {}, `${f.file}:${f.line}:${f.column}`), ` ${f.severity}[${f.code}] ${f.message || [f.what, f.why, f.fix].filter(Boolean).join(". ")}`);

function config(now) {
  const c = now.config;
  fill($("alert"), c.refused ? ["The last change of the configuration was refused; generation ", c.generation, " stays. ", el("a", { href: "#h-config" }, "Why")] : []);
  const when = (seconds) => new Date(seconds * 1000).toLocaleString();
  fill($("config"),
    el("p", { class: "note" }, `Generation ${c.generation}, applied ${when(c.appliedUnixSeconds)}, from ${c.files.length === 0 ? "defaults alone" : c.files.join(", ")}. Namespace ${now.namespace}.`),
    c.refused ? [el("p", { class: "bad" }, `The change of ${when(c.refused.atUnixSeconds)} was refused; generation ${c.generation} stays:`), el("ul", { class: "findings" }, c.refused.findings.map(finding))] : [],
    c.warnings.length > 0 ? [el("p", { class: "warn" }, "Warnings:"), el("ul", { class: "findings" }, c.warnings.map(finding))] : [],
    !c.refused && c.warnings.length === 0 ? el("p", { class: "good" }, "The last load was applied, with no findings.") : []);
}

function draw(now, before) {
  const rows = figures(now, before);
  totals(now, rows); services(rows); sets(now); own(now, before); listeners(now); config(now);
  $("where").textContent = `${now.heddle} · ${location.host} · process ${now.process}`;
}

function remember(rows) {
  const names = new Set(rows.map((r) => r.key));
  for (const key of history.keys()) if (!names.has(key)) history.delete(key);
  for (const r of rows) if (r.rate !== null) history.set(r.key, (history.get(r.key) || []).concat({ rate: r.rate, recent: r.recent, failures: r.recentFailures }).slice(-HISTORY));
}

// ---- reading

function say(words, look) {
  const state = $("state");
  if (state.textContent !== words) state.textContent = words;
  state.className = "state " + look;
  document.body.classList.toggle("stale", look === "bad");
}

async function read() {
  if (paused) return;
  const abort = new AbortController();
  const patience = setTimeout(() => abort.abort(), PATIENCE);
  try {
    const answer = await fetch("stats.json", { signal: abort.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    const now = await answer.json();
    if (now.version !== 1) throw new Error(`its figures are of version ${now.version}; reload this page`);
    // Another process: its counters began anew.
    const before = last && last.now.process === now.process && last.now.monotonicSeconds < now.monotonicSeconds ? last.now : null;
    if (last && !before) history.clear();
    remember(figures(now, before));
    last = { now, before };
    lastAt = Date.now();
    draw(now, before);
    say(now.notReady ? `not ready: ${now.notReady}` : "live", now.notReady ? "warn" : "good");
  } catch (error) {
    // What browsers say of a connection that fails differs, and helps nobody.
    const why = error.name === "AbortError" ? "it does not answer" : error.name === "TypeError" ? "nobody is there" : error.message;
    const age = lastAt === 0 ? "" : `, figures are ${Math.round((Date.now() - lastAt) / 1000)} s old`;
    say(`disconnected: ${why}${age}`, "bad");
  } finally {
    clearTimeout(patience);
    clearTimeout(timer);
    if (!paused) timer = setTimeout(read, document.hidden ? 5 * EVERY : EVERY);
  }
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Resume" : "Pause";
  clearTimeout(timer);
  if (paused) say("paused", "warn"); else read();
});

// ---- the name explorer

function ask(name, listener) {
  document.forms.explain.elements.what.value = name;
  document.forms.explain.elements.listener.value = listener || "";
  document.forms.explain.requestSubmit();
  $("h-explain").scrollIntoView({ block: "start" });
}

const STEP = { neg: "no such name", fail: "told to fail: nothing after it is tried", empty: "the name exists and nobody is there", pending: "not known yet" };

function step(s, weight) {
  const words = [weight === undefined ? null : el("span", { class: "by" }, `weight ${weight} · `), el("code", {}, s.path)];
  if (s.dentry) words.push(el("span", { class: "by" }, "  by ", el("code", {}, s.dentry)));
  if (s.bound) words.push(el("span", { class: "good" }, "  bound: ", el("code", {}, s.bound.id + (s.bound.path === "/" ? "" : ` [${s.bound.path}]`))));
  if (STEP[s.type]) words.push(el("span", { class: s.type === "neg" ? "by" : "warn" }, "  " + STEP[s.type]));
  if (s.message) words.push(el("span", { class: "bad" }, "  failed: " + s.message));
  const below = s.delegate ? [step(s.delegate)] : (s.alt || []).map((t) => step(t)).concat((s.union || []).map((t) => step(t.tree, t.weight)));
  if (s.alt) words.push(el("span", { class: "by" }, "  first of:"));
  if (s.union) words.push(el("span", { class: "by" }, "  shares:"));
  return el("li", {}, words, below.length > 0 ? el("ol", {}, below) : null);
}

function destination(label, d, split) {
  return [el("dt", {}, label), el("dd", {}, el("strong", {}, d.service ?? d.name), split || d.weight !== 1 ? ` ${Math.round((d.share ?? 1) * 10000) / 100} % (weight ${d.weight})` : "",
    d.chosen && split ? el("span", { class: "good" }, "  ← this request") : null,
    el("ol", { class: "steps" }, step(d.delegation)))];
}

function explained(x) {
  const facts = [];
  const fact = (label, ...what) => facts.push(el("dt", {}, label), el("dd", {}, what));
  fact("listener", `${x.listener.name} (${x.listener.mode}, namespace ${x.listener.namespace})`);
  for (const p of x.identification.passed) fact("not by", `${p.by}: ${p.why}`);
  if (x.identification.name) fact("name", el("code", {}, x.identification.name), ` by ${x.identification.by}`);
  if (x.overrides.error) fact("overrides", `cannot be read: ${x.overrides.error}`);
  else if (x.overrides.given.length > 0) fact("overrides", x.overrides.given.join(", "), x.overrides.accepted ? " accepted" : " stripped: the listener has overrides: strip");
  fact("dtab", el("code", {}, x.dtab || "empty"));
  if (x.route) {
    fact("route", x.route.document ?? "", x.route.policy ? `: ${x.route.policy}` : "");
    for (const r of x.route.rules) fact(`rule ${r.rule}`, el("span", { class: r.matched ? "good" : "by" }, r.matched ? "matches: " : "does not match: "), r.why);
    if (x.route.sticky) fact("sticky", `by ${x.route.sticky.by}`, x.route.sticky.key !== null ? `, key ${x.route.sticky.key}` : ", the request has no such key: chance decides");
  } else if (!x.answer) fact("route", "none: the name goes to the dtab as it is");
  for (const f of x.faults) fact("fault", el("span", { class: "warn" }, f));
  if (x.forwardedPath) fact("forwards", "as ", el("code", {}, x.forwardedPath));
  if (x.answer) fact("answers", el("span", { class: "warn" }, x.answer));
  for (const d of x.destinations) facts.push(...destination("goes to", d, x.destinations.length > 1));
  if (x.mirror) facts.push(...destination(`copies ${x.mirror.percent} %`, x.mirror.to, false));
  for (const set of x.replicaSets) {
    const endpoint = (e) => {
      const live = e.live || e;
      if (live.status === undefined) return el("div", { class: "mono" }, `${e.address}  weight ${e.weight}`);
      const [look, words] = status(live);
      return el("div", {}, el("code", {}, e.address), ` weight ${e.weight} · `, el("span", { class: look }, words),
        ` · EWMA ${live.ewmaMs === null ? "–" : time(live.ewmaMs / 1000)} · load ${score(live.load, set.balancer)} · ${live.inFlight} in flight`);
    };
    fact("replicas", el("code", {}, set.id ?? ""), ` ${set.state}`, set.endpoints.slice(0, ROWS).map(endpoint));
  }
  return el("dl", { class: "facts" }, facts);
}

document.forms.explain.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target.elements;
  const what = form.what.value.trim();
  const query = new URLSearchParams({ format: "json", [what.startsWith("/") ? "path" : "url"]: what });
  for (const name of ["method", "dtab", "listener"]) if (form[name].value.trim()) query.set(name, form[name].value.trim());
  for (const line of form.headers.value.split("\n")) if (line.trim()) query.append("header", line.trim());
  try {
    const answer = await fetch("explain?" + query, { cache: "no-store" });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    fill($("explained"), explained(await answer.json()));
  } catch (error) {
    fill($("explained"), el("p", { class: "bad" }, error.message));
  }
});

// #explain=… opens the explorer with a question, so that an answer can be linked to.
const asked = new URLSearchParams(location.hash.slice(1)).get("explain");
if (asked) ask(asked);
read();
