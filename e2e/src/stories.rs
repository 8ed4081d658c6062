//! The list of stories, each with what it needs.
//! Must not tell any of them: they are below.

mod acks;
mod api;
mod birth;
mod care;
mod checker;
mod disks;
mod endurance;
mod grounds;
mod harms;
mod network;
mod nodes;
mod platform;
mod policy;
mod room;
mod rows_by_hand;
mod rows_data;
mod rows_five;
mod rows_late;
mod rows_members;
mod rows_network;
mod rows_often;
mod rows_operator;
mod rows_power;
mod rows_volumes;
mod rows_work;
mod rows_writes;
pub mod scrutiny;
mod switchover;
mod trust;
mod volumes;
mod wrong;

use anyhow::Result;

use crate::stage::Stage;

/// A claim and the proof of it.
pub struct Story {
    /// The claim, as a name.
    pub name: &'static str,
    /// Whether it breaks or restarts nodes, which only a proving ground allows.
    pub needs_nodes: bool,
    /// Whether it takes minutes, and is left out where time is short.
    pub is_long: bool,
    /// Tells it; what it returns is the evidence, in a line.
    pub tell: fn(&Stage) -> Result<String>,
}

const fn anywhere(name: &'static str, tell: fn(&Stage) -> Result<String>) -> Story {
    Story {
        name,
        needs_nodes: false,
        is_long: false,
        tell,
    }
}

const fn on_ground(name: &'static str, tell: fn(&Stage) -> Result<String>) -> Story {
    Story {
        name,
        needs_nodes: true,
        is_long: false,
        tell,
    }
}

const fn long(name: &'static str, tell: fn(&Stage) -> Result<String>) -> Story {
    Story {
        is_long: true,
        ..on_ground(name, tell)
    }
}

