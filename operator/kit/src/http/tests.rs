//! The server over loopback, on the kind of runtime the agent has.
//! Must not use an HTTP client that puts requests right.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = AtomicUsize::new(0);
    tokio::spawn(serve(listener, move |path| match path {
        "/livez" => Answer::text(200, "ok\n"),
        "/readyz" => Answer::text(503, "not yet\n"),
        "/count" => Answer::text(200, asked.fetch_add(1, Ordering::Relaxed).to_string()),
        "/long" => Answer::text(200, "x".repeat(3 << 20)),
        "/odd" => Answer::text(7, ""),
        _ => Answer::not_found(),
    }));
    address
}

/// Everything until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may be refused before it is all there.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    drop(read);
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
}

#[tokio::test]
async fn get_and_head_are_answered_and_the_connection_closes() {
    let address = start().await;
    let answer = get(address, "/livez?verbose=1").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("content-length: 3\r\n") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");

    let head = exchange(address, "HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        head.contains("content-length: 3\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503 "));
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    assert!(get(address, "/odd").await.starts_with("HTTP/1.1 500 "));
    assert!(get(address, "/long").await.len() > 3 << 20);
    let old = exchange(address, "GET /livez HTTP/1.0\r\n\r\n").await;
    assert!(old.contains(" 200 OK\r\n"), "{old}");
}

#[tokio::test]
async fn other_methods_and_broken_requests_are_refused() {
    let address = start().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request = format!("{method} /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
        let answer = exchange(address, &request).await;
        assert!(
            answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD\r\n"),
            "{answer}"
        );
    }
    let nonsense = exchange(address, "nonsense\r\n\r\n").await;
    assert!(
        nonsense.is_empty() || nonsense.starts_with("HTTP/1.1 400 "),
        "{nonsense}"
    );
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(100_000));
    let answer = exchange(address, &long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
    let answer = exchange(address, &many).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    assert!(get(address, "/livez").await.ends_with("ok\n"));
}

#[tokio::test]
async fn one_request_is_answered_on_a_connection() {
    let address = start().await;
    let twice = "GET /count HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
    let answer = exchange(address, &twice).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn who_sends_no_request_or_reads_no_answer_is_dropped() {
    let address = start().await;
    let begun = Instant::now();
    let answer = exchange(address, "GET /livez HTTP/1.1\r\nhost:").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        "{answer}"
    );
    let took = begun.elapsed();
    assert!(
        took > HEADERS_TIMEOUT / 2 && took < HEADERS_TIMEOUT * 2,
        "{took:?}"
    );

    let mut stream = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    // A drop at a time does not help.
    while begun.elapsed() < CONNECTION_TIMEOUT {
        if stream.write_all(b"a: b\r\n").await.is_err() {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    assert!(begun.elapsed() < HEADERS_TIMEOUT * 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_holds_connections_open_keeps_no_probe_out() {
    let address = start().await;
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(get(address, "/livez").await.ends_with("ok\n"));
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(held);
}

#[tokio::test]
async fn dropped_it_closes_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, |_| Answer::not_found()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    serving.abort();
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok());
    assert!(TcpStream::connect(address).await.is_err());
}
