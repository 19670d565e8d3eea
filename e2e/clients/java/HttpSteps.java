import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * The steps of ../README.md with Java's own HTTP clients.
 *
 * <p>host-1, proxy-1: java.net.http.HttpClient that speaks HTTP/1.1. host-2, proxy-2: the same as it comes, which
 * prefers HTTP/2 and so asks a cleartext server for an upgrade. proxy-url: HttpURLConnection.
 */
public final class HttpSteps {
    private record Answer(int status, String error, byte[] content) {}

    private interface Ask {
        Answer ask(String method, String target, byte[] body, boolean streamed, String to) throws Exception;
    }

    private static byte[] pattern(int count) {
        byte[] bytes = new byte[count];
        for (int position = 0; position < count; position++) {
            bytes[position] = (byte) (position % 251);
        }
        return bytes;
    }

    private static Ask modern(HttpClient client, boolean byHost, String address) {
        return (method, target, body, streamed, to) -> {
            String base = byHost ? "http://" + address : "http://" + to;
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + target));
            request.timeout(Duration.ofSeconds(20));
            if (byHost) {
                request.header("Host", to);
            }
            HttpRequest.BodyPublisher publisher = HttpRequest.BodyPublishers.noBody();
            if (body != null) {
                publisher = streamed
                        ? HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))
                        : HttpRequest.BodyPublishers.ofByteArray(body);
            }
            HttpResponse<byte[]> response =
                    client.send(request.method(method, publisher).build(), HttpResponse.BodyHandlers.ofByteArray());
            String error = response.headers().firstValue("heddle-err").orElse(null);
            return new Answer(response.statusCode(), error, response.body());
        };
    }

    private static Answer old(String method, String target, byte[] body, boolean streamed, String to)
            throws Exception {
        HttpURLConnection connection = (HttpURLConnection) new URL("http://" + to + target).openConnection();
        connection.setRequestMethod(method);
        connection.setReadTimeout(20_000);
        if (body != null) {
            connection.setDoOutput(true);
            if (streamed) {
                connection.setChunkedStreamingMode(7_000);
            }
            try (OutputStream out = connection.getOutputStream()) {
                out.write(body);
            }
        }
        int status = connection.getResponseCode();
        try (InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            byte[] content = in == null ? new byte[0] : in.readAllBytes();
            return new Answer(status, connection.getHeaderField("heddle-err"), content);
        }
    }

    private static String quoted(String text) {
        return text == null ? "null" : '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    private static String shown(Answer answer, boolean report) {
        String tail = report ? ",\"report\":" + new String(answer.content, StandardCharsets.UTF_8) : "";
        return String.format(
                "{\"status\":%d,\"bytes\":%d,\"error\":%s%s}",
                answer.status, answer.content.length, quoted(answer.error), tail);
    }

    public static void main(String[] arguments) throws Exception {
        String how = arguments[0];
        String address = arguments[1];
        String name = arguments[2];
        Ask client = HttpSteps::old;
        if (!how.endsWith("url")) {
            HttpClient.Version version = how.endsWith("1") ? HttpClient.Version.HTTP_1_1 : HttpClient.Version.HTTP_2;
            client = modern(HttpClient.newBuilder().version(version).build(), how.startsWith("host"), address);
        }
        byte[] large = pattern(1 << 20);
        byte[] pieces = pattern(300_000);
        List<String> results = new ArrayList<>();
        results.add("\"get\":" + shown(client.ask("GET", "/hello?x=1", null, false, name), true));
        results.add("\"post\":" + shown(client.ask("POST", "/post", large, false, name), true));
        results.add("\"stream\":" + shown(client.ask("POST", "/stream", pieces, true, name), true));
        results.add("\"status\":" + shown(client.ask("GET", "/?status=404", null, false, name), false));
        results.add("\"large\":" + shown(client.ask("GET", "/?bytes=3000000", null, false, name), false));
        results.add("\"head\":" + shown(client.ask("HEAD", "/", null, false, name), false));
        int ok = 0;
        for (int round = 0; round < 20; round++) {
            ok += client.ask("GET", "/", null, false, name).status == 200 ? 1 : 0;
        }
        results.add("\"repeat\":{\"ok\":" + ok + "}");
        results.add("\"unknown\":" + shown(client.ask("GET", "/", null, false, "nobody"), false));
        System.out.println("{" + String.join(",", results) + "}");
        System.exit(0);
    }
}
