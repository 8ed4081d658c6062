//! Accounts and databases: made, brought to the rights they should have, passwords rotated.
//! Must not put a password where a log could show it, nor touch accounts it was not asked about.

mod founding;
mod jobs;

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

pub use founding::{Passwords, found, init_file, is_founded};
pub use jobs::{Account, Job, Rights, Transport};

use crate::row::Row;
use crate::{Deadline, Error, Secret, Session, epoch, quote};

/// Whether the statements reach the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binlog {
    /// The rule: every member has the same accounts, and a replica, which is super-read-only,
    /// refuses account statements even with its binary log off.
    On,
    /// For the first server of a cluster, before it has semi-sync and replicas: nothing waits for an
    /// acknowledgement, no GTID is spent, and clones carry the accounts to every other member.
    Off,
}

impl Binlog {
    pub(crate) async fn enter(self, session: &mut Session, deadline: Deadline) -> Result<(), Error> {
        self.set(session, "0", deadline).await
    }

    /// After a failure, too: the session may be used for other things.
    pub(crate) async fn leave(self, session: &mut Session, deadline: Deadline) -> Result<(), Error> {
        if session.is_closed() {
            return Ok(());
        }
        self.set(session, "1", deadline).await
    }

    async fn set(self, session: &mut Session, value: &str, deadline: Deadline) -> Result<(), Error> {
        if self == Binlog::On {
            return Ok(());
        }
        let sql = format!("SET SESSION sql_log_bin = {value}");
        session.run("choose the binary log", &sql, deadline).await?;
        Ok(())
    }
}

/// What an account should be.
#[derive(Debug, Clone)]
pub struct User {
    pub account: Account,
    pub rights: Rights,
    pub transport: Transport,
}

impl User {
    pub fn of_job(job: Job) -> Self {
        Self {
            account: job.account(),
            rights: job.rights(),
            transport: job.transport(),
        }
    }

    /// A user of an application, from anywhere over TLS, at home in these databases.
    pub fn of_application(name: &str, databases: &[&str]) -> Result<Self, Error> {
        let refused = |what: String| Error::Input {
            doing: "make a user",
            what,
        };
        let lower = name.to_ascii_lowercase();
        let length = name.chars().count();
        let is_ours = lower == "root" || lower.starts_with("mysql.") || lower.starts_with("holdfast_");
        if is_ours || !(1..=32).contains(&length) || quote::identifier(name).is_none() {
            return Err(refused(format!(
                "{name:?} is not a name for an application's user"
            )));
        }
        for database in databases {
            checked_database(database)?;
        }
        Ok(Self {
            account: Account::new(name, "%"),
            rights: Rights::of_application(databases),
            transport: Transport::Tls,
        })
    }
}

/// What was done. All false and zero: it was as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ensured {
    pub is_created: bool,
    pub is_transport_changed: bool,
    pub granted: usize,
    pub revoked: usize,
}

/// Makes the account if it is not there, with this password, and brings its rights to what they
/// should be. The password of an account that is there is left alone: `rotate` changes it.
pub async fn ensure(
    session: &mut Session,
    user: &User,
    password: &Secret,
    binlog: Binlog,
    deadline: Deadline,
) -> Result<Ensured, Error> {
    binlog.enter(session, deadline).await?;
    let ensured = ensure_logged(session, user, password, deadline).await;
    binlog.leave(session, deadline).await?;
    ensured
}

async fn ensure_logged(
    session: &mut Session,
    user: &User,
    password: &Secret,
    deadline: Deadline,
) -> Result<Ensured, Error> {
    let name = named(&user.account);
    let mut ensured = Ensured::default();
    match account(session, &user.account, deadline).await? {
        None => {
            let sql = make_user(&name, user.transport, password);
            session.run_secret("make a user", sql, password, deadline).await?;
            ensured.is_created = true;
        }
        Some(seen) if seen.transport != Some(user.transport) => {
            let sql = format!("ALTER USER {name} REQUIRE {}", required(user.transport));
            session
                .run("change the transport of a user", &sql, deadline)
                .await?;
            ensured.is_transport_changed = true;
        }
        Some(_) => {}
    }
    let changes = changes(session, user, deadline).await?;
    for (is_grant, sql) in changes {
        session.run("change the rights of a user", &sql, deadline).await?;
        match is_grant {
            true => ensured.granted += 1,
            false => ensured.revoked += 1,
        }
    }
    Ok(ensured)
}

