//! Owns the proof of files that change beside the agent, of probes, and of what the agent costs.
//! It must not restart anything for a new certificate or password.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use topology::assignment::Role;
use topology::report::TroubleKind;

use crate::block_on;
use crate::client::code;
use crate::controller::{Cluster, record};
use crate::place::{Place, put};

/// The agent looks every ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const RESIDENT_LIMIT_KIB: u64 = 15 << 10;

fn get(place: &Place, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", place.http_port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, body.to_owned())
}

#[test]
fn probes_tell_who_may_be_asked() {
    block_on(async {
        let trust = crate::place::Trust::new();
        let mut member = crate::controller::Member::new("probe", 0, &trust);
        member.until("a report", |_| true).await;
        assert_eq!(get(&member.place, "/livez").0, 200);
        let (status, why) = get(&member.place, "/readyz");
        assert_eq!((status, why.trim()), (503, "mysqld does not answer"));
        drop(member);
        let mut cluster = Cluster::new("ready", 2).await;
        for member in &mut cluster.members {
            member.settled().await;
            let began = Instant::now();
            while get(&member.place, "/readyz").0 != 200 {
                assert!(began.elapsed() < PATIENCE, "{:?}", get(&member.place, "/readyz"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let (status, text) = get(&cluster.members[0].place, "/metrics");
        println!("{text}");
        assert_eq!(status, 200);
        for line in [
            "holdfast_member_open 1",
            "holdfast_semi_sync_replicas 1",
            "holdfast_member_epoch 1",
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert_eq!(get(&cluster.members[0].place, "/").0, 404);
        // A mysqld that is frozen is no reason to kill the agent, and no place for clients.
        let pid = cluster.members[1].place.mysqld_pid().unwrap();
        crate::place::signal("STOP", pid);
        let began = Instant::now();
        while get(&cluster.members[1].place, "/readyz").0 == 200 {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(get(&cluster.members[1].place, "/livez").0, 200);
        crate::place::signal("CONT", pid);
    });
}

#[test]
fn new_passwords_and_certificates_are_taken_as_they_come() {
    block_on(async {
        let mut cluster = Cluster::new("files", 2).await;
        cluster.members[0].settled().await;
        let place = &cluster.members[0].place;
        put(&place.outside.join("app"), "password", "second'\\");
        cluster
            .trust
            .write_server(&place.outside.join("tls"), &place.member);
        let began = Instant::now();
        while code(&place.app("second'\\").await) != 0 {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("a new password is good after {:?}", began.elapsed());
        assert_eq!(
            code(&place.app("first").await),
            0,
            "the old one stays good for a while"
        );
        while !place.log().contains("mysqld has taken new certificates") {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let report = cluster.members[0].settled().await;
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        put(&cluster.members[0].place.outside.join("app"), "password", "third");
        let began = Instant::now();
        while code(&cluster.members[0].place.app("third").await) != 0 {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_ne!(code(&cluster.members[0].place.app("first").await), 0);
    });
}

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    let numbers: Vec<&str> = rest.split_whitespace().collect();
    numbers[11].parse::<u64>().unwrap() + numbers[12].parse::<u64>().unwrap()
}

fn kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Of a release build only: others are larger.
#[test]
fn the_agent_is_small_and_quiet() {
    block_on(async {
        let mut cluster = Cluster::new("idle", 3).await;
        for member in &mut cluster.members {
            member.settled().await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let pids: Vec<u32> = cluster
            .members
            .iter()
            .map(|member| member.place.agent_pid())
            .collect();
        let before: Vec<u64> = pids.iter().map(|pid| ticks(*pid)).collect();
        let span = Duration::from_secs(30);
        tokio::time::sleep(span).await;
        for (pid, before) in pids.iter().zip(before) {
            // A tick is a hundredth of a second.
            let percent = (ticks(*pid) - before) as f64 / span.as_secs_f64();
            let (resident, anonymous) = (kib(*pid, "VmRSS"), kib(*pid, "RssAnon"));
            println!("agent: {percent:.2} % of a core, {resident} KiB resident, {anonymous} KiB its own");
            assert!(cfg!(debug_assertions) || percent <= 1.0);
            assert!(std::env::var_os("INSTANCE_IS_RELEASE").is_none() || resident <= RESIDENT_LIMIT_KIB);
        }
        for member in &cluster.members {
            let pid = member.place.mysqld_pid().unwrap();
            println!("mysqld: {} KiB resident", kib(pid, "VmRSS"));
        }
    });
}

#[test]
fn a_secret_that_is_no_good_is_told_and_keeps_nothing_else() {
    block_on(async {
        let trust = crate::place::Trust::new();
        let mut member = crate::controller::Member::new("nouser", 0, &trust);
        put(&member.place.outside.join("app"), "username", "root");
        member.assign(None, Role::Hold).await;
        let record = record(0, 1, &member, 0);
        member.assign(Some(&record), Role::Found).await;
        member.settled().await;
        let record = record.next_epoch();
        member.assign(Some(&record), Role::Primary { wait_for: 0 }).await;
        let report = member.settled().await;
        let kind = TroubleKind::AccountsFailed;
        assert!(
            report.troubles.iter().any(|one| one.kind == kind),
            "{:?}",
            report.troubles
        );
        put(&member.place.outside.join("app"), "username", "app");
        let began = Instant::now();
        while code(&member.place.app("first").await) != 0 {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let report = member.settled().await;
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
    });
}
