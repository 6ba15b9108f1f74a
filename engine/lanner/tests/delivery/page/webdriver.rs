//! A headless Chromium, driven through chromedriver (the WebDriver protocol: JSON over HTTP).

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use test_support::{is_root, skipped, wait_for};

use super::ask;

/// A browser with one window. Dropping it ends it.
pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
}

impl Browser {
    /// A browser, if there is one here. `options` are Chromium's.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
        if !has("chromedriver") || !has("chromium") {
            skipped(
                "chromium and chromedriver are not installed (Debian: chromium, chromium-driver)",
            );
            return None;
        }
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut said = BufReader::new(driver.stdout.take().expect("a pipe"));
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert_ne!(
                said.read_line(&mut line).expect("lines"),
                0,
                "it says its port"
            );
            let port = line.split_once("started successfully on port ");
            if let Some((_, port)) = port {
                break port.trim().trim_end_matches('.').to_owned();
            }
        };
        // it must be able to write more
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        let mut browser = Self {
            driver,
            address: format!("127.0.0.1:{port}"),
            session: String::new(),
        };
        let mut args = vec![
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
        ];
        if is_root() {
            args.push("--no-sandbox");
        }
        args.extend(options);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.send("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        Some(browser)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n",
            self.address
        );
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let (status, _, answer) = ask(&self.address, &head, &body).expect("chromedriver answers");
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(status, 200, "{path}: {answer}");
        answer["value"].take()
    }

    /// A command of the session.
    pub(crate) fn command(&self, path: &str, body: &Value) -> Value {
        self.send("POST", &format!("/session/{}/{path}", self.session), body)
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    /// Sets the size of the window.
    pub(crate) fn size(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.protocol("Emulation.setDeviceMetricsOverride", &size);
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn protocol(&self, name: &str, params: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({"cmd": name, "params": params}))
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let mut found = self.protocol("Runtime.evaluate", &params);
        assert!(
            found.get("exceptionDetails").is_none(),
            "{expression}: {found}"
        );
        found["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait(&self, expression: &str) {
        let seen = || self.value("document.body?.innerText.slice(0, 3000)");
        let mut looks = 0;
        wait_for(expression, || {
            looks += 1;
            let is_true = self.value(expression) == true;
            assert!(is_true || looks < 5000, "{expression}: {}", seen());
            is_true.then_some(())
        });
    }

    /// Presses keys, one after the other. Special ones are those of WebDriver: `\u{e004}` is Tab.
    pub(crate) fn press(&self, keys: &str) {
        let actions = keys.chars().flat_map(|key| {
            let key = key.to_string();
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        });
        let actions: Vec<Value> = actions.collect();
        self.command(
            "actions",
            &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}),
        );
    }

    /// What the console has: errors, and what the page's policy refused.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let lines = self.command("se/log", &json!({"type": "browser"}));
        let lines = lines.as_array().expect("lines").iter();
        lines.map(ToString::to_string).collect()
    }

    /// The window as PNG.
    pub(crate) fn picture(&self) -> Vec<u8> {
        let picture = self.protocol("Page.captureScreenshot", &json!({"format": "png"}));
        base64(picture["data"].as_str().expect("a picture"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // it ends its browsers, too
        let head = format!("GET /shutdown HTTP/1.1\r\nHost: {}\r\n", self.address);
        drop(ask(&self.address, &head, ""));
        for _ in 0..500 {
            if !matches!(self.driver.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| -> u32 {
        match byte {
            b'A'..=b'Z' => u32::from(byte - b'A'),
            b'a'..=b'z' => u32::from(byte - b'a') + 26,
            b'0'..=b'9' => u32::from(byte - b'0') + 52,
            b'+' => 62,
            _ => 63,
        }
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0, |bits, byte| bits << 6 | digit(*byte));
        let bits = bits << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}
