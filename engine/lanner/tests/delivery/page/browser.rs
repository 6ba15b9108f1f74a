//! What a browser makes of the page.

use serde_json::{Value, json};
use test_support::wait_until;

use super::Served;
use super::webdriver::Browser;
use crate::session::Folder;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const BACKSPACE: &str = "\u{e003}";

/// Names of files that a page could take for something else.
const HOSTILE: &[&str] = &[
    "<img src=x onerror=window.owned=1>",
    "<script>window.owned=2",
    "\"><svg onload=window.owned=3>",
    "{{constructor.constructor('window.owned=4')()}}",
    "\u{1b}]0;owned\u{7}\u{1b}[31m",
    "safe\u{202e}fdp.exe\u{2066}",
    "nothing\u{200b}\u{ad}here",
    "line\u{2028}break\nsecond",
    "__proto__",
    "javascript:window.owned=5",
    "a\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}",
];

/// A rule with a hostile name and tags.
fn hostile_rule(folder: &Folder) -> std::path::PathBuf {
    let watched = folder.path("watched");
    folder.put(
        "rules.yaml",
        &format!(
            "- rule: \"Made <b onclick=window.owned=6>\\u202e\"\n  desc: <i>nothing</i>\n  condition: evt.type in (openat, open) and \
             fd.name startswith {}/ and evt.arg.flags contains O_CREAT\n  output: <u>made</u> %fd.name\n  \
             priority: WARNING\n  tags: ['<s>tag']\n\
             - rule: Never\n  desc: d\n  condition: evt.type = openat and fd.name = /none\n  output: never\n  priority: NOTICE\n",
            watched.display()
        ),
    )
}

fn text(browser: &Browser, id: &str) -> String {
    let text = browser.value(&format!("document.getElementById('{id}').innerText"));
    text.as_str().unwrap_or_default().to_owned()
}

fn set(browser: &Browser, id: &str, value: &str) {
    browser.value(&format!(
        "(() => {{ const e = document.getElementById('{id}'); e.value = {}; \
         e.dispatchEvent(new Event('input', {{bubbles: true}})); }})()",
        Value::from(value)
    ));
}