fn required(transport: Transport) -> &'static str {
    match transport {
        Transport::Any => "NONE",
        Transport::Tls => "SSL",
    }
}

fn make_user(name: &str, transport: Transport, password: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "CREATE USER {name} IDENTIFIED WITH caching_sha2_password BY {} REQUIRE {} PASSWORD EXPIRE NEVER",
        *Zeroizing::new(quote::string(password.expose())),
        required(transport),
    ))
}

/// Makes the database if it is not there.
pub async fn ensure_database(session: &mut Session, name: &str, deadline: Deadline) -> Result<bool, Error> {
    let doing = "make a database";
    let identifier = checked_database(name)?;
    let sql = format!(
        "SELECT COUNT(*) AS count FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
        quote::string(name)
    );
    if session.row(doing, &sql, deadline).await?.parse::<u64>("count")? > 0 {
        return Ok(false);
    }
    // Asked first: with IF NOT EXISTS alone, every round would be a transaction.
    let sql = format!("CREATE DATABASE IF NOT EXISTS {identifier}");
    session.run(doing, &sql, deadline).await?;
    Ok(true)
}

fn checked_database(name: &str) -> Result<String, Error> {
    const SYSTEM: [&str; 5] = [
        "mysql",
        "sys",
        "information_schema",
        "performance_schema",
        epoch::DATABASE,
    ];
    let is_system = SYSTEM.contains(&name.to_lowercase().as_str());
    quote::identifier(name)
        .filter(|_| !is_system && quote::database_pattern(name).is_some())
        .ok_or_else(|| Error::Input {
            doing: "name a database",
            what: format!("{name:?} is not a name for an application's database"),
        })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotated {
    /// Both passwords are good now.
    Both,
    /// There were two already, so nothing was changed: a third would end the older one, with which
    /// somebody may still come. Connect to learn whether the new one is among them.
    BothBefore,
}

/// Gives the account a new password beside the one it has. Everybody moves over, then
/// `discard_old_password`.
pub async fn rotate(
    session: &mut Session,
    account_: &Account,
    new: &Secret,
    deadline: Deadline,
) -> Result<Rotated, Error> {
    let doing = "rotate a password";
    let seen = account(session, account_, deadline).await?;
    match seen {
        None => Err(Error::Input {
            doing,
            what: format!("there is no {}", named(account_)),
        }),
        Some(seen) if seen.has_two_passwords => Ok(Rotated::BothBefore),
        Some(_) => {
            let sql = Zeroizing::new(format!(
                "ALTER USER {} IDENTIFIED WITH caching_sha2_password BY {} RETAIN CURRENT PASSWORD",
                named(account_),
                *Zeroizing::new(quote::string(new.expose()))
            ));
            session.run_secret(doing, sql, new, deadline).await?;
            Ok(Rotated::Both)
        }
    }
}

/// `false`: there was one password only.
pub async fn discard_old_password(
    session: &mut Session,
    account_: &Account,
    deadline: Deadline,
) -> Result<bool, Error> {
    let seen = account(session, account_, deadline).await?;
    if !seen.is_some_and(|seen| seen.has_two_passwords) {
        return Ok(false);
    }
    let sql = format!("ALTER USER {} DISCARD OLD PASSWORD", named(account_));
    session.run("discard an old password", &sql, deadline).await?;
    Ok(true)
}

/// What the server holds of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// `None`: a certificate of its own is asked for.
    pub transport: Option<Transport>,
    pub has_two_passwords: bool,
    pub is_locked: bool,
}

pub async fn account(
    session: &mut Session,
    account: &Account,
    deadline: Deadline,
) -> Result<Option<Seen>, Error> {
    let sql = format!(
        "SELECT ssl_type, account_locked, \
         COALESCE(JSON_CONTAINS_PATH(User_attributes, 'one', '$.additional_password'), 0) AS two \
         FROM mysql.user WHERE User = {} AND Host = {}",
        quote::string(&account.user),
        quote::string(&account.host)
    );
    let rows = session.rows("read an account", &sql, deadline).await?;
    rows.first().map(parse_account).transpose()
}

