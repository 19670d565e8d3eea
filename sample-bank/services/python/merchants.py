"""merchants, version 1: says of a posting which shop it was, and passes it on to the topic feed.items.

Python's own library only. It knows the bank by names (http://queue/...) and reaches them through
http_proxy, which urllib reads itself; of the mesh it knows nothing but that `traceparent` is copied.

The read model is a folder, shared by all replicas: one file for each event, written beside and then
linked to its name. Only one of two that try can succeed, so an event has its effect once.
"""

import http.server
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request

VERSION = os.environ.get("BANK_VERSION", "v1")
STATE = os.path.join(os.environ.get("BANK_STATE", "."), "merchants")
BODY_LIMIT = 64 * 1024  # bytes; an event has a few hundred
QUEUE_PATIENCE = 8  # seconds; the subscription tries again later
IDLE = 75  # seconds that a connection may be quiet; longer than a proxy keeps it
ID = re.compile(r"[a-z0-9-]{1,64}")
EVENT_ID = re.compile(r"[a-z0-9:-]{1,160}")
CURRENCIES = {"EUR", "USD", "GBP", "JPY", "CHF"}
AMOUNT_LIMIT = 10**15

BESIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "merchants.json")
with open(os.environ.get("BANK_MERCHANTS", BESIDE), encoding="utf-8") as catalogue:
    CATALOGUE = json.load(catalogue)


def fail_points(text):
    """Reads `name=1/50,other=1` into probabilities."""
    points = {}
    for part in filter(None, text.split(",")):
        name, _, chance = part.partition("=")
        up, _, down = chance.partition("/")
        points[name.strip()] = float(up or 1) / float(down or 1)
    return points


FAIL_POINTS = fail_points(os.environ.get("BANK_FAIL_POINTS", ""))


def fail_point(name):
    """Dies here as by `kill -9`, with the probability that the environment gives to this place."""
    if FAIL_POINTS and random.random() < FAIL_POINTS.get(name, 0):
        os.kill(os.getpid(), signal.SIGKILL)


class Refusal(Exception):
    """An answer that is an error, for a person."""

    def __init__(self, status, code, title, detail):
        super().__init__(detail)
        self.status = status
        self.body = {"type": f"urn:heddle-bank:{code}", "title": title, "status": status, "detail": detail}


def malformed(detail):
    return Refusal(400, "malformed", "The event cannot be read", detail)


def read_event(body):
    """The event of a body, or a refusal that says what is wrong with it."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise malformed(f"The body is no JSON: {error}.") from None
    if not isinstance(event, dict):
        raise malformed("The body is JSON but no object.")

    def whole(name, low, high):
        value = event.get(name)
        if type(value) is not int or not low <= value <= high:
            raise malformed(f"'{name}' must be a whole number from {low} to {high}.")

    for name, pattern in (("id", EVENT_ID), ("account", ID)):
        value = event.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise malformed(f"'{name}' must be an identifier of {pattern.pattern}.")
    whole("sequence", 1, 10**12 - 1)
    whole("amount", -AMOUNT_LIMIT, AMOUNT_LIMIT)
    if event.get("currency") not in CURRENCIES:
        raise malformed(f"'currency' must be one of {', '.join(sorted(CURRENCIES))}.")
    for name in ("merchant", "descriptor"):
        if not isinstance(event.get(name), (str, type(None))):
            raise malformed(f"'{name}' must be text.")
    if event.get("merchant") and not ID.fullmatch(event["merchant"]):
        raise malformed("'merchant' must be an identifier.")
    return event


def enrich(event):
    """The event with the merchant spelt out; without one it is as it was."""
    merchant, descriptor = event.get("merchant"), event.get("descriptor") or ""
    if not merchant:
        return event
    known = next((entry for entry in CATALOGUE if entry["match"] in descriptor.upper()), None)
    known = known or {"name": descriptor.title() or merchant, "category": "other", "emoji": "🏷️"}
    shown = {"id": merchant, **{key: known[key] for key in ("name", "category", "emoji")}}
    return {**event, "merchant": shown}


def publish(event, trace):
    """Hands the event to the queue; it is safe there when this returns."""
    message = {"id": event["id"], "key": event["account"], "value": event}
    headers = {"content-type": "application/json", "idempotency-key": event["id"]}
    if trace:
        headers["traceparent"] = trace
    request = urllib.request.Request(
        "http://queue/topics/feed.items", json.dumps(message).encode(), headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=QUEUE_PATIENCE) as answer:
            answer.read()
    except (OSError, urllib.error.URLError) as error:
        raise Refusal(
            503, "unavailable", "The queue did not take the event", f"It is not done and may be sent again: {error}."
        ) from None


def path_of(event):
    return os.path.join(STATE, event["account"], f"{event['sequence']:012}.json")


def is_done(event):
    """Whether this event had its effect before."""
    try:
        with open(path_of(event), encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return False
    if found["id"] != event["id"]:
        raise Refusal(
            409,
            "sequence-taken",
            "Another event has this place",
            f"{event['account']} number {event['sequence']} is {found['id']}, not {event['id']}.",
        )
    return True


def keep(event):
    """Writes the effect: to the merchant's own list first, since the account's file is what tells that it is done."""
    targets = [path_of(event)]
    if isinstance(event.get("merchant"), dict) and event.get("type") != "release":
        name = f"{event['account']}.{event['sequence']:012}.json"
        targets.insert(0, os.path.join(STATE, "of", event["merchant"]["id"], name))
    # A new file each time: what a death leaves may be linked already, and must not be written again.
    temporary = os.path.join(STATE, f".{random.getrandbits(96):024x}")
    for target in targets:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(temporary, "x", encoding="utf-8") as file:
        json.dump(event, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    fail_point("merchants.written")
    for target in targets:
        try:
            os.link(temporary, target)
        except FileExistsError:
            pass  # Another replica was faster with the same event.
    os.unlink(temporary)


def take(body, trace):
    """The whole life of an event. Returns whether it was new."""
    event = read_event(body)
    fail_point("merchants.received")
    if is_done(event):
        return False
    enriched = enrich(event)
    publish(enriched, trace)
    fail_point("merchants.published")
    keep(enriched)
    fail_point("merchants.kept")
    return True


class Totals:
    """Payments and sums by merchant, read off the folder and remembered by file name."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = {}

    def of(self, merchant):
        folder = os.path.join(STATE, "of", merchant)
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            raise Refusal(
                404, "not-found", "No such merchant", f"Nothing was ever paid to '{merchant}', or not yet."
            ) from None
        with self.lock:
            seen = self.seen.setdefault(merchant, {"names": set(), "payments": 0, "total": {}, "last": None})
            for name in names:
                if name.endswith(".json") and name not in seen["names"]:
                    self.add(seen, folder, name)
            return {"id": merchant, "version": VERSION, "payments": seen["payments"], "total": seen["total"]} | (
                {key: seen["last"][key] for key in ("name", "category", "emoji") if key in seen["last"]}
            )

    @staticmethod
    def add(seen, folder, name):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            event = json.load(file)
        seen["names"].add(name)
        seen["last"] = event["merchant"]
        # A hold is the promise of a payment; only the posting is one.
        if event.get("type") == "posting":
            seen["payments"] += 1
            currency = event["currency"]
            seen["total"][currency] = seen["total"].get(currency, 0) - event["amount"]


