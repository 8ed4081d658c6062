//! Stories of the network's faults, each seen from outside to begin and to end.
//! Must not look at the rules that make them: only at packets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail};
use ground::faults::net::Direction;
use ground::faults::{Fault, NetFault};
use ground::ground::Ground;
use ground::probe::Place;
use ground::spec::Unit;

use super::platform::TRIO;
use crate::stage::{Stage, claim, wait_until};

const SOON: Duration = Duration::from_secs(2);
const PROBE_PORT: u16 = 7777;

/// A server's pod with what a probe needs to know of it.
struct Member {
    unit: Unit,
    address: SocketAddr,
    place: Place,
}

fn members(stage: &Stage) -> Result<Vec<Member>> {
    TRIO.ready(stage)?;
    let ground = stage.ground()?;
    (0..TRIO.replicas)
        .map(|index| {
            let (node, address) = TRIO.place(stage, index)?;
            let place = Place::pod(ground, TRIO.namespace, &TRIO.pod(index))?;
            Ok(Member {
                unit: Unit::parse(&node)?,
                address,
                place,
            })
        })
        .collect()
}

/// Waits a little for a greeting that should come: a busy machine is not a broken network.
pub(super) fn greets(place: &Place, by: SocketAddr, sentence: &str) -> Result<()> {
    wait_until(sentence, SOON * 5, || place.is_greeted(by, SOON)).map(drop)
}

fn cut(unit: Unit, from: &[String], direction: Direction) -> Fault {
    Fault::Net(NetFault::Cut {
        unit: unit.name(),
        from: from.to_vec(),
        direction,
    })
}

