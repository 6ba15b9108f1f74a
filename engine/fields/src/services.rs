//! Names of ports, from /etc/services (services(5)): read once, when somebody asks.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

static SERVICES: LazyLock<HashMap<(u16, u16), String>> = LazyLock::new(|| {
    let text = inspect::read_patiently(Path::new("/etc/services")).unwrap_or_default();
    parse(&String::from_utf8_lossy(&text))
});

/// The name of a port of a protocol (`IPPROTO_*`).
pub(super) fn name(port: u16, protocol: u16) -> Option<&'static str> {
    SERVICES.get(&(port, protocol)).map(String::as_str)
}

fn parse(text: &str) -> HashMap<(u16, u16), String> {
    let mut services = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(place)) = (words.next(), words.next()) else {
            continue;
        };
        let Some((port, protocol)) = place.split_once('/') else {
            continue;
        };
        let protocol = match protocol {
            "tcp" => 6,
            "udp" => 17,
            _ => continue,
        };
        if let Ok(port) = port.parse() {
            services
                .entry((port, protocol))
                .or_insert_with(|| name.to_owned());
        }
    }
    services
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_of_services_are_read_and_others_passed_over() {
        let text = "# x\nhttp 80/tcp www # web\nwww 80/tcp\ndomain\t53/udp\nbad\nbad 1\nbad x/tcp\nx 7/sctp\n";
        let services = super::parse(text);
        assert_eq!(services.len(), 2);
        assert_eq!(services[&(80, 6)], "http");
        assert_eq!(services[&(53, 17)], "domain");
    }
}
