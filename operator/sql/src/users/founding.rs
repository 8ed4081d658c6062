//! What a new data directory is given before it first runs: the two local accounts, and no root.
//! Must not be used on data that anybody replicates from: none of this reaches a replica.

use zeroize::Zeroizing;

use super::{Binlog, Held, Job, User, changes, make_user, named, plan};
use crate::{Deadline, Error, Secret, Session, epoch, users};

/// The text of mysqld's init file, a statement a line. Whoever writes it to a disk removes it again.
pub fn init_file(agent: &Secret, accounts: &Secret) -> Zeroizing<String> {
    let mut lines = vec![Zeroizing::new("SET SESSION sql_log_bin = 0".to_owned())];
    for (job, password) in [(Job::Agent, agent), (Job::Accounts, accounts)] {
        let user = User::of_job(job);
        lines.push(make_user(&named(&user.account), user.transport, password));
        let grants = plan(&user, &Held::default(), false);
        lines.extend(grants.into_iter().map(|(_, sql)| Zeroizing::new(sql)));
    }
    // Made without a password by --initialize-insecure.
    lines.push(Zeroizing::new("DROP USER 'root'@'localhost'".to_owned()));
    let mut text = Zeroizing::new(String::new());
    for line in &lines {
        text.push_str(line);
        text.push_str(";\n");
    }
    text
}

/// The passwords of those who come from other machines, and of the two local ones.
pub struct Passwords {
    pub agent: Secret,
    pub accounts: Secret,
    pub replication: Secret,
    pub clone: Secret,
    pub monitoring: Secret,
}

impl Passwords {
    fn of(&self, job: Job) -> &Secret {
        match job {
            Job::Agent => &self.agent,
            Job::Accounts => &self.accounts,
            Job::Replication => &self.replication,
            Job::Clone => &self.clone,
            Job::Monitoring => &self.monitoring,
        }
    }
}

/// Makes what every cluster has: the operator's tables and accounts. Needs a session of
/// `Job::Accounts` and a server that may be written.
pub async fn found(session: &mut Session, passwords: &Passwords, deadline: Deadline) -> Result<(), Error> {
    if !epoch::has_tables(session, deadline).await? {
        epoch::make_tables(session, Binlog::On, deadline).await?;
    }
    for job in Job::ALL {
        let user = User::of_job(job);
        users::ensure(session, &user, passwords.of(job), Binlog::On, deadline).await?;
    }
    Ok(())
}

/// Whether `found` would change nothing. Needs a session of `Job::Accounts`; writes nothing.
pub async fn is_founded(session: &mut Session, deadline: Deadline) -> Result<bool, Error> {
    if !epoch::has_tables(session, deadline).await? {
        return Ok(false);
    }
    for job in Job::ALL {
        let user = User::of_job(job);
        let seen = users::account(session, &user.account, deadline).await?;
        let is_there = seen.is_some_and(|seen| seen.transport == Some(user.transport));
        if !is_there || !changes(session, &user, deadline).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_is_one_line_and_passwords_stay_quoted() {
        let text = init_file(&Secret::new("a'\n;b"), &Secret::new("c"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "SET SESSION sql_log_bin = 0;");
        assert!(lines[1].starts_with("CREATE USER 'holdfast_agent'@'localhost'"));
        assert!(lines[1].contains(r"BY 'a''\n;b' REQUIRE NONE"));
        assert!(lines.iter().all(|line| line.ends_with(';')));
        assert_eq!(lines.last(), Some(&"DROP USER 'root'@'localhost';"));
        assert!(text.contains("GRANT ALL PRIVILEGES ON *.* TO 'holdfast_accounts'@'localhost'"));
    }
}
