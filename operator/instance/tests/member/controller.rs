//! Owns the controller of the tests: assignments written by hand, reports waited for.
//! It must not decide anything by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_api::client::{Event, Link, What};
use agent_api::tls::ClientTls;
use tokio::sync::{mpsc, watch};
use topology::assignment::{Assignment, Place as At, Role, Server};
use topology::gtid::Uuid;
use topology::record::Record;
use topology::report::{Report, ServerSeen};
use topology::term::Term;

use crate::place::{Place, Trust};

const PATIENCE: Duration = Duration::from_secs(60);
const IDENTITY: &str = "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee";
const MIB: u64 = 1 << 20;

/// A member as the controller sees it.
pub(crate) struct Member {
    pub(crate) place: Place,
    link: Link,
    leads: Arc<AtomicBool>,
    _tls: watch::Sender<ClientTls>,
    events: mpsc::Receiver<Event>,
    pub(crate) report: Option<Report>,
    pub(crate) server: Server,
}

pub(crate) fn record(epoch: u64, revision: u64, primary: &Member, wait_for: u16) -> Record {
    Record {
        acknowledged_by: wait_for,
        wait_for,
        ..Record::of(
            IDENTITY.parse().unwrap(),
            Term::new(epoch, revision),
            primary.place.member.clone(),
        )
    }
}

pub(crate) fn identity() -> Uuid {
    IDENTITY.parse().unwrap()
}

impl Member {
    /// Its agent runs.
    pub(crate) fn new(test: &str, number: u32, trust: &Trust) -> Self {
        let mut place = Place::new(test, number, trust);
        place.start();
        Self::at_place(place, number, trust)
    }

    /// Its binary logs are encrypted.
    fn encrypted(test: &str, number: u32, trust: &Trust) -> Self {
        let mut place = Place::new(test, number, trust);
        place.add_keyring();
        place.start();
        let mut member = Self::at_place(place, number, trust);
        let parameter = ("binlog_encryption".to_owned(), "ON".to_owned());
        member.server.parameters.extend([parameter]);
        member
    }

    fn at_place(place: Place, number: u32, trust: &Trust) -> Self {
        let (certificate, key) = &trust.client;
        let tls = ClientTls::new(&trust.authority_pem(), certificate, key, &place.member).unwrap();
        let (_tls, tls) = watch::channel(tls);
        let (sender, events) = mpsc::channel(256);
        let address = ([127, 0, 0, 1], place.agent_port).into();
        let leads = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&leads);
        let does_lead = Arc::new(move || asked.load(Ordering::Relaxed));
        let link = Link::open(place.member.clone(), address, tls, does_lead, sender);
        let server = Server {
            server_id: number + 1,
            memory_bytes: 512 * MIB,
            is_tls_required: true,
            parameters: BTreeMap::new(),
            may_restart: false,
        };
        Self {
            place,
            link,
            leads,
            _tls,
            events,
            report: None,
            server,
        }
    }

    /// The controller goes on talking, and says that it does not lead.
    pub(crate) fn lose_the_lead(&self) {
        self.leads.store(false, Ordering::Relaxed);
    }

    pub(crate) fn at(&self) -> At {
        At {
            member: self.place.member.clone(),
            host: "127.0.0.1".into(),
            port: self.place.replication_port,
        }
    }

    pub(crate) fn assignment(&self, record: Option<&Record>, role: Role) -> Assignment {
        Assignment {
            member: self.place.member.clone(),
            record: record.cloned(),
            role,
            server: self.server.clone(),
        }
    }

    async fn next(&mut self, until: Instant, what: &str) -> What {
        let left = until.saturating_duration_since(Instant::now());
        let next = tokio::time::timeout(left, self.events.recv()).await;
        let Ok(Some(event)) = next else {
            panic!(
                "{}: waited for {what} in vain; {:#?}",
                self.place.member, self.report
            );
        };
        if let What::Report { report, .. } = &event.what {
            self.report = Some((**report).clone());
        }
        event.what
    }

    /// Assigned, and promised.
    pub(crate) async fn assign(&mut self, record: Option<&Record>, role: Role) {
        let assignment = self.assignment(record, role);
        if let Err(why) = self.order(assignment).await {
            panic!("{}: refused: {why}", self.place.member);
        }
    }

    pub(crate) async fn order(&mut self, assignment: Assignment) -> Result<(), String> {
        let term = assignment.term();
        let until = Instant::now() + PATIENCE;
        self.link.assign(Box::new(assignment.clone()));
        loop {
            match self.next(until, "an answer").await {
                What::Promised { term: promised } if promised == term => return Ok(()),
                What::Refused {
                    term: refused, why, ..
                } if refused == term => return Err(why),
                // Said before the connection was there, or lost with it.
                What::Connected { .. } => self.link.assign(Box::new(assignment.clone())),
                _ => {}
            }
        }
    }

    /// Until a report that fits.
    pub(crate) async fn until(&mut self, what: &str, mut fits: impl FnMut(&Report) -> bool) -> Report {
        let until = Instant::now() + PATIENCE;
        loop {
            if let What::Report { report, .. } = self.next(until, what).await
                && fits(&report)
            {
                return *report;
            }
        }
    }

    pub(crate) async fn until_a_commit_waits(&mut self) -> Report {
        let waits = |report: &Report| report.server.as_ref().is_some_and(|server| server.has_waiters);
        self.until("a waiter", waits).await
    }

    /// As of now: what was reported before the call says nothing.
    pub(crate) async fn settled(&mut self) -> Report {
        while self.events.try_recv().is_ok() {}
        let role = |report: &Report| {
            report
                .assignment
                .as_ref()
                .map(|assignment| assignment.role.name())
        };
        let report = self.until("being settled", |report| report.is_settled).await;
        println!("{}: settled as {:?}", self.place.member, role(&report));
        report
    }

    pub(crate) fn seen(&self) -> &ServerSeen {
        self.report.as_ref().unwrap().server.as_ref().unwrap()
    }
}

