import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * feed, version 2: the timeline of an account, each item with a headline.
 *
 * <pre>
 * POST /events                          an event of the topic feed.items
 * GET  /feed/ACCOUNT?after=7&amp;limit=20   what came after number 7; without `after` the newest
 * GET  /feed/ACCOUNT/spending           the newest payments by merchant, with what the merchants service says of each
 * </pre>
 *
 * Java's own library only. Of the mesh it knows nothing but that `traceparent` is copied; http_proxy, which Java does
 * not read by itself, says where names lead.
 */
final class Feed {
    private static final String VERSION = System.getenv().getOrDefault("BANK_VERSION", "v2");
    private static final int BODY_LIMIT = 64 * 1024; // bytes; an event has a few hundred
    private static final int LIMIT = 200; // items of an answer
    private static final int SPENDING = 100; // events that the spending looks at
    private static final int MERCHANTS = 5; // merchants that it shows
    private static final int PATIENCE = 2_000; // ms that a call may take
    private static final int THREADS = 16;
    private static final int GRACE = 10; // s that requests in work have when the process is told to end
    private static final Pattern PATH = Pattern.compile("/feed/([a-z0-9-]{1,64})(/spending)?");

    private final Model model = new Model("feed");
    private volatile boolean ending;

    private Feed() throws IOException {}

