import java.util.LinkedHashMap;
import java.util.Map;

/** An answer that is an error, for a person (RFC 9457). */
final class Refusal extends RuntimeException {
    private static final long serialVersionUID = 1;
    final int status;
    private final String code;
    private final String title;

    Refusal(int status, String code, String title, String detail) {
        super(detail, null, false, false);
        this.status = status;
        this.code = code;
        this.title = title;
    }

    static Refusal malformed(String detail) {
        return new Refusal(400, "malformed", "The event cannot be read", detail);
    }

    static Refusal notFound(String detail) {
        return new Refusal(404, "not-found", "Nothing is here", detail);
    }

    Map<String, Object> body() {
        Map<String, Object> body = new LinkedHashMap<>();
        body.put("type", "urn:heddle-bank:" + code);
        body.put("title", title);
        body.put("status", (long) status);
        body.put("detail", getMessage());
        return body;
    }
}
