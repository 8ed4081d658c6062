//! Agents, controllers and authorities for the tests.
//! Must not be clever: what a test says should be what happens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use topology::assignment::{Assignment, Role};
use topology::record::Record;
use topology::report::{Process, Report};
use topology::term::Term;

use crate::CONTROLLER_NAME;
use crate::client::{Event, Leads, Link, What};
use crate::message::{FRAME_LIMIT_BYTES, FromAgent, ToAgent, VERSION};
use crate::server::{Clock, Order, Sampled, Shared, serve};
use crate::tls::{ClientTls, ServerTls};
use crate::wire::{self, Reader, Writer};

pub(crate) const MEMBER: &str = "db-0";
pub(crate) const SERVER_NAME: &str = "db-members.shop.svc";

/// Longer than anything here takes, but for what is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

pub(crate) struct Leaf {
    certificate: String,
    key: String,
}

impl Leaf {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A client that shows this and trusts those.
    pub(crate) fn trusting(&self, authorities_pem: &str) -> ClientTls {
        ClientTls::new(authorities_pem, &self.certificate, &self.key, SERVER_NAME).unwrap()
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "db authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn leaf(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Leaf {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        Leaf {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn server(&self) -> Leaf {
        self.leaf(SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub(crate) fn controller(&self) -> ClientTls {
        self.trusting(&self.leaf(CONTROLLER_NAME, ExtendedKeyUsagePurpose::ClientAuth))
    }

    /// A client that trusts this authority and shows that leaf.
    pub(crate) fn trusting(&self, leaf: &Leaf) -> ClientTls {
        leaf.trusting(&self.pem)
    }
}

/// A folder that goes when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("agent-api-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn put(&self, authority: &Authority, leaf: &Leaf) {
        let files = [
            ("ca.crt", &authority.pem),
            ("tls.crt", &leaf.certificate),
            ("tls.key", &leaf.key),
        ];
        for (name, text) in files {
            std::fs::write(self.0.join(name), text).unwrap();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An agent behind the real server.
pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<Clock>,
    pub(crate) reports: watch::Sender<Arc<Sampled>>,
    pub(crate) orders: mpsc::Receiver<Order>,
    serving: JoinHandle<()>,
    _folder: Folder,
}

impl Agent {
    pub(crate) async fn start(authority: &Authority) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), authority, &authority.server()).await
    }

    pub(crate) async fn start_at(address: SocketAddr, authority: &Authority, leaf: &Leaf) -> Self {
        let folder = Folder::new();
        folder.put(authority, leaf);
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Arc::new(Clock::default());
        let first = Sampled {
            report: report(),
            started: clock.tick(),
        };
        let (reports, seen) = watch::channel(Arc::new(first));
        let (orders_in, orders) = mpsc::channel(1);
        let shared = Shared {
            clock: Arc::clone(&clock),
            reports: seen,
            orders: orders_in,
        };
        let path = folder.path().to_owned();
        let serving = tokio::spawn(async move {
            serve(listener, &path, "1.2.3", shared).await;
        });
        Self {
            address,
            clock,
            reports,
            orders,
            serving,
            _folder: folder,
        }
    }

    /// Samples now, and says this.
    pub(crate) fn sample(&self, change: impl FnOnce(&mut Report)) {
        let started = self.clock.tick();
        let mut report = report();
        change(&mut report);
        self.reports.send_replace(Arc::new(Sampled { report, started }));
    }

    pub(crate) async fn order(&mut self) -> Order {
        within("an order", self.orders.recv()).await.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Of a controller that leads.
pub(crate) fn ping(number: u64) -> ToAgent {
    ToAgent::Ping { number, leads: true }
}

pub(crate) fn leading() -> Leads {
    Arc::new(|| true)
}

/// A link and its events.
pub(crate) struct Controller {
    pub(crate) link: Link,
    pub(crate) events: mpsc::Receiver<Event>,
}

impl Controller {
    pub(crate) fn open(address: SocketAddr, tls: ClientTls) -> Self {
        let (events_in, events) = mpsc::channel(100);
        let (_, tls) = watch::channel(tls);
        Self {
            link: Link::open(MEMBER.to_owned(), address, tls, leading(), events_in),
            events,
        }
    }

    pub(crate) async fn event(&mut self) -> What {
        let event = within("an event", self.events.recv()).await.unwrap();
        assert_eq!(event.member, MEMBER);
        event.what
    }

    pub(crate) async fn connected(&mut self) {
        let event = self.other_than_report().await;
        assert!(matches!(event, What::Connected { .. }), "{event:?}");
    }

    pub(crate) async fn lost(&mut self) -> String {
        match self.other_than_report().await {
            What::Lost { why } => why,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn report(&mut self) -> (Box<Report>, u64) {
        loop {
            match self.event().await {
                What::Report { report, last_ping } => return (report, last_ping),
                What::Lost { why } => panic!("lost: {why}"),
                _ => {}
            }
        }
    }

    pub(crate) async fn other_than_report(&mut self) -> What {
        loop {
            let event = self.event().await;
            if !matches!(event, What::Report { .. }) {
                return event;
            }
        }
    }
}

/// A controller by hand.
pub(crate) struct Hand<S> {
    pub(crate) reader: Reader<S>,
    pub(crate) writer: Writer<S>,
}

impl Hand<client::TlsStream<TcpStream>> {
    pub(crate) async fn connect(address: SocketAddr, tls: ClientTls) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = TlsConnector::from(tls.config)
            .connect(tls.server_name, stream)
            .await
            .unwrap();
        // May write what it must not.
        let (reader, writer) = wire::split(stream, FRAME_LIMIT_BYTES, usize::MAX);
        Self { reader, writer }
    }

    pub(crate) async fn welcome(address: SocketAddr, tls: ClientTls) -> Self {
        let mut hand = Self::connect(address, tls).await;
        hand.writer
            .send(&ToAgent::Hello { version: VERSION })
            .await
            .unwrap();
        assert!(matches!(hand.next().await, FromAgent::Hello { .. }));
        hand
    }

    pub(crate) async fn next(&mut self) -> FromAgent {
        within("a message", self.reader.next()).await.unwrap()
    }

    pub(crate) async fn report(&mut self) -> Report {
        loop {
            if let FromAgent::Report { report } = self.next().await {
                return *report;
            }
        }
    }

    /// Whatever comes before is of no interest.
    pub(crate) async fn closed(&mut self) -> wire::Error {
        let closed = async {
            loop {
                if let Err(error) = self.reader.next::<FromAgent>().await {
                    return error;
                }
            }
        };
        within("the end", closed).await
    }
}

/// An agent by hand.
pub(crate) struct HandAgent {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
    tls: ServerTls,
}

impl HandAgent {
    pub(crate) async fn start(authority: &Authority) -> Self {
        let folder = Folder::new();
        folder.put(authority, &authority.server());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            listener,
            tls: ServerTls::read(folder.path()).unwrap(),
        }
    }

    pub(crate) async fn accept(&self, version: u32) -> Hand<server::TlsStream<TcpStream>> {
        let (stream, _) = within("a controller", self.listener.accept()).await.unwrap();
        let stream = TlsAcceptor::from(self.tls.0.clone())
            .accept(stream)
            .await
            .unwrap();
        let (reader, mut writer) = wire::split(stream, FRAME_LIMIT_BYTES, usize::MAX);
        let agent = "1.2.3".to_owned();
        writer.send(&FromAgent::Hello { version, agent }).await.unwrap();
        Hand { reader, writer }
    }
}

pub(crate) fn report() -> Report {
    Report {
        member: MEMBER.to_owned(),
        heard: 0,
        agent: "1.2.3".to_owned(),
        assignment: None,
        is_settled: false,
        proved: None,
        is_founded: false,
        process: Process::Unassigned,
        server: None,
        server_age_ms: 0,
        disk: None,
        write_age_ms: 0,
        drift: Default::default(),
        awaiting_restart: Default::default(),
        removed: None,
        troubles: Default::default(),
    }
}

pub(crate) fn term(revision: u64) -> Term {
    Term { epoch: 1, revision }
}

pub(crate) fn assignment(revision: u64) -> Box<Assignment> {
    Box::new(Assignment {
        member: MEMBER.to_owned(),
        record: Some(Record {
            acknowledged_by: 1,
            wait_for: 1,
            ..Record::of(
                "7d3f6d3e-0000-4000-8000-000000000001".parse().unwrap(),
                term(revision),
                MEMBER,
            )
        }),
        role: Role::Hold,
        server: Default::default(),
    })
}