/// Three members, the first an open primary that waits for one, the others its replicas.
pub(crate) struct Cluster {
    pub(crate) trust: Trust,
    pub(crate) members: Vec<Member>,
    pub(crate) record: Record,
}

impl Cluster {
    pub(crate) async fn new(test: &str, count: u32) -> Self {
        Self::of(test, count, Member::new).await
    }

    pub(crate) async fn encrypted(test: &str, count: u32) -> Self {
        Self::of(test, count, Member::encrypted).await
    }

    async fn of(test: &str, count: u32, member: fn(&str, u32, &Trust) -> Member) -> Self {
        let began = Instant::now();
        let trust = Trust::new();
        let mut members: Vec<Member> = (0..count).map(|number| member(test, number, &trust)).collect();
        for member in &mut members {
            member.assign(None, Role::Hold).await;
        }
        for member in &mut members {
            let report = member.settled().await;
            assert!(report.server.unwrap().executed.is_empty());
        }
        println!("initialised and started after {:?}", began.elapsed());
        let record = record(0, 1, &members[0], u16::from(count > 1));
        members[0].assign(Some(&record), Role::Found).await;
        let source = members[0].at();
        for member in &mut members[1..] {
            let source = source.clone();
            member.assign(Some(&record), Role::Replica { source }).await;
        }
        members[0]
            .until("being founded", |report| report.is_founded)
            .await;
        println!("founded after {:?}", began.elapsed());
        for member in &mut members[1..] {
            member.settled().await;
        }
        println!("followed after {:?}", began.elapsed());
        let mut cluster = Self {
            trust,
            members,
            record,
        };
        cluster.record = cluster.record.next_epoch();
        cluster.assign_all().await;
        println!("open after {:?}", began.elapsed());
        cluster
    }

    /// As the record says, until everybody is settled.
    pub(crate) async fn assign_all(&mut self) {
        let wait_for = self.record.wait_for;
        let source = self.members[0].at();
        let record = self.record.clone();
        self.members[0]
            .assign(Some(&record), Role::Primary { wait_for })
            .await;
        for member in &mut self.members[1..] {
            let source = source.clone();
            member.assign(Some(&record), Role::Replica { source }).await;
        }
        for member in &mut self.members {
            member.settled().await;
        }
    }
}