    public static void main(String[] args) throws IOException {
        System.setProperty("sun.net.httpserver.nodelay", "true");
        System.setProperty("sun.net.httpserver.idleInterval", "75"); // s; longer than a proxy keeps a connection
        Feed feed = new Feed();
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        ExecutorService threads = Executors.newFixedThreadPool(THREADS);
        server.setExecutor(threads);
        server.createContext("/", feed::serve);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> feed.end(server, threads)));
        server.start();
    }

    /** Runs on SIGTERM, before the process ends; `halt` makes the status 0, since that was what was asked for. */
    private void end(HttpServer server, ExecutorService threads) {
        ending = true;
        server.stop(1);
        threads.shutdown();
        try {
            threads.awaitTermination(GRACE, TimeUnit.SECONDS);
        } catch (InterruptedException now) {
            Thread.currentThread().interrupt();
        }
        Runtime.getRuntime().halt(0);
    }

    private void serve(HttpExchange exchange) throws IOException {
        try (exchange) {
            try {
                answer(exchange, 200, "application/json", route(exchange));
            } catch (Refusal refusal) {
                answer(exchange, refusal.status, "application/problem+json", refusal.body());
            } catch (IOException | RuntimeException failed) {
                Refusal away = new Refusal(503, "unavailable", "The read model is away",
                    "It is not done and may be sent again: " + failed + ".");
                answer(exchange, 503, "application/problem+json", away.body());
            }
        }
    }

    private Object route(HttpExchange exchange) throws IOException {
        String method = exchange.getRequestMethod();
        String path = exchange.getRequestURI().getPath();
        if (path.equals("/ready")) return Map.of("ready", true);
        if (method.equals("POST") && path.equals("/events")) return Map.of("new", model.take(body(exchange)));
        Matcher matched = PATH.matcher(path);
        if (!method.equals("GET") || !matched.matches()) {
            throw Refusal.notFound("There are POST /events and GET /feed/ACCOUNT.");
        }
        String account = matched.group(1);
        return matched.group(2) != null ? spending(account, exchange) : feed(account, exchange.getRequestURI().getQuery());
    }

    private static String body(HttpExchange exchange) throws IOException {
        try (InputStream in = exchange.getRequestBody()) {
            byte[] data = in.readNBytes(BODY_LIMIT + 1);
            if (data.length > BODY_LIMIT) {
                throw new Refusal(413, "too-large", "The event is too large", "A body may have " + BODY_LIMIT + " bytes.");
            }
            return new String(data, StandardCharsets.UTF_8);
        }
    }

    private void answer(HttpExchange exchange, int status, String kind, Object value) throws IOException {
        byte[] data = Json.write(value).getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("content-type", kind);
        exchange.getResponseHeaders().set("bank-version", VERSION);
        exchange.getResponseHeaders().set("bank-replica", Long.toString(ProcessHandle.current().pid()));
        if (ending || status == 413) exchange.getResponseHeaders().set("connection", "close");
        exchange.sendResponseHeaders(status, data.length);
        exchange.getResponseBody().write(data);
    }

    private Map<String, Object> feed(String account, String query) throws IOException {
        int limit = (int) Math.min(number(query, "limit", 50), LIMIT);
        long after = number(query, "after", -1);
        List<String> names = model.names(account);
        if (after < 0) {
            names = names.subList(Math.max(0, names.size() - Math.max(limit, 1)), names.size());
        } else {
            String last = Model.nameOf(after);
            names = names.stream().filter(name -> name.compareTo(last) > 0).limit(limit).toList();
        }
        List<Object> items = new ArrayList<>();
        for (String name : names) {
            Map<String, Object> item = model.event(account, name);
            item.put("headline", headline(item));
            items.add(item);
        }
        return answerOf(account, "items", items);
    }

    private static Map<String, Object> answerOf(String account, String what, List<Object> values) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("account", account);
        answer.put("version", VERSION);
        answer.put(what, values);
        return answer;
    }

    private static String headline(Map<String, Object> item) {
        boolean out = item.get("amount") instanceof Long amount && amount < 0;
        if (item.get("merchant") instanceof Map<?, ?> merchant) {
            Object place = merchant.get("place");
            String at = merchant.get("name") + (place == null ? "" : ", " + place);
            if ("hold".equals(item.get("type"))) return "Reserved at " + at;
            if ("release".equals(item.get("type"))) return "Released by " + at;
            return (out ? "Paid at " : "Back from ") + at;
        }
        Object other = item.get("reference");
        return (out ? "Sent" : "Received") + (other == null || other.equals("") ? "" : ": " + other);
    }

    private Map<String, Object> spending(String account, HttpExchange exchange) throws IOException {
        List<String> names = model.names(account);
        Map<Object, Map<String, Object>> sums = new LinkedHashMap<>();
        for (String name : names.subList(Math.max(0, names.size() - SPENDING), names.size())) {
            Map<String, Object> event = model.event(account, name);
            if (!"posting".equals(event.get("type")) || !(event.get("merchant") instanceof Map<?, ?> merchant)) continue;
            Map<String, Object> sum = sums.computeIfAbsent(merchant.get("id"), id -> {
                Map<String, Object> fresh = new LinkedHashMap<>();
                merchant.forEach((key, value) -> fresh.put(key.toString(), value));
                fresh.put("payments", 0L);
                fresh.put("spent", 0L);
                fresh.put("currency", event.get("currency"));
                return fresh;
            });
            sum.merge("payments", 1L, (a, b) -> (Long) a + (Long) b);
            sum.merge("spent", -(Long) event.get("amount"), (a, b) -> (Long) a + (Long) b);
        }
        List<Object> most = new ArrayList<>();
        sums.values().stream()
            .sorted((a, b) -> Long.compare((Long) b.get("spent"), (Long) a.get("spent")))
            .limit(MERCHANTS)
            .forEach(sum -> most.add(withEveryone(sum, exchange)));
        return answerOf(account, "merchants", most);
    }

    /** Adds what the merchants service says; the feed does not fail for a merchant that cannot be asked. */
    private static Map<String, Object> withEveryone(Map<String, Object> sum, HttpExchange cause) {
        try {
            sum.put("everyone", Json.parse(call("http://merchants/merchants/" + sum.get("id"), cause)));
        } catch (IOException | IllegalArgumentException unknown) {
            // It is shown without.
        }
        return sum;
    }

    private static String call(String url, HttpExchange cause) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) URI.create(url).toURL().openConnection(proxy());
        connection.setConnectTimeout(PATIENCE);
        connection.setReadTimeout(PATIENCE);
        String trace = cause.getRequestHeaders().getFirst("traceparent");
        if (trace != null) connection.setRequestProperty("traceparent", trace);
        try (InputStream in = connection.getInputStream()) {
            return new String(in.readNBytes(BODY_LIMIT), StandardCharsets.UTF_8);
        }
    }

    private static Proxy proxy() {
        String address = System.getenv("http_proxy");
        if (address == null || address.isEmpty()) return Proxy.NO_PROXY;
        URI uri = URI.create(address);
        return new Proxy(Proxy.Type.HTTP, new InetSocketAddress(uri.getHost(), uri.getPort()));
    }

    private static long number(String query, String name, long otherwise) {
        if (query == null) return otherwise;
        for (String part : query.split("&")) {
            String[] pair = part.split("=", 2);
            if (!pair[0].equals(name)) continue;
            if (pair.length < 2 || !pair[1].matches("[0-9]{1,12}")) {
                throw Refusal.malformed("'" + name + "' must be a whole number.");
            }
            return Long.parseLong(pair[1]);
        }
        return otherwise;
    }
}
