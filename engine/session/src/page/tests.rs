//! The routes of the page, without a server.

use std::collections::BTreeSet;

use http_body_util::BodyExt;
use hyper::header::{CONTENT_SECURITY_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use plugin_host::{OwnedValue, Priority, Rule};
use serde_json::Value;

use super::*;
use crate::LoadConfig;
use crate::config::PageConfig;
use crate::counters::Board;
use crate::error::WebError;

const TOKEN: &str = "0123456789abcdef";

fn made(address: &str, page: PageConfig) -> Result<Arc<Page>, WebError> {
    let settings = Webserver {
        enabled: true,
        page,
        ..Webserver::default()
    };
    let sources = Sources {
        telemetry: Arc::default(),
        outputs: Arc::default(),
        loader: Arc::new(RuleLoader::new(LoadConfig::default())),
        drivers: r#"{"drivers":[]}"#.to_owned(),
    };
    let listens_at = ListenAddress::Tcp(address.parse().unwrap());
    Page::new(&settings, listens_at, sources).map(Arc::new)
}

fn with_token() -> Arc<Page> {
    let page = PageConfig {
        enabled: true,
        token: Some(TOKEN.to_owned()),
        hosts: vec!["watch.example".to_owned()],
        ..PageConfig::default()
    };
    made("192.0.2.1:8765", page).unwrap()
}

fn open() -> Arc<Page> {
    let page = PageConfig {
        enabled: true,
        open: true,
        ..PageConfig::default()
    };
    made("127.0.0.1:8765", page).unwrap()
}

fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn asked(target: &str, token: &str) -> Request<()> {
    let bearer = format!("Bearer {token}");
    request(target, &[("host", "localhost"), ("authorization", &bearer)])
}

async fn status(page: &Page, request: Request<()>) -> u16 {
    page.answer(&request).await.status().as_u16()
}

async fn facts(page: &Page, target: &str) -> Value {
    let answer = page.answer(&asked(target, TOKEN)).await;
    assert_eq!(answer.status(), 200, "{target}");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

fn alert(text: &str) -> Arc<plugin_host::Alert> {
    let bytes = |text: &str| OwnedValue::String(text.as_bytes().to_vec());
    Arc::new(plugin_host::Alert {
        time_ns: 1_767_225_605_000_000_042,
        rule: "r".to_owned(),
        priority: Priority::Notice,
        source: "syscall".to_owned(),
        hostname: "box".to_owned(),
        tags: vec!["t".to_owned()],
        text: format!("00:00:05.000000042: Notice {text}"),
        json: String::new(),
        fields: vec![
            (
                "evt.time".to_owned(),
                OwnedValue::U64(1_767_225_605_000_000_042),
            ),
            ("container.name".to_owned(), bytes("web")),
        ],
        context: vec![
            ("proc.name".to_owned(), bytes("cat")),
            ("proc.pid".to_owned(), OwnedValue::I64(7)),
            ("container.id".to_owned(), OwnedValue::None),
        ],
    })
}

#[tokio::test]
async fn facts_need_the_token_and_the_page_itself_does_not() {
    let page = with_token();
    for (path, ..) in FILES {
        assert_eq!(status(&page, asked(path, "")).await, 200, "{path}");
    }
    for path in [
        "/page/state",
        "/page/alerts",
        "/page/drivers",
        "/page/rule?name=r",
        "/page/x",
    ] {
        for token in [
            "",
            "0",
            "0123456789abcdeF",
            "0123456789abcde",
            "0123456789abcdef0",
        ] {
            let answer = page.answer(&asked(path, token)).await;
            assert_eq!(answer.status(), 401, "{path} {token:?}");
            assert!(answer.headers().contains_key(WWW_AUTHENTICATE));
        }
        let none = request(path, &[("host", "localhost")]);
        assert_eq!(status(&page, none).await, 401, "{path}");
        // a token belongs into a header: addresses end up in logs
        let in_query = format!("/page/state?token={TOKEN}");
        assert_eq!(status(&page, asked(&in_query, "")).await, 401);
    }
    assert_eq!(status(&page, asked("/page/state", TOKEN)).await, 200);
    assert_eq!(
        facts(&page, "/page/drivers").await["drivers"],
        Value::Array(Vec::new())
    );
    assert_eq!(status(&page, asked("/page/x", TOKEN)).await, 404);
    assert_eq!(status(&page, asked("/page/rule?name=r", TOKEN)).await, 409);
}

#[tokio::test]
async fn a_name_that_another_site_may_have_gets_nothing() {
    let page = with_token();
    let bearer = format!("Bearer {TOKEN}");
    for (host, known) in [
        ("localhost:8765", true),
        ("LOCALHOST", true),
        ("127.0.0.1:8765", true),
        ("192.0.2.1", true),
        ("[::1]:8765", true),
        ("watch.example:1", true),
        ("evil.example", false),
        ("localhost.evil.example", false),
        ("watch.example.evil.example", false),
        ("127.0.0.1.evil.example:8765", false),
        ("[::1].evil.example", false),
        ("[evil.example]", false),
        ("user@localhost", false),
        ("", false),
    ] {
        for path in ["/", "/page/state"] {
            let headers = [("host", host), ("authorization", bearer.as_str())];
            let status = status(&page, request(path, &headers)).await;
            assert_eq!(status, if known { 200 } else { 421 }, "{host} {path}");
        }
    }
    assert_eq!(status(&page, request("/", &[])).await, 421, "no name");
    let two = request("/", &[("host", "localhost"), ("host", "evil.example")]);
    assert_eq!(status(&page, two).await, 421);
    let proxied = request("http://evil.example/", &[("host", "localhost")]);
    assert_eq!(status(&page, proxied).await, 421);
    let proxied = request("http://localhost/", &[("host", "evil.example")]);
    assert_eq!(status(&page, proxied).await, 421);
}

#[tokio::test]
async fn another_site_gets_no_facts_through_a_browser() {
    let page = open();
    for (site, expected) in [
        ("same-origin", 200),
        ("none", 200),
        ("cross-site", 403),
        ("same-site", 403),
    ] {
        let headers = [("host", "localhost"), ("sec-fetch-site", site)];
        let asked = request("/page/state", &headers);
        assert_eq!(status(&page, asked).await, expected, "{site}");
        // a link from elsewhere leads to the page
        assert_eq!(status(&page, request("/", &headers)).await, 200);
    }
}

#[tokio::test]
async fn only_a_loopback_address_may_be_open_and_it_makes_a_token_otherwise() {
    let enabled = PageConfig {
        enabled: true,
        ..PageConfig::default()
    };
    let exposed = PageConfig {
        open: true,
        ..enabled.clone()
    };
    for address in ["192.0.2.1:1", "0.0.0.0:1", "[::]:1", "[::ffff:192.0.2.1]:1"] {
        for page in [&enabled, &exposed] {
            let refused = made(address, page.clone());
            assert!(matches!(refused, Err(WebError::Open(_))), "{address}");
        }
    }
    assert_eq!(
        status(&open(), request("/page/state", &[("host", "localhost")])).await,
        200
    );
    let mut tokens = BTreeSet::new();
    for address in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        let page = made(address, enabled.clone()).unwrap();
        assert_eq!(
            status(&page, asked("/page/state", "")).await,
            401,
            "{address}"
        );
        let invitation = page.invitation();
        let (_, token) = invitation.split_once("/#token=").unwrap();
        assert_eq!(
            status(&page, asked("/page/state", token)).await,
            200,
            "{address}"
        );
        assert_eq!(token.len(), 2 * 16);
        assert!(!format!("{page:?}").contains(token));
        tokens.insert(token.to_owned());
    }
    assert_eq!(tokens.len(), 4, "each start has another one");
    assert!(!with_token().invitation().contains(TOKEN));
}

#[tokio::test]
async fn every_answer_binds_the_browser() {
    let page = with_token();
    let bad_host = request("/", &[("host", "evil.example")]);
    for request in [
        asked("/", ""),
        asked("/page/page.js", ""),
        asked("/page/state", ""),
        asked("/page/state", TOKEN),
        asked("/page/none", TOKEN),
        bad_host,
    ] {
        let answer = page.answer(&request).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header(CONTENT_SECURITY_POLICY.as_str());
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        for lax in ["unsafe", "http", "*", "data:", "blob:"] {
            assert!(!policy.contains(lax), "{policy}");
        }
        assert_eq!(header(X_CONTENT_TYPE_OPTIONS.as_str()), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-frame-options"), "DENY");
    }
}

/// The policy of the browser forbids all this, too; a file that has it would not work.
#[test]
fn the_files_have_no_script_in_the_markup_and_name_no_other_host() {
    for (path, kind, text) in FILES {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "javascript:",
            "//cdn",
            "https://",
            " style=",
            "@import",
            "url(",
        ] {
            assert!(!text.contains(word), "{path}: {word}");
        }
        // names of XML, which nothing asks for
        let plain = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!plain.contains("http://"), "{path}");
        if kind.starts_with("text/html") {
            for tag in text.split('<').filter(|tag| tag.starts_with("script")) {
                assert!(
                    tag.starts_with("script type=\"module\" src=\"/page/"),
                    "{tag}"
                );
            }
            let mut words = text.split_whitespace();
            let is_handler = |word: &str| word.starts_with("on") && word.contains('=');
            assert!(!words.any(is_handler), "no handlers in the markup");
        }
    }
}

