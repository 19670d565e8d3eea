// A read model: a folder, shared by all replicas and versions of a service. One file for each event, written
// beside and then linked to its name. Only one of two that try can succeed, so an event has its effect once.

import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { Refusal, malformed } from "./web.mjs";

const ID = /^[a-z0-9-]{1,64}$/;
const EVENT_ID = /^[a-z0-9:-]{1,160}$/;
const CURRENCIES = new Set(["EUR", "USD", "GBP", "JPY", "CHF"]);
const AMOUNT_LIMIT = 1e15;

const failPoints = new Map(
  (process.env.BANK_FAIL_POINTS ?? "").split(",").filter(Boolean).map((part) => {
    const [name, chance = "1"] = part.split("=");
    const [up, down = "1"] = chance.split("/");
    return [name.trim(), Number(up) / Number(down)];
  }),
);

/** Dies here as by `kill -9`, with the probability that the environment gives to this place. */
export function failPoint(name) {
  if (Math.random() < (failPoints.get(name) ?? 0)) process.kill(process.pid, "SIGKILL");
}

export const isId = (text) => typeof text === "string" && ID.test(text);

/** The event of a body, or a refusal that says what is wrong with it. */
export function parseEvent(text) {
  let event;
  try {
    event = JSON.parse(text);
  } catch (error) {
    throw malformed(`The body is no JSON: ${error.message}.`);
  }
  if (event === null || typeof event !== "object" || Array.isArray(event)) throw malformed("The body is JSON but no object.");
  const whole = (name, low, high) => {
    const value = event[name];
    if (!Number.isSafeInteger(value) || value < low || value > high) {
      throw malformed(`'${name}' must be a whole number from ${low} to ${high}.`);
    }
  };
  if (typeof event.id !== "string" || !EVENT_ID.test(event.id)) throw malformed(`'id' must be an identifier of ${EVENT_ID.source}.`);
  if (!isId(event.account)) throw malformed(`'account' must be an identifier of ${ID.source}.`);
  whole("sequence", 1, 999_999_999_999);
  whole("amount", -AMOUNT_LIMIT, AMOUNT_LIMIT);
  if (!CURRENCIES.has(event.currency)) throw malformed("'currency' must be one of CHF, EUR, GBP, JPY, USD.");
  return event;
}

export class Model {
  constructor(service) {
    this.service = service;
    this.folder = path.join(process.env.BANK_STATE ?? ".", service);
    mkdirSync(this.folder, { recursive: true });
  }

  fileOf(account, sequence) {
    return path.join(this.folder, account, `${String(sequence).padStart(12, "0")}.json`);
  }

  /** The whole life of an event. Says whether it was new. */
  async take(text) {
    const event = parseEvent(text);
    failPoint(`${this.service}.received`);
    if (await this.isDone(event)) return { new: false };
    await this.keep(event);
    failPoint(`${this.service}.kept`);
    return { new: true };
  }

  /** Whether this event had its effect before. */
  async isDone(event) {
    let text;
    try {
      text = await fs.readFile(this.fileOf(event.account, event.sequence), "utf8");
    } catch (error) {
      if (error.code === "ENOENT") return false;
      throw error;
    }
    const found = JSON.parse(text);
    if (found.id === event.id) return true;
    throw new Refusal(409, "sequence-taken", "Another event has this place",
      `${event.account} number ${event.sequence} is ${found.id}, not ${event.id}.`);
  }

  async keep(event) {
    const target = this.fileOf(event.account, event.sequence);
    await fs.mkdir(path.dirname(target), { recursive: true });
    // A new file each time: what a death leaves may be linked already, and must not be written again.
    const temporary = path.join(this.folder, `.${randomBytes(12).toString("hex")}`);
    const file = await fs.open(temporary, "wx");
    try {
      await file.writeFile(JSON.stringify(event));
      await file.sync();
    } finally {
      await file.close();
    }
    failPoint(`${this.service}.written`);
    try {
      await fs.link(temporary, target);
    } catch (error) {
      if (error.code !== "EEXIST") throw error; // otherwise another replica was faster with the same event
    } finally {
      await fs.unlink(temporary);
    }
  }

  /** File names of an account in order; none if nothing happened there. */
  async names(account) {
    try {
      const found = await fs.readdir(path.join(this.folder, account));
      return found.filter((name) => name.endsWith(".json")).sort();
    } catch (error) {
      if (error.code === "ENOENT") return [];
      throw error;
    }
  }

  async read(account, name) {
    return fs.readFile(path.join(this.folder, account, name), "utf8");
  }
}