/// What a node's condition Ready says.
pub(super) fn node_ready(stage: &Stage, unit: Unit) -> Result<bool> {
    let node = stage.get(&format!("node {}", unit.name()))?;
    let conditions = node["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(conditions
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True"))
}

pub(super) fn wait_node(stage: &Stage, unit: Unit, ready: bool) -> Result<Duration> {
    let what = format!("{} is {}Ready", unit.name(), if ready { "" } else { "not " });
    wait_until(&what, Duration::from_secs(90), || {
        Ok(node_ready(stage, unit)? == ready)
    })
}

fn probe_address(ground: &Ground, unit: Unit) -> SocketAddr {
    SocketAddr::new(ground.spec().unit_address(unit).into(), PROBE_PORT)
}

pub(super) fn cut_from_all(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    let trio = members(stage)?;
    let client = Place::unit(ground, Unit::Client);
    let (victim, other) = (&trio[0], &trio[1]);
    greets(&client, victim.address, "the server answers before")?;
    let fault = cut(victim.unit, &["all".to_owned()], Direction::Both).inject(ground)?;
    claim(
        !client.is_greeted(victim.address, SOON)?,
        "no client reaches the server",
    )?;
    claim(
        !other.place.is_greeted(victim.address, SOON)?,
        "no other pod reaches the server",
    )?;
    claim(
        !victim.place.is_greeted(other.address, SOON)?,
        "the server reaches no other pod",
    )?;
    greets(&client, other.address, "the other servers still answer")?;
    let noticed = wait_node(stage, victim.unit, false)?;
    fault.heal()?;
    wait_until("the server answers again", SOON * 5, || {
        client.is_greeted(victim.address, SOON)
    })?;
    let back = wait_node(stage, victim.unit, true)?;
    TRIO.wait_ready(stage)?;
    Ok(format!(
        "unreachable at once, NotReady after {:.0} s, Ready {:.0} s after healing",
        noticed.as_secs_f64(),
        back.as_secs_f64()
    ))
}

/// Who is named does not reach the port, everybody else does, and the node's other ports are there.
pub(super) fn port_cut(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    let trio = members(stage)?;
    let client = Place::unit(ground, Unit::Client);
    let (victim, other) = (&trio[0], &trio[1]);
    greets(&client, victim.address, "the server answers before")?;
    let fault = Fault::Net(NetFault::Port {
        unit: victim.unit.name(),
        port: victim.address.port(),
        from: vec!["client".to_owned()],
        direction: Direction::Both,
    })
    .inject(ground)?;
    claim(
        !client.is_greeted(victim.address, SOON)?,
        "the client does not reach the port",
    )?;
    greets(&other.place, victim.address, "others do")?;
    greets(&client, other.address, "and the client reaches others")?;
    claim(node_ready(stage, victim.unit)?, "the node is Ready")?;
    fault.heal()?;
    greets(&client, victim.address, "the server answers after")?;
    Ok(format!(
        "port {} of {}",
        victim.address.port(),
        victim.unit.name()
    ))
}

pub(super) fn cut_from_api(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    let trio = members(stage)?;
    let client = Place::unit(ground, Unit::Client);
    let api = SocketAddr::new(ground.spec().api().into(), 6443);
    let victim = &trio[0];
    let (node, elsewhere) = (
        Place::unit(ground, victim.unit),
        Place::unit(ground, trio[1].unit),
    );
    claim(
        node.connects(api, SOON)?,
        "the node reaches the API server before",
    )?;
    let fault = cut(victim.unit, &["api".to_owned()], Direction::Both).inject(ground)?;
    claim(
        !node.connects(api, SOON)?,
        "the node does not reach the API server",
    )?;
    claim(!victim.place.connects(api, SOON)?, "nor do its pods")?;
    claim(elsewhere.connects(api, SOON)?, "other nodes do")?;
    greets(&client, victim.address, "clients still reach the server on it")?;
    greets(&trio[1].place, victim.address, "and so do other pods")?;
    fault.heal()?;
    wait_until("the node reaches the API server again", SOON * 5, || {
        node.connects(api, SOON)
    })?;
    wait_node(stage, victim.unit, true)?;
    Ok("API server unreachable from it alone, while its server answers everybody".to_owned())
}

pub(super) fn cut_from_node(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    let trio = members(stage)?;
    let (victim, enemy, friend) = (&trio[0], &trio[1], &trio[2]);
    let fault = cut(victim.unit, &[enemy.unit.name()], Direction::Both).inject(ground)?;
    claim(
        !victim.place.is_greeted(enemy.address, SOON)?,
        "it does not reach the named node's pod",
    )?;
    claim(
        !enemy.place.is_greeted(victim.address, SOON)?,
        "nor the other way round",
    )?;
    greets(&victim.place, friend.address, "it reaches the third")?;
    greets(&enemy.place, friend.address, "and so does the named one")?;
    let api = SocketAddr::new(ground.spec().api().into(), 6443);
    claim(
        Place::unit(ground, victim.unit).connects(api, SOON)?,
        "it reaches the API server",
    )?;
    fault.heal()?;
    wait_until("both reach each other again", SOON * 5, || {
        Ok(victim.place.is_greeted(enemy.address, SOON)? && enemy.place.is_greeted(victim.address, SOON)?)
    })?;
    Ok(format!(
        "{} and {} apart, everything else together",
        victim.unit.name(),
        enemy.unit.name()
    ))
}

pub(super) fn cut_one_way(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    let (one, two) = (Unit::Node(1), Unit::Node(2));
    let (at_one, at_two) = (Place::unit(ground, one), Place::unit(ground, two));
    let forth = || at_one.datagrams_arriving(&at_two, probe_address(ground, two), 50);
    let back = || at_two.datagrams_arriving(&at_one, probe_address(ground, one), 50);
    claim(forth()? == 50 && back()? == 50, "all datagrams arrive before")?;
    for (direction, goes_forth, comes_back) in [(Direction::In, 50, 0), (Direction::Out, 0, 50)] {
        let fault = cut(one, &[two.name()], direction).inject(ground)?;
        let (there, here) = (forth()?, back()?);
        claim(
            there == goes_forth,
            format!("{direction:?}: {there} of 50 go from node1 to node2"),
        )?;
        claim(
            here == comes_back,
            format!("{direction:?}: {here} of 50 come from node2 to node1"),
        )?;
        fault.heal()?;
    }
    claim(forth()? == 50 && back()? == 50, "all datagrams arrive again")?;
    Ok("in: 50 of 50 leave, 0 arrive; out: 0 leave, 50 arrive".to_owned())
}

pub(super) fn loss(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    let (one, two) = (Unit::Node(1), Unit::Node(2));
    let (at_one, at_two) = (Place::unit(ground, one), Place::unit(ground, two));
    let arriving = || at_two.datagrams_arriving(&at_one, probe_address(ground, one), 1000);
    claim(arriving()? == 1000, "all datagrams arrive before")?;
    let fault = Fault::Net(NetFault::Loss {
        unit: one.name(),
        percent: 30,
    })
    .inject(ground)?;
    let seen = arriving()?;
    // Six standard deviations around 700 of 1000: chance alone fails once in a billion runs.
    claim(
        (613..=787).contains(&seen),
        format!("about 700 of 1000 arrive: {seen}"),
    )?;
    fault.heal()?;
    claim(arriving()? == 1000, "all datagrams arrive again")?;
    Ok(format!("{seen} of 1000 datagrams arrive with 30 % loss"))
}

pub(super) fn slow(stage: &Stage) -> Result<String> {
    const BYTES: usize = 500_000;
    let ground = stage.ground()?;
    let (one, two) = (Unit::Node(1), Unit::Node(2));
    let (at_one, at_two) = (Place::unit(ground, one), Place::unit(ground, two));
    let send = || {
        at_one.transfer(
            &at_two,
            probe_address(ground, two),
            BYTES,
            Duration::from_secs(60),
        )
    };
    let before = send()?;
    let fault = Fault::Net(NetFault::Slow {
        unit: one.name(),
        kbit_per_second: 2_000,
        queue_ms: 500,
    })
    .inject(ground)?;
    let during = send()?;
    fault.heal()?;
    let after = send()?;
    // 4 Mbit at 2 Mbit/s: whatever the machine does, it cannot be quicker by much than two seconds.
    claim(
        during > Duration::from_millis(1_700),
        format!("the rate holds: {during:?}"),
    )?;
    claim(
        before < during && after < during,
        format!("it is quicker without: {before:?}, {after:?}"),
    )?;
    Ok(format!(
        "{} kB in {} ms, at 2 Mbit/s in {} ms, healed in {} ms",
        BYTES / 1000,
        before.as_millis(),
        during.as_millis(),
        after.as_millis()
    ))
}

pub(super) fn delay(stage: &Stage) -> Result<String> {
    const DELAY: Duration = Duration::from_millis(300);
    let ground = stage.ground()?;
    let (one, two) = (Unit::Node(1), Unit::Node(2));
    let (at_one, at_two) = (Place::unit(ground, one), Place::unit(ground, two));
    let trip = || at_one.round_trip(&at_two, probe_address(ground, two), SOON * 5);
    wait_until("a round trip is quick before", SOON * 5, || Ok(trip()? < DELAY))?;
    let fault = Fault::Net(NetFault::Delay {
        unit: one.name(),
        delay_ms: 300,
    })
    .inject(ground)?;
    let during = trip()?;
    claim(during >= DELAY, format!("what leaves waits 300 ms: {during:?}"))?;
    let arrived = at_one.datagrams_arriving(&at_two, probe_address(ground, two), 200)?;
    claim(arrived == 200, format!("nothing is lost: {arrived} of 200"))?;
    fault.heal()?;
    wait_until("a round trip is quick again", SOON * 5, || Ok(trip()? < DELAY))?;
    Ok(format!(
        "a round trip of {} ms with 300 ms of delay one way, none lost",
        during.as_millis()
    ))
}

pub(super) fn pod_port_cut(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    let trio = members(stage)?;
    let client = Place::unit(ground, Unit::Client);
    let [victim, enemy, friend] = trio.as_slice() else {
        bail!("there are {} servers", trio.len());
    };
    let IpAddr::V4(from) = enemy.address.ip() else {
        bail!("{} is of another family", enemy.address);
    };
    let (namespace, name) = (TRIO.namespace, TRIO.pod(0));
    let port = victim.address.port();
    let fault = Fault::port(ground, namespace, &name, port, vec![from])?.inject(ground)?;
    claim(
        !enemy.place.is_greeted(victim.address, SOON)?,
        "the named pod does not reach the port",
    )?;
    claim(
        !victim.place.is_greeted(enemy.address, SOON)?,
        "nor is its own reached from there",
    )?;
    greets(&friend.place, victim.address, "another pod reaches it")?;
    fault.heal()?;
    greets(&enemy.place, victim.address, "the named pod reaches it again")?;
    let fault = Fault::port(ground, namespace, &name, port, Vec::new())?.inject(ground)?;
    for place in [&client, &friend.place] {
        claim(
            !place.is_greeted(victim.address, SOON)?,
            "nobody reaches the port",
        )?;
    }
    let api = SocketAddr::new(ground.spec().api().into(), 6443);
    claim(victim.place.connects(api, SOON)?, "everything else goes on")?;
    fault.heal()?;
    greets(&client, victim.address, "everybody reaches it again")?;
    Ok(format!(
        "port {port} cut from one pod, then from all, other ports never"
    ))
}