#[tokio::test]
async fn an_answer_waits_for_an_alert_and_a_slow_page_learns_how_many_it_missed() {
    let page = with_token();
    let first = facts(&page, "/page/alerts").await;
    assert_eq!((&first["last"], &first["missed"]), (&0.into(), &0.into()));
    let waits = tokio::spawn({
        let page = Arc::clone(&page);
        async move { facts(&page, "/page/alerts?after=0").await }
    });
    while page.waiting.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    page.feed.push(&alert("<b>: Notice hi</b>"));
    let answer = waits.await.unwrap();
    assert_eq!(answer["last"], 1);
    let row = &answer["alerts"][0];
    assert_eq!(row["text"], "<b>: Notice hi</b>");
    assert_eq!(row["time"], "2026-01-01T00:00:05.000000042Z");
    assert_eq!((&row["process"], &row["pid"]), (&"cat".into(), &"7".into()));
    assert_eq!(row["container"], Value::Null);
    assert_eq!(row["container_name"], "web");
    // a browser would round the number
    assert_eq!(row["fields"]["evt.time"], "1767225605000000042");
    for _ in 0..5000 {
        page.feed.push(&alert("x"));
    }
    let (mut last, mut seen, mut missed) = (1, 1, 0);
    while last < 5001 {
        let answer = facts(&page, &format!("/page/alerts?after={last}")).await;
        let alerts = answer["alerts"].as_array().unwrap().len();
        assert!(alerts <= ALERTS);
        seen += alerts as u64;
        missed += answer["missed"].as_u64().unwrap();
        last = answer["last"].as_u64().unwrap();
    }
    assert!(missed > 0);
    assert_eq!(seen + missed, 5001);
}

