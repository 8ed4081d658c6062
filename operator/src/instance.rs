//! The subcommands `instance` and `copy`: their options, and the process around the agent.
//! Must not hold logic of the agent: that is the crate's.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use instance::Options;

use crate::process;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("the agent failed")]
    Run(#[from] instance::Error),
    #[error("failed to copy the program")]
    Copy(#[from] instance::CopyError),
}

#[derive(Args, Clone, Debug)]
pub struct InstanceOptions {
    /// The name of this member
    #[arg(long, value_name = "NAME", env = "HOLDFAST_MEMBER")]
    member: String,
    /// The volume
    #[arg(long, value_name = "DIR", env = "HOLDFAST_DATA", default_value = "/data")]
    data: PathBuf,
    /// ca.crt, tls.crt and tls.key
    #[arg(
        long,
        value_name = "DIR",
        env = "HOLDFAST_TLS",
        default_value = "/holdfast/tls"
    )]
    tls: PathBuf,
    /// One file an account
    #[arg(
        long,
        value_name = "DIR",
        env = "HOLDFAST_PASSWORDS",
        default_value = "/holdfast/passwords"
    )]
    passwords: PathBuf,
    /// username, password and database of the application's user
    #[arg(
        long,
        value_name = "DIR",
        env = "HOLDFAST_APP",
        default_value = "/holdfast/app"
    )]
    app: PathBuf,
    /// Listen on this address only
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_ADDRESS")]
    address: Option<IpAddr>,
    /// Clients
    #[arg(
        long,
        value_name = "PORT",
        env = "HOLDFAST_MYSQL_PORT",
        default_value_t = 3306
    )]
    mysql_port: u16,
    /// Where other members follow and copy: an address of this machine; without it they come where clients do
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_REPLICATION_ADDRESS")]
    replication_address: Option<IpAddr>,
    /// The port of that
    #[arg(
        long,
        value_name = "PORT",
        env = "HOLDFAST_REPLICATION_PORT",
        default_value_t = 33062
    )]
    replication_port: u16,
    /// The controller's stream
    #[arg(
        long,
        value_name = "PORT",
        env = "HOLDFAST_AGENT_PORT",
        default_value_t = 9306
    )]
    agent_port: u16,
    /// Probes and metrics
    #[arg(long, value_name = "PORT", env = "HOLDFAST_HTTP_PORT", default_value_t = 9307)]
    http_port: u16,
}

/// Until SIGTERM; mysqld has ended when it returns.
pub fn run(options: InstanceOptions) -> Result<(), Error> {
    process::prepare()?;
    instance::run(Options {
        member: options.member,
        data: options.data,
        tls: options.tls,
        passwords: options.passwords,
        app: options.app,
        address: options.address,
        mysql_port: options.mysql_port,
        replication: options
            .replication_address
            .map(|address| SocketAddr::new(address, options.replication_port)),
        agent_port: options.agent_port,
        http_port: options.http_port,
    })?;
    Ok(())
}

/// For an init container of an image without a shell.
pub fn copy(folder: &Path) -> Result<(), Error> {
    instance::copy(folder)?;
    Ok(())
}
