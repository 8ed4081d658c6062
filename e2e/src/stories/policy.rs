//! Stories of NetworkPolicy: that the ground enforces it, and what a cluster's own one keeps out.
//! Must not look at the rules that enforce it: only at packets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use ground::faults::Fault;
use ground::ground::Ground;
use ground::probe::Place;
use ground::spec::Unit;

use crate::cluster::Cluster;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

/// Longer than the first packet's second try: one that was lost does not count as refused.
const SOON: Duration = Duration::from_secs(2);
/// A rule is in force on all nodes by then, on a busy machine too.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(20);
const OPEN: u16 = 7001;
const OTHER: u16 = 7002;
const HELD: u16 = 7003;
const AGENT: u16 = 9306;
const HTTP: u16 = 9307;
const MYSQL: u16 = 3306;
const REPLICATION: u16 = 33_062;

/// A pod that does nothing: connections come from its network, made by the story.
struct Guest {
    name: &'static str,
    place: Place,
    address: IpAddr,
}

impl Guest {
    /// Makes pods, each with its labels as YAML and its node, and waits until all run.
    fn make(
        stage: &Stage,
        namespace: &str,
        guests: &[(&'static str, &str, Option<Unit>)],
    ) -> Result<Vec<Self>> {
        let image = &stage.images.mysql;
        for (name, labels, unit) in guests {
            let node = unit.map_or_else(String::new, |unit| format!("nodeName: {}, ", unit.name()));
            stage.apply(&format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}\n\
                 spec: {{{node}terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, \
                 securityContext: {{runAsUser: 27, runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}, \
                 containers: [{{name: main, image: '{image}', command: [sleep, infinity], \
                 securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}}}]}}\n"
            ))?;
        }
        let made = guests.iter().map(|(name, ..)| Self::find(stage, namespace, name));
        made.collect()
    }

    fn find(stage: &Stage, namespace: &str, name: &'static str) -> Result<Self> {
        stage
            .k(&format!(
                "wait pod {name} -n {namespace} --for=condition=Ready --timeout=120s"
            ))
            .run()?;
        let pod = stage.get(&format!("pod {name} -n {namespace}"))?;
        let address = pod["status"]["podIP"]
            .as_str()
            .context("the pod has no address")?;
        Ok(Self {
            name,
            place: Place::pod(stage.ground()?, namespace, name)?,
            address: address.parse()?,
        })
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }
}

/// Waits until a connection can be made, or no longer can; gives when the try began that showed it.
fn becomes(from: &Place, to: SocketAddr, is_open: bool, sentence: &str) -> Result<Duration> {
    let took = wait_until(sentence, IN_FORCE_WITHIN, || {
        Ok(from.connects(to, SOON)? == is_open)
    })?;
    Ok(if is_open { took } else { took.saturating_sub(SOON) })
}

fn is_open(from: &Place, to: SocketAddr, sentence: &str) -> Result<()> {
    becomes(from, to, true, sentence).map(drop)
}

fn is_shut(from: &Place, to: SocketAddr, sentence: &str) -> Result<()> {
    claim(!from.connects(to, SOON)?, sentence)
}

/// Namespace of the first story's pods and policies.
const NAMESPACE: &str = "policies";

fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

/// Pods on one node and across nodes, by label and port; what is open stays open; without policies all is.
pub(super) fn enforced(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    let (here, there) = (Unit::Node(1), Unit::Node(2));
    stage.delete_namespace(NAMESPACE)?;
    stage.namespace(NAMESPACE)?;
    let guests = [
        ("db", "{app: db}", Some(here)),
        ("web-near", "{app: web}", Some(here)),
        ("web-far", "{app: web}", Some(there)),
        ("other-near", "{app: other}", Some(here)),
        ("other-far", "{app: other}", Some(there)),
    ];
    let guests = Guest::make(stage, NAMESPACE, &guests)?;
    let (db, others) = guests.split_first().context("no pods")?;
    let _listeners = [db.place.listen(db.at(OPEN))?, db.place.listen(db.at(OTHER))?];
    for guest in others {
        is_open(&guest.place, db.at(OPEN), "every pod reaches the database before")?;
    }
    let stranger = &others[3].place;
    let mut held = stranger.converse(&db.place, db.at(HELD), SOON)?;
    stage.apply(&policy(
        NAMESPACE,
        "shut",
        "{podSelector: {matchLabels: {app: db}}}",
    ))?;
    let shut = becomes(
        stranger,
        db.at(OPEN),
        false,
        "a policy without rules shuts the pod",
    )?;
    for guest in others {
        is_shut(&guest.place, db.at(OPEN), &format!("{} is kept out", guest.name))?;
    }
    claim(held.goes_on(), "an established connection survives")?;
    is_open(
        &Place::unit(ground, here),
        db.at(OPEN),
        "its own node still reaches it",
    )?;
    is_shut(&Place::unit(ground, there), db.at(OPEN), "another node does not")?;
    chosen_ones(stage, db, others)?;
    engine_away(stage, here, db, others)?;
    claim(held.goes_on(), "the established connection is still there")?;
    going_out(stage, db, others)?;
    stage
        .k(&format!("delete networkpolicies --all -n {NAMESPACE}"))
        .run()?;
    let opened = becomes(stranger, db.at(OTHER), true, "without policies all is open again")?;
    stage.delete_namespace(NAMESPACE)?;
    Ok(format!(
        "shut after {} ms, open again after {} ms; by label and port, near and far, in and out",
        shut.as_millis(),
        opened.as_millis()
    ))
}