fn parse_account(row: &Row) -> Result<Seen, Error> {
    Ok(Seen {
        transport: match row.text("ssl_type")? {
            "" => Some(Transport::Any),
            "ANY" => Some(Transport::Tls),
            _ => None,
        },
        has_two_passwords: row.flag("two")?,
        is_locked: row.text("account_locked")? == "Y",
    })
}

fn named(account: &Account) -> String {
    format!(
        "{}@{}",
        quote::string(&account.user),
        quote::string(&account.host)
    )
}

const GRANT_OPTION: &str = "GRANT OPTION";

/// The rights of an account as the server lists them: databases by the name or pattern it keeps.
/// To hand a right on is one more right, `GRANT_OPTION`.
#[derive(Debug, Default)]
struct Held {
    global: BTreeSet<String>,
    databases: BTreeMap<String, BTreeSet<String>>,
}

/// The statements that lead from what the account holds to what it should, and whether each grants.
async fn changes(
    session: &mut Session,
    user: &User,
    deadline: Deadline,
) -> Result<Vec<(bool, String)>, Error> {
    let doing = "read the rights of a user";
    // Unescaped, as the server builds it.
    let grantee = quote::string(&format!("'{}'@'{}'", user.account.user, user.account.host));
    let sql = format!(
        "SELECT NULL AS db, PRIVILEGE_TYPE AS name, IS_GRANTABLE AS grantable \
         FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {grantee} \
         UNION ALL SELECT TABLE_SCHEMA, PRIVILEGE_TYPE, IS_GRANTABLE \
         FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = {grantee}"
    );
    let mut held = Held::default();
    for row in session.rows(doing, &sql, deadline).await? {
        let names = match row.maybe("db")? {
            None => &mut held.global,
            Some(database) => held.databases.entry(database.to_owned()).or_default(),
        };
        let name = row.text("name")?;
        // The server's word for nothing; it stands there when only the grant option is left.
        if name != "USAGE" {
            names.insert(name.to_owned());
        }
        if row.flag("grantable")? {
            names.insert(GRANT_OPTION.to_owned());
        }
    }
    let row = session
        .row(doing, "SELECT @@GLOBAL.partial_revokes AS plain", deadline)
        .await?;
    Ok(plan(user, &held, row.flag("plain")?))
}

/// Grants first: nobody is without a right that it keeps. `is_plain`: names, not patterns.
fn plan(user: &User, held: &Held, is_plain: bool) -> Vec<(bool, String)> {
    let name = named(&user.account);
    let (global, databases) = match &user.rights {
        Rights::All => {
            let has_all = ["SUPER", GRANT_OPTION]
                .iter()
                .all(|name| held.global.contains(*name));
            let sql = format!("GRANT ALL PRIVILEGES ON *.* TO {name} WITH GRANT OPTION");
            return if has_all { Vec::new() } else { vec![(true, sql)] };
        }
        Rights::Listed { global, databases } => (global, databases),
    };
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (database, names) in databases {
        let pattern = if is_plain {
            quote::identifier(database)
        } else {
            quote::database_pattern(database)
        };
        // Names that cannot be quoted were refused when the user was described.
        wanted.extend(pattern.map(|pattern| (pattern, names.clone())));
    }
    let seen: BTreeMap<String, BTreeSet<String>> = held
        .databases
        .iter()
        .map(|(database, names)| (format!("`{}`", database.replace('`', "``")), names.clone()))
        .collect();
    let mut grants = Vec::new();
    let mut revokes = Vec::new();
    let mut compare = |place: &str, seen: &BTreeSet<String>, wanted: &BTreeSet<String>| {
        let list = |names: &mut dyn Iterator<Item = &String>| {
            let names: Vec<&str> = names.map(String::as_str).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        if let Some(missing) = list(&mut wanted.difference(seen)) {
            grants.push((true, format!("GRANT {missing} ON {place} TO {name}")));
        }
        if let Some(extra) = list(&mut seen.difference(wanted)) {
            revokes.push((false, format!("REVOKE {extra} ON {place} FROM {name}")));
        }
    };
    let none = BTreeSet::new();
    compare("*.*", &held.global, global);
    let places: BTreeSet<&String> = seen.keys().chain(wanted.keys()).collect();
    for place in places {
        compare(
            &format!("{place}.*"),
            seen.get(place).unwrap_or(&none),
            wanted.get(place).unwrap_or(&none),
        );
    }
    grants.extend(revokes);
    grants
}

#[cfg(test)]
mod tests;
