//! A real browser that tests look at pages with: Debian's chromium, by the DevTools protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>) over a pair of pipes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Names of the browser's program, of which the first that there is serves.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    sent: u64,
    session: Option<String>,
    /// What the browser has told without being asked.
    told: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it, without a window.
    ///
    /// # Errors
    /// If there is none on this machine: why.
    ///
    /// # Panics
    /// If it does not do what is asked for.
    pub fn start() -> Result<Self, String> {
        let runs = |program: &&&str| {
            let version = Command::new(program).arg("--version").stdin(Stdio::null()).output();
            version.is_ok_and(|version| version.status.success())
        };
        let program =
            PROGRAMS.iter().find(runs).ok_or_else(|| format!("none of {} runs", PROGRAMS.join(", ")))?;
        let profile = tempfile::tempdir().expect("a directory");
        // It reads commands from descriptor 3, and answers to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", program])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let from = BufReader::new(from);
        let mut browser =
            Self { child, to, from, sent: 0, session: None, told: Vec::new(), _profile: profile };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser.prefer("light");
        Ok(browser)
    }

    /// Has it do something, and returns the answer.
    ///
    /// # Panics
    /// If it refuses, or is no more.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let written =
            self.to.write_all(message.to_string().as_bytes()).and_then(|()| self.to.write_all(b"\0"));
        written.and_then(|()| self.to.flush()).expect("the browser listens");
        loop {
            let mut message = self.next();
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.told.push(message);
        }
    }

    fn next(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).expect("the browser answers");
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// Opens a file, and waits until it is there. What was told of pages before is forgotten.
    pub fn open(&mut self, path: &Path) {
        self.told.clear();
        self.ask("Page.navigate", json!({ "url": format!("file://{}", path.display()).replace(' ', "%20") }));
        while !self.told.iter().any(|told| told["method"] == "Page.loadEventFired") {
            let told = self.next();
            self.told.push(told);
        }
    }

    /// Sets the size of the window.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// Prefers dark or light.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            // A page that scrolls by and by is somewhere else when a click comes to it.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Whether pages that are opened from now on may run scripts.
    pub fn allow_scripts(&mut self, allowed: bool) {
        self.ask("Emulation.setScriptExecutionDisabled", json!({ "value": !allowed }));
    }

    /// What an expression is on the page.
    ///
    /// # Panics
    /// If it throws.
    pub fn value(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.ask("Runtime.evaluate", ask);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Presses a key and lets it go.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            " " => 32,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => panic!("the key {key} is not known here"),
        };
        let text = match key {
            "Enter" => "\r",
            " " => " ",
            _ => "",
        };
        let mut event = json!({ "type": if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "key": key,
            "windowsVirtualKeyCode": code });
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.ask("Input.dispatchKeyEvent", event.clone());
        event["type"] = json!("keyUp");
        self.ask("Input.dispatchKeyEvent", event);
    }

    /// Clicks on the first element that a selector finds.
    pub fn click(&mut self, selector: &str) {
        let find = format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.scrollIntoView({{behavior: 'instant', block: 'center'}}); \
             const box = it.getBoundingClientRect(); return [box.x + Math.min(box.width / 2, 40), box.y + box.height / 2]; }})()"
        );
        let place = self.value(&find);
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", event);
        }
    }

    /// The addresses that the page has asked for since it was opened.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let asked = self.told.iter().filter(|told| told["method"] == "Network.requestWillBeSent");
        asked.map(|told| told["params"]["request"]["url"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What has gone wrong on the page since it was opened: errors of its script, and what its policy has kept from it.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let problems = ["Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"];
        let told = self.told.iter().filter(|told| problems.iter().any(|kind| told["method"] == *kind));
        told.map(Value::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with the first one.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
