//! The wires: a bridge, a network namespace per unit, routes between pod ranges.
//! Must not drop packets: faults do that, in tables of their own.

use anyhow::{Context, Result, bail};

use crate::shell::{cmd, words};
use crate::spec::{Spec, Unit};

/// Makes the bridge with the machine's own address on it.
pub fn create_bridge(spec: &Spec) -> Result<()> {
    let bridge = spec.bridge();
    words(&format!("ip link add {bridge} type bridge")).run()?;
    words(&format!("ip addr add {}/24 dev {bridge}", spec.gateway())).run()?;
    words(&format!("ip link set {bridge} up")).run()
}

/// Makes a unit's namespace and plugs it into the bridge.
pub fn create_unit(spec: &Spec, unit: Unit) -> Result<()> {
    let (netns, bridge) = (spec.netns(unit), spec.bridge());
    words(&format!("ip netns add {netns}")).run()?;
    words(&format!(
        "ip link add {netns} type veth peer name eth0 netns {netns}"
    ))
    .run()?;
    words(&format!("ip link set {netns} master {bridge} up")).run()?;
    let inside = |line: &str| words(&format!("ip -n {netns} {line}")).run();
    inside("link set lo up")?;
    inside(&format!("addr add {}/24 dev eth0", spec.unit_address(unit)))?;
    inside("link set eth0 up")?;
    // Services are rewritten before a packet leaves; the route only lets it set off.
    inside(&format!("route add {} via {}", spec.services(), spec.gateway()))?;
    enter(spec, unit, &["sysctl", "-qw", "net.ipv4.ip_forward=1"]).run()?;
    for other in spec.node_units().filter(|other| *other != unit) {
        route_to(spec, unit, other)?;
    }
    Ok(())
}

/// Lets `unit` reach the pods of `node`.
pub fn route_to(spec: &Spec, unit: Unit, node: Unit) -> Result<()> {
    let Unit::Node(index) = node else { return Ok(()) };
    let netns = spec.netns(unit);
    words(&format!(
        "ip -n {netns} route replace {} via {}",
        spec.pod_range(index),
        spec.node(index)
    ))
    .run()
}

/// Unplugs a unit; what runs in it must be gone.
pub fn delete_unit(spec: &Spec, unit: Unit) {
    let netns = spec.netns(unit);
    let _ = words(&format!("ip link del {netns}")).run();
    let _ = words(&format!("ip netns del {netns}")).run();
}

/// A command inside a unit's network and nothing else of it.
///
/// `nsenter`, not `ip netns exec`: the latter mounts a new /sys and hides the control groups.
pub fn enter(spec: &Spec, unit: Unit, argv: &[&str]) -> crate::shell::Cmd {
    cmd("nsenter", [format!("--net=/run/netns/{}", spec.netns(unit))])
        .args(["--"])
        .args(argv)
}

/// The interfaces and network namespaces that carry this ground's name.
pub fn remains(bridge: &str) -> Result<(Vec<String>, Vec<String>)> {
    let ours = |name: &str| name == bridge || name.starts_with(&format!("{bridge}-"));
    let links = words("ip -o link show").output()?;
    let links = links
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .filter_map(|name| name.split('@').next())
        .filter(|name| ours(name))
        .map(str::to_owned)
        .collect();
    let netns = words("ip netns list").output()?;
    let netns = netns
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| ours(name))
        .map(str::to_owned)
        .collect();
    Ok((links, netns))
}

/// Removes every interface and namespace of this ground.
pub fn delete_all(bridge: &str) -> Result<()> {
    let (links, netns) = remains(bridge)?;
    for name in netns {
        words(&format!("ip netns del {name}")).run()?;
    }
    for name in links {
        // The end of a cable goes with its namespace, perhaps since the list was made.
        let _ = words(&format!("ip link del {name}")).run();
    }
    Ok(())
}

/// Refuses a range that the machine already routes or owns.
pub fn check_free(spec: &Spec) -> Result<()> {
    let routes = words("ip -4 -o route show table all")
        .output()
        .context("failed to list the routes")?;
    let [a, b] = spec.net;
    let inside = format!("{a}.{b}.");
    let clash = routes.lines().find(|line| {
        let target = line.split_whitespace().find(|word| word.contains('.'));
        target.is_some_and(|target| target.starts_with(&inside))
    });
    if let Some(line) = clash {
        bail!(
            "the range {} is in use on this machine (`{}`): choose another with --net, such as --net 10.{}.0.0/16",
            spec.range(),
            line.trim(),
            b.wrapping_add(1)
        );
    }
    Ok(())
}
