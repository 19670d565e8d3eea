//! A headless Chromium, driven over its DevTools protocol: a WebSocket with JSON.

use heddle_e2e::needs::Need;
use heddle_e2e::process::Running;
use serde_json::{Value, json};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::protocol::WebSocket;
use tokio_tungstenite::tungstenite::{Message, client};

use super::http::{ask, until};

/// How long the page may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page of a browser that ends when this is dropped.
pub(crate) struct Browser {
    socket: WebSocket<TcpStream>,
    _running: Running,
    _profile: tempfile::TempDir,
    number: u64,
    /// What the page said to the console, and errors of its script.
    pub(crate) complaints: Vec<String>,
}

impl Browser {
    /// Opens `url` in a window of this size, in pixels.
    pub(crate) fn open(url: &str, width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("the system has a temporary folder");
        let mut command = Need::Chromium.command();
        command
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args(["--hide-scrollbars", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank");
        let running = Running::start(&mut command);
        let port = profile.path().join("DevToolsActivePort");
        let port: u16 = until("Chromium says its port", || {
            fs::read_to_string(&port).ok()?.lines().next()?.parse().ok()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let target = until("Chromium has a page", || {
            let targets = ask(address, "GET", "/json", &[("host", "localhost")], "").json();
            let pages = targets
                .as_array()?
                .iter()
                .find(|target| target["type"] == "page")?
                .clone();
            pages["webSocketDebuggerUrl"].as_str().map(str::to_owned)
        });
        let stream = TcpStream::connect(address).expect("Chromium listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time-out can be set");
        let (socket, _) = client(target, stream).expect("Chromium speaks WebSocket");
        let mut browser = Self {
            socket,
            _running: running,
            _profile: profile,
            number: 0,
            complaints: Vec::new(),
        };
        browser.resize(width, height);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(domain, json!({}));
        }
        browser.call("Page.navigate", json!({"url": url}));
        browser
    }

    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let call = json!({"id": self.number, "method": method, "params": parameters});
        self.socket
            .send(Message::text(call.to_string()))
            .expect("Chromium takes a call");
        loop {
            let message = self.socket.read().expect("Chromium answers in time");
            let Ok(text) = message.into_text() else {
                continue;
            };
            let Ok(mut answer) = serde_json::from_str::<Value>(&text) else {
                continue;
            };
            if answer["id"] == self.number {
                return answer["result"].take();
            }
            let complaint = matches!(
                answer["method"].as_str(),
                Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded")
            );
            if complaint {
                self.complaints.push(answer["params"].to_string());
            }
        }
    }

    /// The value of an expression of the page's.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        self.call("Runtime.evaluate", asked)["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.value(expression) != true {
            if Instant::now() > deadline {
                let shown = self.value("document.body.innerText");
                panic!("never: {expression}\n{:?}\n{shown}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks what a selector finds.
    pub(crate) fn click(&mut self, selector: &str) {
        self.wait(&format!("document.querySelector({selector:?}) !== null"));
        self.value(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Keeps a picture of the whole page.
    pub(crate) fn picture(&mut self, file: &Path) {
        let taken = self.call(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": true}),
        );
        let data = taken["data"].as_str().expect("a picture is base64");
        fs::write(file, base64(data)).expect("the folder is writable");
    }
}

/// Decodes base64 (RFC 4648, section 4), as the browser writes it.
fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let values = text
        .bytes()
        .filter_map(|byte| LETTERS.iter().position(|letter| *letter == byte));
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for value in values {
        bits = bits << 6 | u32::try_from(value).expect("below 64");
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).expect("one byte"));
        }
    }
    bytes
}
