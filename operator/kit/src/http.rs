//! A small HTTP server for probes and metrics.
//! Must not be held up by a peer, or serve anything that needs to be kept from one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ALLOW, CONTENT_TYPE};
use ::http::{HeaderValue, Method, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

#[cfg(test)]
mod tests;

/// The kubelet and a scraper or two. When there are more, the oldest goes: a probe takes milliseconds,
/// and who holds connections open must not keep the kubelet out.
const CONNECTIONS_LIMIT: usize = 16;
const HEADERS_TIMEOUT: Duration = Duration::from_secs(3);
/// From accepting to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The least that hyper takes; a request of a probe is far shorter.
const BUFFER_LIMIT_BYTES: usize = 8 << 10;
const HEADERS_LIMIT: usize = 50;
/// When the system has no more descriptors, say, before it is asked again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Answer {
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    pub fn not_found() -> Self {
        Self::text(404, "not found\n")
    }
}

/// Serves GET and HEAD until dropped, one request a connection. The handler gets the path and must
/// not block.
pub async fn serve<H>(listener: TcpListener, handler: H) -> Infallible
where
    H: Fn(&str) -> Answer + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    let mut connections = JoinSet::new();
    let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        oldest.retain(|connection| !connection.is_finished());
        if oldest.len() >= CONNECTIONS_LIMIT
            && let Some(connection) = oldest.pop_front()
        {
            connection.abort();
        }
        oldest.push_back(connections.spawn(connection(stream, Arc::clone(&handler))));
    }
}

async fn connection<H>(stream: TcpStream, handler: Arc<H>)
where
    H: Fn(&str) -> Answer + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, handler.as_ref());
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(BUFFER_LIMIT_BYTES)
        .max_headers(HEADERS_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "failed to serve a connection"),
        Err(_) => tracing::debug!("failed to serve a connection in time"),
    }
}

fn answer<B>(request: &Request<B>, handler: impl Fn(&str) -> Answer) -> Response<Full<Bytes>> {
    // The body of an answer to HEAD is left out further down.
    let is_allowed = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = if is_allowed {
        handler(request.uri().path())
    } else {
        Answer::text(405, "only GET and HEAD\n")
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    let status = StatusCode::from_u16(answer.status);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if !is_allowed {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