#[tokio::test]
async fn few_answers_wait_at_once_and_all_get_the_alert() {
    let page = open();
    let ask = |page: &Arc<Page>| {
        let page = Arc::clone(page);
        tokio::spawn(async move { status(&page, asked("/page/alerts?after=0", "")).await })
    };
    let waiting: Vec<_> = (0..WAITING).map(|_| ask(&page)).collect();
    while page.waiting.load(Relaxed) < WAITING {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&page).await.unwrap(), 503);
    assert_eq!(
        status(&page, asked("/page/state", "")).await,
        200,
        "others go on"
    );
    page.feed.push(&alert("x"));
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 200);
    }
    assert_eq!(page.waiting.load(Relaxed), 0);
    // a browser that goes away frees its place
    page.feed.push(&alert("x"));
    let gone = tokio::spawn({
        let page = Arc::clone(&page);
        async move { status(&page, asked("/page/alerts?after=2", "")).await }
    });
    while page.waiting.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    gone.abort();
    drop(gone.await);
    assert_eq!(page.waiting.load(Relaxed), 0);
}

#[tokio::test]
async fn the_state_has_the_numbers_of_metrics() {
    let page = with_token();
    let rule = Rule {
        name: "A \"rule\"".to_owned(),
        description: String::new(),
        priority: Priority::Warning,
        source: "syscall".to_owned(),
        tags: vec!["T1059".to_owned()],
        output: String::new(),
        enabled: true,
    };
    let board = Board::new(&[rule], &Board::default());
    board.count(0, delivery::Verdict::Pass);
    board.count(0, delivery::Verdict::Duplicate);
    let telemetry = &page.sources.telemetry;
    telemetry.set_board(board.into());
    let stats = driver_api::stats::Stats {
        captured: 70,
        lost: std::array::from_fn(|at| at as u64),
        ..Default::default()
    };
    telemetry.publish(&stats, &inspect::InspectorStats::default());
    page.look();
    page.look();
    let state = facts(&page, "/page/state").await;
    assert_eq!(state["events"]["captured"], 70);
    let lost = state["events"]["lost"].as_object().unwrap();
    assert_eq!(lost.len(), stats.lost.len());
    let row = &state["rules"][0];
    assert_eq!(
        (&row["name"], &row["matches"]),
        (&"A \"rule\"".into(), &2.into())
    );
    assert_eq!(
        (&row["duplicates"], &row["severity"]),
        (&1.into(), &4.into())
    );
    let looks = state["looks"].as_array().unwrap();
    assert_eq!((looks.len(), &looks[1]["captured"]), (2, &70.into()));
    let rest = facts(&page, "/page/state?after=1").await;
    assert_eq!(rest["looks"].as_array().unwrap().len(), 1);
}

#[test]
fn the_counters_of_ten_minutes_are_kept() {
    let history = History::default();
    for number in 0..700 {
        history.add(number, 0, 0);
    }
    let all = history.since(0);
    assert_eq!((all.len(), all[0].number), (600, 101));
    assert_eq!(history.since(699).len(), 1);
}

#[test]
fn values_of_a_query_are_decoded() {
    let name = |query: &str| value(query, "name");
    assert_eq!(
        name("a=1&name=A%20%22b%22%C3%BC+").as_deref(),
        Some("A \"b\"ü+")
    );
    assert_eq!(name("name=").as_deref(), Some(""));
    for wrong in [
        "", "name", "n=1", "name=%", "name=%2", "name=%zz", "name=%ff",
    ] {
        assert_eq!(name(wrong), None, "{wrong}");
    }
}