/// A second policy lets pods with a label in, to one port; a pod's label counts as it is now.
fn chosen_ones(stage: &Stage, db: &Guest, others: &[Guest]) -> Result<()> {
    stage.apply(&policy(
        NAMESPACE,
        "web",
        &format!(
            "{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: \
             {{app: web}}}}}}], ports: [{{port: {OPEN}}}]}}]}}"
        ),
    ))?;
    for guest in &others[..2] {
        let name = guest.name;
        is_open(&guest.place, db.at(OPEN), &format!("{name} is let in"))?;
        is_shut(&guest.place, db.at(OTHER), &format!("{name} at one port only"))?;
    }
    for guest in &others[2..] {
        is_shut(
            &guest.place,
            db.at(OPEN),
            &format!("{} is not let in", guest.name),
        )?;
    }
    let relabel = |label: &str| {
        stage
            .k(&format!("label pod other-far {label} --overwrite -n {NAMESPACE}"))
            .run()
    };
    relabel("app=web")?;
    is_open(&others[3].place, db.at(OPEN), "with the label it is let in")?;
    relabel("app=other")?;
    becomes(&others[3].place, db.at(OPEN), false, "without it no longer").map(drop)
}

/// What the engine made stays in force while it is away, and after it has come back.
fn engine_away(stage: &Stage, unit: Unit, db: &Guest, others: &[Guest]) -> Result<()> {
    let ground: &Ground = stage.ground()?;
    let fault = Fault::ProcessDown {
        unit: unit.name(),
        process: "netpol".to_owned(),
    }
    .inject(ground)?;
    let as_before = |when: &str| -> Result<()> {
        is_shut(
            &others[2].place,
            db.at(OPEN),
            &format!("a stranger is kept out {when}"),
        )?;
        is_open(
            &others[0].place,
            db.at(OPEN),
            &format!("a chosen one is let in {when}"),
        )
    };
    as_before("without the engine")?;
    stage
        .k(&format!("delete networkpolicy web -n {NAMESPACE}"))
        .run()?;
    as_before("by the rules of before")?;
    fault.heal()?;
    becomes(
        &others[0].place,
        db.at(OPEN),
        false,
        "the engine comes back and catches up",
    )
    .map(drop)
}

/// What a pod may connect to; the other pods of its node are as they were.
fn going_out(stage: &Stage, db: &Guest, others: &[Guest]) -> Result<()> {
    stage
        .k(&format!("delete networkpolicy shut -n {NAMESPACE}"))
        .run()?;
    is_open(&others[1].place, db.at(OTHER), "a policy's end opens the pod")?;
    stage.apply(&policy(
        NAMESPACE,
        "out",
        &format!(
            "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{{to: [{{podSelector: \
             {{matchLabels: {{app: db}}}}}}], ports: [{{port: {OPEN}}}]}}]}}"
        ),
    ))?;
    for guest in &others[..2] {
        let name = guest.name;
        becomes(
            &guest.place,
            db.at(OTHER),
            false,
            &format!("{name} reaches no other port"),
        )?;
        is_open(
            &guest.place,
            db.at(OPEN),
            &format!("{name} reaches the port it may"),
        )?;
    }
    is_open(
        &others[2].place,
        db.at(OTHER),
        "pods that no policy selects go where they like",
    )
}

