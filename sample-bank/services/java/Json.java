import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON (RFC 8259), since Java's library has none: objects are maps in their order, arrays lists, whole numbers
 * {@code Long}, others {@code Double}.
 */
final class Json {
    /** Deeper nesting is refused, so that no input overflows the stack. */
    private static final int DEPTH = 32;

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /** The value of a text. Throws {@code IllegalArgumentException} with the place of the mistake. */
    static Object parse(String text) {
        Json json = new Json(text);
        Object value = json.value(0);
        json.space();
        if (json.at < text.length()) throw json.wrong("nothing more");
        return value;
    }

    private Object value(int depth) {
        if (depth > DEPTH) throw wrong("less nesting");
        space();
        if (at >= text.length()) throw wrong("a value");
        return switch (text.charAt(at)) {
            case '{' -> object(depth);
            case '[' -> array(depth);
            case '"' -> string();
            case 't' -> word("true", true);
            case 'f' -> word("false", false);
            case 'n' -> word("null", null);
            default -> number();
        };
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> found = new LinkedHashMap<>();
        at++;
        space();
        if (skip('}')) return found;
        do {
            space();
            if (at >= text.length() || text.charAt(at) != '"') throw wrong("a name in quotes");
            String name = string();
            space();
            if (!skip(':')) throw wrong("':'");
            found.put(name, value(depth + 1));
            space();
        } while (skip(','));
        if (!skip('}')) throw wrong("',' or '}'");
        return found;
    }

    private List<Object> array(int depth) {
        List<Object> found = new ArrayList<>();
        at++;
        space();
        if (skip(']')) return found;
        do {
            found.add(value(depth + 1));
            space();
        } while (skip(','));
        if (!skip(']')) throw wrong("',' or ']'");
        return found;
    }

    private String string() {
        StringBuilder found = new StringBuilder();
        at++;
        while (true) {
            if (at >= text.length()) throw wrong("the end of the text in quotes");
            char c = text.charAt(at++);
            if (c == '"') return found.toString();
            if (c < ' ') throw wrong("no control character");
            found.append(c == '\\' ? escaped() : c);
        }
    }

    private char escaped() {
        if (at >= text.length()) throw wrong("an escape");
        char c = text.charAt(at++);
        switch (c) {
            case '"', '\\', '/': return c;
            case 'b': return '\b';
            case 'f': return '\f';
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case 'u':
                if (at + 4 <= text.length() && text.substring(at, at + 4).matches("[0-9a-fA-F]{4}")) {
                    at += 4;
                    return (char) Integer.parseInt(text.substring(at - 4, at), 16);
                }
                throw wrong("four hexadecimal digits");
            default: throw wrong("an escape");
        }
    }

    private Object number() {
        int from = at;
        while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) at++;
        String digits = text.substring(from, at);
        if (digits.matches("-?(0|[1-9][0-9]{0,17})")) return Long.parseLong(digits);
        if (digits.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?")) return Double.parseDouble(digits);
        at = from;
        throw wrong("a value");
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) throw wrong("a value");
        at += word.length();
        return value;
    }

    private void space() {
        while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) at++;
    }

    private boolean skip(char wanted) {
        boolean there = at < text.length() && text.charAt(at) == wanted;
        if (there) at++;
        return there;
    }

    private IllegalArgumentException wrong(String wanted) {
        return new IllegalArgumentException("at character " + at + " there should be " + wanted);
    }

    /** The text of a value. */
    static String write(Object value) {
        StringBuilder out = new StringBuilder();
        write(value, out);
        return out.toString();
    }

    private static void write(Object value, StringBuilder out) {
        if (value instanceof Map<?, ?> map) {
            String between = "{";
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                out.append(between);
                quote(entry.getKey().toString(), out);
                out.append(':');
                write(entry.getValue(), out);
                between = ",";
            }
            out.append(map.isEmpty() ? "{}" : "}");
        } else if (value instanceof List<?> list) {
            String between = "[";
            for (Object each : list) {
                out.append(between);
                write(each, out);
                between = ",";
            }
            out.append(list.isEmpty() ? "[]" : "]");
        } else if (value instanceof String text) {
            quote(text, out);
        } else {
            out.append(value);
        }
    }

    private static void quote(String text, StringBuilder out) {
        out.append('"');
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        out.append('"');
    }
}
