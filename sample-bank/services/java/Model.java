import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;

/**
 * A read model: a folder, shared by all replicas and versions of a service. One file for each event, written beside
 * and then linked to its name. Only one of two that try can succeed, so an event has its effect once.
 */
final class Model {
    private static final Set<String> CURRENCIES = Set.of("EUR", "USD", "GBP", "JPY", "CHF");
    private static final long AMOUNT_LIMIT = 1_000_000_000_000_000L;
    private static final String ID = "[a-z0-9-]{1,64}";

    private final String service;
    private final Path folder;
    private final SecureRandom random = new SecureRandom();

    Model(String service) throws IOException {
        this.service = service;
        this.folder = Files.createDirectories(Path.of(System.getenv().getOrDefault("BANK_STATE", "."), service));
    }

    static boolean isId(Object text) {
        return text instanceof String id && id.matches(ID);
    }

    /** The whole life of an event. Says whether it was new. */
    boolean take(String body) throws IOException {
        Map<String, Object> event = read(body);
        dieAt(service + ".received");
        if (isDone(event)) return false;
        keep(event, body);
        dieAt(service + ".kept");
        return true;
    }

    private static Map<String, Object> read(String body) {
        Object value;
        try {
            value = Json.parse(body);
        } catch (IllegalArgumentException wrong) {
            throw Refusal.malformed("The body is no JSON: " + wrong.getMessage() + ".");
        }
        if (!(value instanceof Map<?, ?>)) throw Refusal.malformed("The body is JSON but no object.");
        @SuppressWarnings("unchecked") // names of an object are texts
        Map<String, Object> event = (Map<String, Object>) value;
        if (!(event.get("id") instanceof String id && id.matches("[a-z0-9:-]{1,160}"))) {
            throw Refusal.malformed("'id' must be an identifier.");
        }
        if (!isId(event.get("account"))) throw Refusal.malformed("'account' must be an identifier of " + ID + ".");
        whole(event, "sequence", 1, 999_999_999_999L);
        whole(event, "amount", -AMOUNT_LIMIT, AMOUNT_LIMIT);
        if (!(event.get("currency") instanceof String currency && CURRENCIES.contains(currency))) {
            throw Refusal.malformed("'currency' must be one of CHF, EUR, GBP, JPY, USD.");
        }
        return event;
    }

    private static void whole(Map<String, Object> event, String name, long low, long high) {
        if (!(event.get(name) instanceof Long value && value >= low && value <= high)) {
            throw Refusal.malformed("'" + name + "' must be a whole number from " + low + " to " + high + ".");
        }
    }

    private Path fileOf(Map<String, Object> event) {
        return folder.resolve((String) event.get("account")).resolve(nameOf((Long) event.get("sequence")));
    }

    static String nameOf(long sequence) {
        return String.format("%012d.json", sequence);
    }

    /** Whether this event had its effect before. */
    private boolean isDone(Map<String, Object> event) throws IOException {
        Map<?, ?> found;
        try {
            found = (Map<?, ?>) Json.parse(Files.readString(fileOf(event)));
        } catch (NoSuchFileException none) {
            return false;
        }
        if (found.get("id").equals(event.get("id"))) return true;
        throw new Refusal(409, "sequence-taken", "Another event has this place",
            event.get("account") + " number " + event.get("sequence") + " is " + found.get("id") + ", not " + event.get("id") + ".");
    }

    private void keep(Map<String, Object> event, String body) throws IOException {
        Path target = fileOf(event);
        Files.createDirectories(target.getParent());
        // A new file each time: what a death leaves may be linked already, and must not be written again.
        byte[] name = new byte[12];
        random.nextBytes(name);
        Path temporary = folder.resolve("." + HexFormat.of().formatHex(name));
        try (FileChannel file = FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            ByteBuffer data = ByteBuffer.wrap(body.getBytes(StandardCharsets.UTF_8));
            while (data.hasRemaining()) file.write(data);
            file.force(true);
        }
        dieAt(service + ".written");
        try {
            Files.createLink(target, temporary);
        } catch (FileAlreadyExistsException faster) {
            // Another replica was faster with the same event.
        } finally {
            Files.delete(temporary);
        }
    }

    /** File names of an account in order; none if nothing happened there. */
    List<String> names(String account) throws IOException {
        try (Stream<Path> files = Files.list(folder.resolve(account))) {
            return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(".json")).sorted().toList();
        } catch (NoSuchFileException none) {
            return List.of();
        }
    }

    @SuppressWarnings("unchecked") // only `keep` writes here, and it writes objects
    Map<String, Object> event(String account, String name) throws IOException {
        return (Map<String, Object>) Json.parse(Files.readString(folder.resolve(account).resolve(name)));
    }

    /** Dies here as by `kill -9`, with the probability that BANK_FAIL_POINTS gives to this place: `feed.kept=1/50`. */
    private static void dieAt(String name) {
        for (String part : System.getenv().getOrDefault("BANK_FAIL_POINTS", "").split(",")) {
            String[] point = part.trim().split("=", 2);
            if (!point[0].equals(name)) continue;
            String[] chance = (point.length > 1 ? point[1] : "1").split("/", 2);
            double down = chance.length > 1 ? Double.parseDouble(chance[1]) : 1;
            if (ThreadLocalRandom.current().nextDouble() < Double.parseDouble(chance[0]) / down) {
                Runtime.getRuntime().halt(137);
            }
        }
    }
}
