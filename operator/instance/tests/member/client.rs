//! Owns the clients of the tests: the application's over TLS, and one that may do anything.
//! It must not be part of what is tested.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, SslOpts};

use crate::place::Place;

pub(crate) struct Client(pub(crate) Conn);

impl Client {
    pub(crate) async fn app(place: &Place, password: &str) -> mysql_async::Result<Self> {
        let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(place.mysql_port)
            .user(Some("app"))
            .pass(Some(password))
            .db_name(Some("app"))
            .prefer_socket(false)
            .ssl_opts(Some(tls));
        Conn::new(opts).await.map(Self)
    }

    /// With every right.
    pub(crate) async fn root(place: &Place) -> Self {
        let opts = OptsBuilder::default()
            .user(Some("holdfast_accounts"))
            .pass(Some("accounts-not-'secret\\"))
            .socket(Some(place.socket().to_str().unwrap().to_owned()));
        Self(Conn::new(opts).await.unwrap())
    }

    pub(crate) async fn run(&mut self, sql: &str) -> mysql_async::Result<()> {
        self.0.query_drop(sql).await
    }

    pub(crate) async fn text(&mut self, sql: &str) -> String {
        let row: Option<String> = self.0.query_first(sql).await.unwrap();
        row.unwrap_or_default()
    }
}

/// 0 is success, 1 a connection that broke.
pub(crate) fn code<T>(ended: &mysql_async::Result<T>) -> u16 {
    match ended {
        Ok(_) => 0,
        Err(Error::Server(error)) => error.code,
        Err(_) => 1,
    }
}
