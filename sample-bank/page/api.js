// The bank's public interface: JSON by a token, and the stream of events.

let token = null;

/** An answer that is an error; its message is the bank's own sentence. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The bank answered ${status}.`);
    this.status = status;
    this.code = String(body.type || "").replace("urn:heddle-bank:", "");
  }
}

export const setToken = (value) => { token = value; };

/** Asks; money moves at most once, however often a request is sent, because each has its own key. */
export async function ask(method, path, body, moves = false) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  if (moves) headers["idempotency-key"] = crypto.randomUUID();
  const request = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    // The connection broke: nobody knows whether it was done, and the same key finds out.
    await new Promise((wait) => setTimeout(wait, 500));
    response = await fetch(path, request);
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = { detail: text.slice(0, 200) };
  }
  if (!response.ok) throw new Problem(response.status, answer);
  return answer;
}

/**
 * Follows /v1/events for ever: `take(event)` gets each, `tell(connected)` hears of the connection.
 * EventSource cannot send a token, so this reads the stream itself and says where it was when it comes back.
 */
export function follow(take, tell) {
  const stop = new AbortController();
  let last = "";
  const run = async () => {
    while (!stop.signal.aborted) {
      try {
        const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream" };
        if (last) headers["last-event-id"] = last;
        const response = await fetch("/v1/events", { headers, signal: stop.signal });
        if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
        tell(true);
        for await (const event of events(response.body)) {
          if (event.id) last = event.id;
          if (event.data) take(JSON.parse(event.data));
        }
      } catch (error) {
        if (error.status === 401) return tell(false, error);
      }
      tell(false);
      await new Promise((wait) => setTimeout(wait, 1000));
    }
  };
  run();
  return () => stop.abort();
}

/** Server-sent events of a stream of bytes. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { data: "" };
      for (const line of block.split(/\r?\n/)) {
        const [, field, text] = /^(\w+): ?(.*)$/.exec(line) || [];
        if (field === "data") event.data += text;
        else if (field) event[field] = text;
      }
      yield event;
    }
  }
}
