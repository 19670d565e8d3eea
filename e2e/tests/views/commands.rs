//! `heddle top` and `heddle routes`.

use crate::support::stage;
use heddle_e2e::binary::heddle;
use heddle_e2e::process::{run, succeed};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn top_once_fits_eighty_columns() {
    let stage = stage();
    let admin = stage.proxy.admin().to_string();
    for (view, words) in [
        (
            "services",
            ["REQ/S", "/svc/accounts", "100%", "/svc/ledger"],
        ),
        ("replicas", ["STATUS", "static/ledger", "open", "FAILURES"]),
    ] {
        let mut command = Command::new(heddle());
        command.args(["top", "--once", "--interval", "200ms", "--admin", &admin]);
        command.args(["--view", view]).env("COLUMNS", "80");
        let text = succeed(&mut command, LIMIT);
        for word in words {
            assert!(text.contains(word), "{word}:\n{text}");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "too wide: {line}");
        }
    }
}

pub(crate) fn nobody_at_the_address_is_told() {
    for subcommand in ["top", "routes"] {
        let mut command = Command::new(heddle());
        command.args([subcommand, "--admin", "127.0.0.1:1"]);
        let finished = run(&mut command, LIMIT);
        assert_eq!(finished.code, Some(1), "{subcommand}");
        assert!(
            finished.stderr.contains("cannot connect to 127.0.0.1:1"),
            "{}",
            finished.stderr
        );
    }
}

pub(crate) fn routes_shows_rules_shares_and_where_they_lead() {
    let stage = stage();
    let admin = stage.proxy.admin().to_string();
    let table = |arguments: &[&str]| {
        let mut command = Command::new(heddle());
        succeed(command.arg("routes").args(arguments), LIMIT)
    };
    let live = table(&["--admin", &admin]);
    let file = stage.proxy.folder().join("heddle.yaml");
    let written = table(&["-c", file.to_str().expect("the path is text")]);
    for text in [&live, &written] {
        for word in [
            "/svc/accounts",
            "header x-stage is \"v2\"",
            "75 %",
            "/#/static/accounts-v1",
            "1/1",
        ] {
            assert!(text.contains(word), "{word}:\n{text}");
        }
    }
    assert!(live.contains("/svc/nobody"), "what was asked for:\n{live}");
    assert!(!written.contains("/svc/nobody"), "{written}");
    let json = table(&["--admin", &admin, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let names = json["names"].as_array().expect("a list");
    let accounts = names.iter().find(|name| name["name"] == "/svc/accounts");
    let accounts = accounts.expect("it was asked for");
    assert_eq!(accounts["seen"], true);
    assert_eq!(accounts["rules"][1]["to"][0]["share"], 0.75);
}

/// Runs `heddle top` in a pseudo-terminal, types, and says what the terminal's modes were before and after.
const TERMINAL: &str = r#"
import os, pty, re, select, struct, sys, termios, fcntl, time
binary, admin = sys.argv[1:3]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.login_tty(slave) if hasattr(os, "login_tty") else (os.setsid(), fcntl.ioctl(slave, termios.TIOCSCTTY, 0), [os.dup2(slave, n) for n in (0, 1, 2)])
    os.environ["TERM"] = "xterm"
    os.execv(binary, [binary, "top", "--admin", admin, "--interval", "200ms"])
screen, cursor, pending, told = {}, [0, 0], b"", []
CONTROL = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])")
def show(seen):
    # A terminal in small: only cells that changed are drawn, wherever the cursor is sent.
    at = 0
    while at < len(seen):
        found = CONTROL.match(seen, at)
        if found:
            at = found.end()
            if found[2] == b"H":
                row, _, column = found[1].partition(b";")
                cursor[:] = int(row or 1), int(column or 1)
            elif found[2] == b"J":
                screen.clear()
        elif seen[at:at + 1] == b"\x1b":
            return seen[at:]
        else:
            size = next((n for n, least in ((4, 0xF0), (3, 0xE0), (2, 0xC0)) if seen[at] >= least), 1)
            if at + size > len(seen):
                return seen[at:]
            screen[cursor[0], cursor[1]] = seen[at:at + size]
            cursor[1] += 1
            at += size
    return b""
def rows():
    last = max((column for _, column in screen), default=0)
    return [b"".join(screen.get((row, column), b" ") for column in range(1, last + 1)) for row in range(1, 61)]
def until(what, there):
    global pending
    end = time.monotonic() + 20
    while not there():
        if time.monotonic() > end:
            sys.exit("no %s in %r and %r" % (what, rows(), pending))
        if select.select([master], [], [], 0.1)[0]:
            pending += os.read(master, 65536)
            told.append(pending)
            pending = show(pending)
def shown(word):
    until(word, lambda: any(word.encode() in row for row in rows()))
def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
shown("/svc/accounts")
shown("REQ/Sv")
os.write(master, b"\x1b[C")
shown("SUCCESSv")
resize(25, 80)
# A key that comes together with a change of size may wait for the next one (crossterm's mio source).
until("a screen of 25 rows", lambda: b"Tab view" in rows()[24])
os.write(master, b"\t")
shown("ENDPOINT^")
resize(30, 120)
shown("REQUESTS")
if sys.argv[3] == "q":
    os.write(master, b"q")
else:
    os.kill(child, 15)
until("the other screen left", lambda: b"\x1b[?1049l" in b"".join(told))
end = time.monotonic() + 20
while True:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        break
    if time.monotonic() > end:
        os.kill(child, 9)
        sys.exit("it does not end")
    time.sleep(0.02)
if status != 0 or termios.tcgetattr(slave) != before:
    sys.exit("status %r, modes %r, were %r" % (status, termios.tcgetattr(slave), before))
print("restored")
"#;

pub(crate) fn the_live_screen_sorts_resizes_and_restores_the_terminal() {
    let stage = stage();
    let admin = stage.proxy.admin().to_string();
    for way in ["q", "term"] {
        let mut command = Command::new("python3");
        command
            .args(["-c", TERMINAL])
            .arg(heddle())
            .args([&admin, way]);
        assert_eq!(succeed(&mut command, LIMIT * 3).trim(), "restored");
    }
}
