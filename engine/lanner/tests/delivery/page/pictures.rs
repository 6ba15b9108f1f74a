//! The pictures of the page in the documentation. `make pictures` writes them.

use std::fs;

use serde_json::json;

use super::webdriver::Browser;
use super::{config, images, invited};
use crate::session::{Folder, Lanner};

/// What happens in the pictures: one of each, with the default rules.
const SCENE: &str = "
cd /tmp
while [ ! -e \"$1\" ]; do
  cat /etc/shadow >/dev/null 2>&1
  cp /bin/true /dev/shm/lanner-scene 2>/dev/null && /dev/shm/lanner-scene
  rm -f /dev/shm/lanner-scene
  for i in 1 2 3 4 5 6 7 8; do head -c 100 /etc/passwd >/dev/null; done
  sleep 0.7
done";

/// The largest picture, in bytes: each is a part of the repository.
const LARGEST: u64 = 150 << 10;

#[test]
fn the_pictures_are_small_and_there() {
    let names = ["page-alerts.png", "page-driver-dark.png"];
    if std::env::var_os("LANNER_WRITE_PICTURES").is_some() {
        draw(names);
    }
    for name in names {
        let path = images().join(name);
        let bytes = fs::read(&path).expect("make pictures writes it");
        assert!(bytes.starts_with(b"\x89PNG\r\n"), "{name}");
        assert!(bytes.len() as u64 <= LARGEST, "{name}: {}", bytes.len());
    }
}

fn draw([alerts, driver]: [&str; 2]) {
    let Some(browser) = Browser::start(&[]) else {
        return;
    };
    let folder = Folder::new();
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = config(&folder, &manifest.join("../../rules/lanner_rules.yaml"), "");
    let stop = folder.path("stop");
    let texts = [&config, &stop].map(|path| path.to_str().expect("a text"));
    let lanner = Lanner::start(&[
        "--driver", "ptrace", "-c", texts[0], "--", "sh", "-c", SCENE, "sh", texts[1],
    ]);
    let (address, token) = invited(&lanner);
    browser.size(1100, 620);
    browser.open(&format!("http://{address}/#token={token}"));
    browser.wait("document.querySelectorAll('#alert-rows tr').length >= 12");
    browser.wait("document.querySelectorAll('#plot-events polyline').length === 1");
    browser.value("document.getElementById('pause').click()");
    browser.value("document.querySelector('#alert-rows summary').click()");
    browser.wait("document.querySelectorAll('#alert-rows dl').length === 1");
    fs::write(images().join(alerts), browser.picture()).expect("a file");
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.protocol("Emulation.setEmulatedMedia", &dark);
    // the plots have something to show
    browser.wait("document.querySelectorAll('#plot-events polyline')[0].points.length >= 40");
    browser.value("document.getElementById('rates').scrollIntoView()");
    fs::write(images().join(driver), browser.picture()).expect("a file");
    folder.stop();
    lanner.end();
}