/// Every story, in the order in which they are told.
pub const ALL: &[Story] = &[
    anywhere("nodes are Ready", platform::nodes_ready),
    anywhere(
        "three MySQL servers reach Ready under restricted Pod Security",
        platform::three_servers,
    ),
    anywhere("Service and DNS reach every server", platform::service_and_dns),
    anywhere(
        "the operator's image runs as an unprivileged static program",
        platform::operator_image,
    ),
    anywhere(
        "the checker runs in a pod and finds a healthy server clean",
        checker::in_a_pod,
    ),
    on_ground("a node cut from everything, and back", network::cut_from_all),
    on_ground("a node cut from the API server only", network::cut_from_api),
    on_ground("a node cut from a named node only", network::cut_from_node),
    on_ground("a node cut in one direction", network::cut_one_way),
    long("a port of a node cut from a named unit only", network::port_cut),
    on_ground("packets of a node lost by chance", network::loss),
    on_ground("packets of a node delayed", network::delay),
    on_ground("packets of a node held to a rate", network::slow),
    on_ground("a port of a pod cut, from one or from all", network::pod_port_cut),
    on_ground(
        "a NetworkPolicy cuts pods off and lets chosen ones in",
        policy::enforced,
    ),
    on_ground(
        "a node loses power and starts again with its disk",
        nodes::power_cut,
    ),
    on_ground(
        "the API server stops and starts, and Services go on",
        nodes::api_down,
    ),
    on_ground("a process of a pod killed", nodes::killed),
    on_ground("a process of a pod stopped and continued", nodes::paused),
    on_ground("a volume filled to the last byte", disks::full),
    on_ground("a volume turned read-only", disks::read_only),
    on_ground("a volume frozen", disks::frozen),
    on_ground("a volume throttled", disks::slow),
    on_ground("a volume that lost what was not synced", disks::power_lost),
    on_ground(
        "volumes have a size, grow, and survive pod and node",
        volumes::life,
    ),
    on_ground(
        "a volume whose file is gone is not handed out empty",
        volumes::missing_file,
    ),
    on_ground(
        "the checker finds what a server without flushing loses",
        checker::unflushed_is_caught,
    ),
    on_ground(
        "the checker finds nothing lost when a flushing server is killed",
        checker::flushed_is_clean,
    ),
    on_ground(
        "a power cut loses what was only written, not what was synced",
        checker::power_cut,
    ),
    long(
        "source and replica lose power: what was acknowledged is in the relay log, if it is synced",
        acks::both_lose_power,
    ),
    on_ground("every rule of the API on the real server", api::rules),
    on_ground("explain, diff, wait, columns, two managers", api::tools),
    on_ground("hostile objects are refused with words", api::hostile),
    on_ground(
        "a cluster from one manifest: first write, Ready, both Services",
        birth::from_one_manifest,
    ),
    on_ground(
        "a cluster comes up while controllers are killed",
        birth::controller_killed,
    ),
    on_ground(
        "a node lost while a cluster is born, before there is a record",
        birth::node_lost_before_the_record,
    ),
    on_ground(
        "the founder's node lost while a cluster is born",
        birth::node_lost_after_found,
    ),
    long(
        "a cluster comes up after the API server was away in the middle of it",
        birth::api_down,
    ),
    on_ground("two clusters of one name in two namespaces", birth::two_of_a_name),
    on_ground(
        "agents are reached by the operator alone, MySQL by applications",
        policy::of_a_cluster,
    ),
    on_ground("mysqld killed under load loses nothing", endurance::mysqld_killed),
    on_ground(
        "the agent killed under load loses nothing",
        endurance::agent_killed,
    ),
    on_ground("Pods deleted under load lose nothing", endurance::pods_deleted),
    on_ground(
        "the primary's node lost under load loses nothing",
        endurance::node_lost,
    ),
    on_ground(
        "the primary's volume hung under load loses nothing",
        harms::volume_hung,
    ),
    on_ground(
        "the primary's node cut off under load loses nothing, and it closes itself",
        harms::cut_off,
    ),
    long(
        "the primary's mysqld frozen under load loses nothing",
        harms::frozen,
    ),
    long(
        "a single member's mysqld frozen for good is started again",
        harms::frozen_alone,
    ),
    long(
        "the primary killed while it sends 300 MB loses nothing",
        harms::killed_while_sending,
    ),
    on_ground("writes go on without an API server", endurance::api_down),
    on_ground("scaled 1, 3, 1, 3 under load, nothing lost", endurance::scaled),
    long(
        "scaled 3, 5, 3 under load, nothing lost",
        endurance::scaled_to_five,
    ),
    on_ground(
        "a replica that lags is named, and by how much",
        endurance::lagging,
    ),
    on_ground(
        "scaled while controllers are killed, nothing lost",
        endurance::controllers_killed_while_scaling,
    ),
    on_ground(
        "a replica whose volume is lost is made anew",
        endurance::volume_lost,
    ),
    on_ground(
        "a full volume of a replica: named, and a larger size cures it",
        room::replica_full,
    ),
    on_ground(
        "a full volume of the primary: another takes over, and a larger size cures it",
        room::primary_full,
    ),
    long(
        "all volumes full of tables: named, and a larger size cures it",
        room::all_full,
    ),
    on_ground(
        "a switchover asked for: rehearsed, done, refused with words",
        switchover::asked,
    ),
    on_ground(
        "a failover held back waits for a word, and loses nothing",
        switchover::held_back,
    ),
    on_ground("safety settings changed by hand come back", care::drift),
    on_ground(
        "parameters online, by restarts, and refused ones",
        care::parameters,
    ),
    on_ground(
        "a single member restarts for a parameter, and its Pod is made anew",
        care::alone,
    ),
    on_ground("a cluster's volumes grow without a restart", care::volumes_grow),
    on_ground("a suspended cluster is left alone", care::suspended),
    on_ground(
        "a deleted cluster comes back with its data",
        care::deleted_and_back,
    ),
    on_ground(
        "status names what keeps Pods from running",
        wrong::pods_that_cannot_run,
    ),
    on_ground(
        "status quotes mysqld when it refuses to start",
        wrong::mysqld_refuses,
    ),
    on_ground("status says that commits wait for replicas", wrong::replicas_gone),
    on_ground("status says who is missing for a quorum", wrong::quorum_lost),
    long(
        "the primary cut from the operator alone keeps its role and takes writes",
        rows_writes::cut_from_the_operator,
    ),
    long(
        "primary and sole acknowledger without power: nobody takes over, and the primary's return is enough",
        rows_power::both_without_power,
    ),
    long(
        "the primary's Pod deleted while commits wait: none of them is acknowledged",
        rows_writes::deleted_while_commits_wait,
    ),
    long(
        "writes that nobody else has: read by nobody, archived and removed when another leads",
        rows_writes::nobody_else_has,
    ),
    long(
        "two failovers in a row, and the first primary is asked to lead again",
        rows_writes::two_in_a_row,
    ),
    long(
        "power and all that was not synced lost on two members, nothing acknowledged missing",
        rows_power::unsynced_lost,
    ),
    long(
        "a replica restarted before it applied what it acknowledged takes over with all of it",
        rows_power::restarted_unapplied,
    ),
    long(
        "a replica that is made anew is not counted when the primary dies",
        rows_power::made_anew_as_the_primary_dies,
    ),
    long(
        "a replica restarted while the next primary is chosen acknowledges nothing",
        rows_operator::replica_restarts_during_the_choice,
    ),
    long(
        "operators killed after every step of a failover, then two that lead at once",
        rows_operator::killed_at_every_step,
    ),
    long(
        "the operator stopped for a minute in the middle of a failover",
        rows_operator::stopped_for_a_minute,
    ),
    long(
        "an operator that sees no member, or no API server, harms nothing",
        rows_members::operator_blind,
    ),
    long(
        "acknowledgements lost on their way, and a chosen primary that nobody can follow",
        rows_members::acknowledgements_lost,
    ),
    long(
        "replicas that do not reach the primary: no write is acknowledged until another leads",
        rows_network::cut_from_replicas,
    ),
    long(
        "nobody reaches anybody else: nothing is acknowledged until somebody does",
        rows_network::cut_from_everybody,
    ),
    long(
        "replicas that do not hear the primary, first one, then both: another takes over",
        rows_network::cut_one_way,
    ),
    long(
        "primaries that die ten times within minutes: later failovers wait, nothing lost",
        rows_often::ten_deaths,
    ),
    long(
        "a client that stays with a cut off or suspended primary is never told ok",
        rows_members::pinned,
    ),
    long(
        "a schema change as the primary dies, and as the next one dies: undone or whole",
        rows_work::schema_change,
    ),
    long(
        "a long transaction in the way of a switchover: taken back, and done later",
        rows_work::long_transaction,
    ),
    long(
        "the primary dies in the middle of a rolling change, nothing lost and every Pod current",
        rows_work::dies_while_rolling,
    ),
    long(
        "two histories of one epoch: nobody takes over until a person names one",
        rows_by_hand::histories_differ,
    ),
    long(
        "primary and sole acknowledger gone: a person names who is left, and gives up no more than that one lacks",
        rows_by_hand::laggard_named,
    ),
    long(
        "a replica written to as the primary dies: the other leads, and what was written is archived",
        rows_data::written_as_the_primary_dies,
    ),
    long(
        "all connections used up, and a replica written to: nobody takes over",
        rows_data::used_and_written,
    ),
    long(
        "the volume of the primary lost under load loses nothing",
        rows_volumes::volume_lost,
    ),
    long(
        "the volume of the primary set back to an older copy loses nothing",
        rows_volumes::set_back,
    ),
    long(
        "the volume of the sole acknowledger set back as the primary dies: nobody takes over with less",
        rows_volumes::acknowledger_set_back,
    ),
    long(
        "Services change late, and passwords in the middle of a failover",
        rows_late::services_and_passwords,
    ),
    long(
        "five members: the primary dies as they are added, then two die, then a third",
        rows_five::scaled_and_killed,
    ),
    long(
        "certificates are renewed under load without a restart",
        trust::renewed,
    ),
    long(
        "twenty clusters at once, and nothing written while nothing happens",
        scrutiny::twenty,
    ),
    on_ground(
        "left-overs go, what was deleted comes back, every right is used",
        scrutiny::rights,
    ),
    on_ground("no password or key is seen anywhere", scrutiny::canary),
    on_ground(
        "two proving grounds side by side, and nothing left of the second",
        grounds::side_by_side,
    ),
    on_ground(
        "a proving ground killed while it is made is made anew",
        grounds::killed_while_made,
    ),
    on_ground(
        "a proving ground refuses what cannot work, and says what to do",
        grounds::refusals,
    ),
    on_ground(
        "a test that died leaves its faults to the next",
        nodes::faults_outlive_their_maker,
    ),
];
