//! Certificates that change while connections come.

use crate::certificates::{Authority, Kind};
use crate::support::{curl, finished, tls};
use heddle_e2e::binary::heddle;
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::eventually;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn served(authority: &Authority, proxy: &Proxy) -> String {
    let address = proxy.outbound().to_string();
    let mut command = Command::new("openssl");
    command
        .args([
            "s_client",
            "-connect",
            &address,
            "-servername",
            "bank.example",
            "-CAfile",
        ])
        .arg(authority.ca())
        .stdin(std::process::Stdio::null());
    let said = finished(&mut command).stdout;
    let begin = said.find("-----BEGIN").unwrap_or(0);
    let end = said.find("-----END").unwrap_or(0);
    said[begin..end].trim().to_owned()
}

fn body(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("our file");
    let end = text.find("-----END").expect("PEM");
    text[..end].trim().replace('\r', "")
}

pub(crate) fn new_files_are_taken_up_under_load_and_broken_ones_are_not() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    authority.issue("bank", &["bank.example"], Kind::Server);
    let setup = Setup::new()
        .listener(
            "outbound",
            &format!(
                "identify: [{{static: bank}}]\n{}",
                tls(&authority, "bank", "")
            ),
        )
        .replicas("bank", &[echo.address()]);
    let proxy = Proxy::start(&setup);
    let (stop, failed, done) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let said = finished(&mut curl(proxy.outbound(), "bank.example", &authority.ca()));
                done.fetch_add(1, Ordering::Relaxed);
                failed.fetch_add(usize::from(said.code != Some(0)), Ordering::Relaxed);
            }
        });
        // Whatever fails in here must still end the load.
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for rename in [false, true] {
                change(&authority, rename);
                let new = body(&authority.file("bank.pem"));
                eventually("the new certificate is served", || {
                    served(&authority, &proxy) == new
                });
            }
            let good = body(&authority.file("bank.pem"));
            authority.issue("else", &["bank.example"], Kind::Server);
            std::fs::copy(authority.file("else.key"), authority.file("bank.key"))
                .expect("our folder");
            proxy.wait_for_log("HED501");
            assert_eq!(served(&authority, &proxy), good);
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = changed {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    assert!(done.load(Ordering::Relaxed) > 3);
}

/// Issues anew, in place or beside and renamed over.
fn change(authority: &Authority, rename: bool) {
    if !rename {
        return authority.issue("bank", &["bank.example"], Kind::Server);
    }
    authority.issue("next", &["bank.example"], Kind::Server);
    for end in ["pem", "key"] {
        let (from, to) = (format!("next.{end}"), format!("bank.{end}"));
        std::fs::rename(authority.file(&from), authority.file(&to)).expect("our folder");
    }
}

pub(crate) fn the_checker_tells_what_is_wrong_with_files() {
    let authority = Authority::new();
    authority.issue("good", &["bank.example"], Kind::Server);
    authority.issue("other", &["bank.example"], Kind::Server);
    authority.issue("expired", &["bank.example"], Kind::Expired);
    authority.issue("soon", &["bank.example"], Kind::EndsSoon);
    std::fs::copy(authority.file("good.pem"), authority.file("mixed.pem")).expect("our folder");
    std::fs::copy(authority.file("other.key"), authority.file("mixed.key")).expect("our folder");
    std::fs::write(authority.file("broken.pem"), "x").expect("our folder");
    std::fs::copy(authority.file("good.key"), authority.file("broken.key")).expect("our folder");
    // (files, exit code, what is told)
    let table = [
        ("good", 0, "0 errors, 0 warnings"),
        ("mixed", 1, "the key is not that of the certificate"),
        ("broken", 1, "error[HED501]"),
        ("missing", 1, "error[HED101]"),
        ("expired", 0, "warning[HED502]"),
        ("soon", 0, "expires in 3 days"),
    ];
    for (name, code, told) in table {
        let file = authority.folder().join("heddle.yaml");
        let tls = tls(&authority, name, "");
        std::fs::write(
            &file,
            format!("listeners:\n  - name: a\n    listen: 127.0.0.1:0\n    {tls}\n"),
        )
        .expect("our folder");
        let said = finished(Command::new(heddle()).arg("check").arg(&file));
        assert_eq!(said.code, Some(code), "{name}: {}", said.stdout);
        assert!(said.stdout.contains(told), "{name}: {}", said.stdout);
    }
}
