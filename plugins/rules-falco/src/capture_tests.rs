//! Tests of rules that ask for files of events.

use std::time::Duration;

use lanner_plugin::{RuleCapture, RulePlugin as _};

use super::tests::{load_text, rule, warnings};
use super::*;

#[test]
fn rules_ask_for_files_and_later_items_change_that() {
    let keys = "  capture: true\n  capture_duration: 3000\n  capture_before: 2m\n";
    let text = rule("a", "evt.type=open")
        + keys
        + &rule("b", "evt.type=open")
        + &rule("c", "evt.type=open")
        + "  capture: yes\n  capture_events: 9\n  capture_filesize: 2\n"
        + "- rule: a\n  capture_duration: 5000\n  override: {capture_duration: replace}\n";
    let loaded = load_text(&text, Settings::default());
    let about_files = |warning: &String| warning.contains("capture");
    assert_eq!(warnings(&loaded).into_iter().find(about_files), None);
    let asked = loaded.result.unwrap().captures();
    let a = RuleCapture {
        rule: 0,
        duration: Some(Duration::from_secs(5)),
        before: Some(Duration::from_secs(120)),
        ..RuleCapture::default()
    };
    let c = RuleCapture {
        rule: 2,
        events: Some(9),
        bytes: Some(2 << 20),
        ..RuleCapture::default()
    };
    assert_eq!(asked, [a, c]);

    let wrong = rule("a", "evt.type=open") + "  capture_before: soon\n";
    let loaded = load_text(&wrong, Settings::default());
    assert!(loaded.result.is_err());
}