/// Nobody but the operator reaches agents, everybody MySQL, pods the metrics; the cluster lives on behind it.
pub(super) fn of_a_cluster(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let ground = stage.ground()?;
    let cluster = Cluster {
        namespace: "walled",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let outside = "walled-off";
    stage.delete_namespace(outside)?;
    stage.namespace(outside)?;
    // By its labels the operator's; its namespace is not.
    let guests = [
        ("app", "{app: shop}", None),
        ("impostor", "{app.kubernetes.io/name: holdfast}", None),
    ];
    let guests = Guest::make(stage, outside, &guests)?;
    let member = cluster.replica(stage)?;
    let at =
        |port| -> Result<SocketAddr> { Ok(SocketAddr::new(cluster.address(stage, &member)?.parse()?, port)) };
    let node = Place::unit(ground, Unit::parse(&cluster.node(stage, &member)?)?);
    let client = Place::unit(ground, Unit::Client);
    let peer = Place::pod(ground, cluster.namespace, &cluster.primary(stage)?)?;
    for guest in &guests {
        let (place, name) = (&guest.place, guest.name);
        is_open(place, at(MYSQL)?, &format!("{name} reaches MySQL"))?;
        is_open(place, at(HTTP)?, &format!("{name} reads metrics"))?;
        is_shut(place, at(AGENT)?, &format!("{name} does not reach the agent"))?;
        is_shut(
            place,
            at(REPLICATION)?,
            &format!("nor does {name} the port of members"),
        )?;
    }
    is_open(&client, at(MYSQL)?, "MySQL is reached from outside all pods")?;
    is_shut(&client, at(HTTP)?, "metrics are not")?;
    is_shut(&client, at(AGENT)?, "nor are agents")?;
    is_shut(&client, at(REPLICATION)?, "nor is the port of members")?;
    is_open(&peer, at(REPLICATION)?, "which members reach")?;
    is_shut(&peer, at(AGENT)?, "members do not reach each other's agents")?;
    is_open(&node, at(HTTP)?, "the node's probes reach a member")?;
    for controller in operator::pods(stage)? {
        let place = Place::pod(ground, operator::NAMESPACE, &controller)?;
        is_open(&place, at(AGENT)?, "the operator's pods reach agents")?;
        is_shut(&place, at(MYSQL)?, "and have no business with MySQL")?;
    }
    only_by_policy(stage, &cluster, &guests[0].place, at(AGENT)?)?;
    let told = lives_on(stage, &cluster, &guests[0].place, at(AGENT)?)?;
    stage.delete_namespace(outside)?;
    cluster.remove(stage)?;
    Ok(told)
}

/// It is the policy that keeps strangers out: one that adds to it lets them in.
/// What an agent says to who shows no certificate is proven by the tests of `agent-api`.
fn only_by_policy(stage: &Stage, cluster: &Cluster<'_>, stranger: &Place, agent: SocketAddr) -> Result<()> {
    let namespace = cluster.namespace;
    let spec = format!("{{podSelector: {{}}, ingress: [{{ports: [{{port: {AGENT}}}]}}]}}");
    stage.apply(&policy(namespace, "hole", &spec))?;
    is_open(stranger, agent, "with a hole in the wall the agent is reached")?;
    stage
        .k(&format!("delete networkpolicy hole -n {namespace}"))
        .run()?;
    becomes(stranger, agent, false, "without the hole no longer").map(drop)
}

/// The policy is made anew at once where somebody looks, and by new controllers where nobody did; a new Pod
/// takes part.
fn lives_on(stage: &Stage, cluster: &Cluster<'_>, stranger: &Place, agent: SocketAddr) -> Result<String> {
    let before = cluster.epoch(stage)?;
    let primary = cluster.primary(stage)?;
    let (name, namespace) = (cluster.name, cluster.namespace);
    let wall = format!("networkpolicy {name} -n {namespace}");
    let first = stage.get(&wall)?["metadata"]["uid"].clone();
    stage.k(&format!("delete {wall}")).run()?;
    wait_until("another wall", IN_FORCE_WITHIN, || {
        let list = stage.get(&format!("networkpolicies -n {namespace}"))?;
        let mut walls = list["items"].as_array().into_iter().flatten();
        Ok(walls.any(|wall| wall["metadata"]["name"] == name && wall["metadata"]["uid"] != first))
    })?;
    operator::scaled(stage, 0)?;
    stage.k(&format!("delete {wall}")).run()?;
    is_open(stranger, agent, "without the wall the agent is reached")?;
    operator::scaled(stage, 2)?;
    becomes(stranger, agent, false, "the operator has made the wall anew")?;
    stage.k(&format!("delete pod {primary} -n {namespace}")).run()?;
    let risen = |object: &serde_json::Value| object["status"]["primary"]["epoch"].as_u64() > Some(before);
    cluster.wait(stage, "another primary, by new controllers", risen)?;
    cluster.wait_healthy(stage)?;
    let fresh = SocketAddr::new(cluster.address(stage, &primary)?.parse()?, AGENT);
    is_shut(stranger, fresh, "strangers are kept out of the new Pod too")?;
    cluster.query(
        stage,
        "primary",
        "CREATE TABLE walls (id INT PRIMARY KEY); INSERT INTO walls VALUES (1)",
    )?;
    wait_until("the row on the replicas", Duration::from_secs(20), || {
        Ok(cluster.query(stage, "replicas", "SELECT id FROM walls")? == "1")
    })?;
    Ok(format!(
        "9306 for the operator alone, 33062 for members, 3306 for all, 9307 for pods; epoch {before} to {} by new controllers",
        cluster.epoch(stage)?
    ))
}