#[test]
fn alerts_appear_and_hostile_text_does_nothing() {
    // a name that another site's owner has pointed at this host
    let Some(browser) = Browser::start(&["--host-resolver-rules=MAP evil.example 127.0.0.1"])
    else {
        return;
    };
    let folder = Folder::new();
    let rules = hostile_rule(&folder);
    let served = Served::start("ptrace", folder, &rules, HOSTILE);
    let port = served.address.rsplit(':').next().expect("a port");

    browser.open(&format!(
        "http://evil.example:{port}/#token={}",
        served.token
    ));
    browser.wait("document.body.innerText.includes('this page answers to')");

    // without the token, the page asks for it
    browser.open(&format!("http://{}/", served.address));
    browser
        .wait("!document.getElementById('login').hidden && document.activeElement.id === 'token'");
    browser.press(&format!("wrong{ENTER}"));
    browser.wait("document.getElementById('login-error').innerText.includes('not the right one')");
    browser.press(&format!("{}{ENTER}", served.token));
    browser.wait("document.getElementById('login').hidden");
    // expected until here: the site that was refused, and answers of 401
    drop(browser.complaints());

    // an address with the token needs no form, and the token does not stay in it
    browser.open("about:blank");
    browser.value("0");
    browser.open(&served.url());
    browser.wait("location.hash === '' && document.querySelectorAll('#alert-rows tr').length > 0");
    let last = Value::from(HOSTILE[9]);
    browser.wait(&format!(
        "document.getElementById('alert-rows').textContent.includes({last})"
    ));
    for (at, name) in HOSTILE
        .iter()
        .enumerate()
        .filter(|(at, _)| [0, 1, 2, 3, 8, 9].contains(at))
    {
        let shown = format!(
            "[...document.querySelectorAll('#alert-rows summary')].some(e => e.textContent.endsWith({}))",
            Value::from(format!("/{name}"))
        );
        assert_eq!(
            browser.value(&shown),
            true,
            "{at} {name}: {}",
            text(&browser, "alert-rows")
        );
    }
    // every row and every explanation is opened
    browser.value("for (const e of document.querySelectorAll('details:not([open]) > summary, #rule-rows button')) e.click()");
    browser.wait("[...document.querySelectorAll('#rule-rows dl')].length === 2");
    browser.wait("document.querySelectorAll('#alert-rows dl').length > 0");
    let all = browser.value("document.body.textContent");
    let all = all.as_str().expect("a text");
    for hidden in [
        '\u{202e}', '\u{2066}', '\u{200b}', '\u{ad}', '\u{2028}', '\u{7}', '\u{1b}',
    ] {
        assert!(!all.contains(hidden), "{hidden:?}");
    }
    assert!(all.contains("safe\\u{202e}fdp.exe\\u{2066}"), "{all}");
    assert!(
        all.contains("Made <b onclick=window.owned=6>\\u{202e}"),
        "{all}"
    );
    assert!(
        !all.contains("a\u{300}\u{301}\u{302}\u{303}\u{304}"),
        "piled marks"
    );
    assert_eq!(browser.value("window.owned ?? null"), Value::Null);
    assert_eq!(browser.value("document.title"), "lanner");
    let made =
        "document.querySelectorAll('main :is(img, script, i, b, u, s, a, iframe, svg svg)').length";
    assert_eq!(browser.value(made), 0);

    // the filter
    set(&browser, "f-process", "no such program");
    browser.wait("document.getElementById('alert-table').hidden");
    set(&browser, "f-process", "PYTHON");
    browser.wait("document.querySelectorAll('#alert-rows tr').length > 0");
    set(&browser, "f-rule", "never");
    browser.wait("document.getElementById('alert-table').hidden");
    set(&browser, "f-rule", "made <b");
    browser.wait("document.querySelectorAll('#alert-rows tr').length > 0");
    set(&browser, "f-priority", "3");
    browser.wait("document.getElementById('alert-table').hidden");
    set(&browser, "f-priority", "4");
    browser.wait("document.querySelectorAll('#alert-rows tr').length > 0");
    set(&browser, "f-container", "some container");
    browser.wait("document.getElementById('alert-table').hidden");
    set(&browser, "f-container", "");
    browser.wait("document.querySelectorAll('#alert-rows tr').length > 0");

    // new alerts come by themselves, and a rate has two looks
    let rows = browser.value("document.querySelector('#counts').innerText");
    wait_until("more alerts come", || {
        browser.value("document.querySelector('#counts').innerText") != rows
    });
    browser.wait("document.querySelectorAll('#plot-events polyline').length === 1");
    browser.wait(
        "/^Now .* a second, at most/.test(document.getElementById('plot-alerts-text').innerText)",
    );
    assert!(
        text(&browser, "driver").contains("driver ptrace"),
        "{}",
        text(&browser, "driver")
    );
    assert!(text(&browser, "output-rows").contains("output-console"));

    // another host was never asked
    let asked = format!(
        "performance.getEntriesByType('resource').filter(e => !e.name.startsWith('http://{}/')).length",
        served.address
    );
    assert_eq!(browser.value(&asked), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // the policy, not only the page's care, stops a script
    let refused = browser.protocol(
        "Runtime.evaluate",
        &json!({"expression": "document.body.innerHTML = '<img src=x onerror=window.owned=7>'"}),
    );
    assert!(
        refused["exceptionDetails"]
            .to_string()
            .contains("TrustedHTML"),
        "{refused}"
    );

    // lanner goes and comes back: the page says so, and begins again
    for (id, all) in [("f-rule", ""), ("f-process", ""), ("f-priority", "7")] {
        set(&browser, id, all);
    }
    let rules = served.folder.rule("Another rule", "");
    let served = served.restart(&rules, &["another-file"]);
    browser.wait("document.getElementById('alert-rows').textContent.includes('another-file')");
    let old = "document.getElementById('alert-rows').textContent.includes('<script>')";
    assert_eq!(browser.value(old), false, "alerts of the run before");
    browser.wait("document.getElementById('rule-rows').innerText.startsWith('Another rule')");
    served.end();
    browser.wait("document.getElementById('summary').innerText.includes('does not answer')");
}

#[test]
fn the_keyboard_suffices_and_the_page_fits_narrow_windows_in_dark_and_light() {
    let Some(browser) = Browser::start(&[]) else {
        return;
    };
    let folder = Folder::new();
    let rules = folder.rule("A rule with a name", "");
    let served = Served::start(
        "ptrace",
        folder,
        &rules,
        &["a-file-with-a-very-long-name".repeat(8).as_str()],
    );
    browser.size(640, 800);
    browser.open(&served.url());
    browser.wait("document.querySelectorAll('#alert-rows tr').length > 3");
    browser.wait("document.querySelectorAll('#rule-rows button').length === 1");
    let active = |expression: &str| format!("document.activeElement{expression}");
    browser.press(TAB);
    browser.wait(&active(".className === 'skip'"));
    browser.press(ENTER);
    browser.wait(&active(".id === 'alerts'"));
    browser.press(TAB);
    browser.wait(&active(".id === 'f-rule'"));
    browser.press("nothing");
    browser.wait("document.getElementById('alert-table').hidden");
    browser.press(&BACKSPACE.repeat(7));
    browser.wait("!document.getElementById('alert-table').hidden");
    let go_to = |what: &str| {
        for _ in 0..200 {
            if browser.value(what) == true {
                return;
            }
            browser.press(TAB);
        }
        panic!("Tab does not lead to {what}");
    };
    go_to(&active(".id === 'pause'"));
    browser.press(" ");
    browser.wait(&active(".getAttribute('aria-pressed') === 'true'"));
    go_to(&active(".matches('#alert-rows summary')"));
    browser.press(ENTER);
    browser.wait(&active(
        ".parentElement.querySelector('dl')?.innerText.includes('fd.name') === true",
    ));
    // neither the filter nor a pause closes it
    set(&browser, "f-process", "nothing");
    browser.wait("document.getElementById('alert-table').hidden");
    set(&browser, "f-process", "");
    browser.wait("document.querySelectorAll('#alert-rows details[open] dl').length === 1");
    browser.value("document.querySelector('#alert-rows details[open] summary').focus()");
    go_to(&active(".matches('#drivers summary')"));
    browser.press(ENTER);
    browser.wait(&active(".parentElement.open"));
    go_to(&active(".matches('#rule-rows button')"));
    browser.press(ENTER);
    browser.wait(&active(".getAttribute('aria-expanded') === 'true'"));
    browser.wait("document.querySelector('#rule-rows dl')?.innerText.includes('O_CREAT') === true");
    // it stays where it is while counts change
    browser.wait(&active(".matches('#rule-rows button')"));

    // what a screen reader gets: everything that can be used has a name
    let tree = browser.protocol("Accessibility.getFullAXTree", &json!({}));
    let nodes = tree["nodes"].as_array().expect("nodes");
    let mut tables = 0;
    for node in nodes.iter().filter(|node| node["ignored"] == false) {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let name = node["name"]["value"].as_str().unwrap_or_default();
        let needs_name = [
            "button",
            "checkbox",
            "combobox",
            "link",
            "searchbox",
            "textbox",
            "image",
            "table",
            "region",
            "navigation",
        ];
        assert!(
            !needs_name.contains(&role) || !name.trim().is_empty(),
            "{node}"
        );
        tables += usize::from(role == "table");
    }
    assert!(
        tables >= 4,
        "rows that are blocks are still tables: {tables}"
    );

    for width in [640, 400, 1400] {
        browser.size(width, 800);
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        browser.wait(fits);
    }
    for scheme in ["light", "dark"] {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.protocol("Emulation.setEmulatedMedia", &features);
        let least = browser.value(CONTRAST);
        assert!(least.as_f64() >= Some(4.5), "{scheme}: {least}");
        let dark = browser.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(dark != "rgb(255, 255, 255)", scheme == "dark", "{dark}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    served.end();
}

/// The least contrast of a text with what is behind it (Web Content Accessibility Guidelines, 1.4.3).
const CONTRAST: &str = "
(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  let least = 21;
  for (const element of document.querySelectorAll('body *')) {
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!isText || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()";
