//! The server's connections, without a socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn site() -> Arc<Site> {
    Arc::new(Site {
        settings: Webserver::default(),
        metrics: Mutex::default(),
        telemetry: Arc::default(),
        outputs: Arc::default(),
        page: None,
    })
}

/// What a client receives until the server closes the connection.
async fn received(mut client: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    client.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

fn asks(page: &str) -> String {
    format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[tokio::test]
async fn a_client_with_many_requests_at_once_lets_others_be_answered() {
    const REQUESTS: usize = 1000;
    const ROOM: usize = 64 << 20;
    let site = site();
    let metrics = asks("/metrics").repeat(REQUESTS);
    let mut busy = Vec::new();
    for _ in 0..4 {
        let (mut client, server) = duplex(ROOM);
        client.write_all(metrics.as_bytes()).await.unwrap();
        busy.push((client, tokio::spawn(talk(server, Arc::clone(&site)))));
    }

    let (mut client, server) = duplex(ROOM);
    let last = asks("/healthz").replace("Host", "Connection: close\r\nHost");
    client.write_all(last.as_bytes()).await.unwrap();
    tokio::spawn(talk(server, site));
    let health = received(client).await;

    assert!(health.contains("application/json"), "{health}");
    for (client, server) in busy {
        server.abort();
        let answered = received(client).await.matches("HTTP/1.1 200").count();
        assert!(answered < REQUESTS / 10, "{answered} of {REQUESTS} first");
    }
}