TOTALS = Totals()


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body of an answer in one write

    def setup(self):
        super().setup()
        self.server.watch(self.connection)

    def finish(self):
        self.server.unwatch(self.connection)
        super().finish()

    def handle_one_request(self):
        self.server.idle(self.connection, True)
        super().handle_one_request()
        if self.server.ending:
            self.close_connection = True

    def parse_request(self):
        self.server.idle(self.connection, False)
        return super().parse_request()

    def do_GET(self):
        self.answer_with(self.get)

    def do_POST(self):
        self.answer_with(self.post)

    def answer_with(self, work):
        try:
            self.answer(200, work(), "application/json")
        except Refusal as refusal:
            self.answer(refusal.status, refusal.body, "application/problem+json")
        except OSError as error:
            detail = f"The folder of the read model failed: {error}. The event may be sent again."
            refusal = Refusal(503, "unavailable", "The read model is away", detail)
            self.answer(503, refusal.body, "application/problem+json")

    def get(self):
        path = self.path.partition("?")[0]
        if path == "/ready":
            return {"ready": True}
        merchant = path.removeprefix("/merchants/")
        if merchant != path and ID.fullmatch(merchant):
            return TOTALS.of(merchant)
        raise Refusal(404, "not-found", "Nothing is here", "There are /ready, /merchants/ID, and POST /events.")

    def post(self):
        if self.path != "/events":
            self.close_connection = True
            raise Refusal(404, "not-found", "Nothing is here", "Events go to /events.")
        return {"new": take(self.body(), self.headers.get("traceparent"))}

    def body(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit():
            self.close_connection = True
            raise malformed("The request says no content-length.")
        if int(length) > BODY_LIMIT:
            self.close_connection = True
            raise Refusal(413, "too-large", "The event is too large", f"A body may have {BODY_LIMIT} bytes.")
        return self.rfile.read(int(length))

    def answer(self, status, value, kind):
        data = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.send_header("bank-version", VERSION)
        self.send_header("bank-replica", str(os.getpid()))
        if self.server.ending or self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # what is in work is finished before the end

    def __init__(self, address):
        self.lock = threading.Lock()
        self.connections = {}
        self.ending = False
        super().__init__(address, Service)

    def watch(self, connection):
        with self.lock:
            self.connections[connection] = True

    def unwatch(self, connection):
        with self.lock:
            self.connections.pop(connection, None)

    def idle(self, connection, is_idle):
        with self.lock:
            self.connections[connection] = is_idle
            if self.ending and is_idle:
                close_reading(connection)

    def end(self):
        with self.lock:
            self.ending = True
            for connection in [each for each, is_idle in self.connections.items() if is_idle]:
                close_reading(connection)
        self.shutdown()

    def handle_error(self, request, client_address):
        pass  # a caller that went away; there is nobody to tell


def close_reading(connection):
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        pass  # it is closed already


def main():
    os.makedirs(STATE, exist_ok=True)
    server = Server(("127.0.0.1", int(os.environ["PORT"])))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    ended.wait()
    server.end()
    serving.join()
    server.server_close()  # waits for the threads of the connections
    sys.exit(0)


if __name__ == "__main__":
    main()
