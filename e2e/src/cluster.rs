//! A MySQLCluster of a story: applied, waited for, read as a person would.
//! Must not look behind the API, but for the addresses of members.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::stage::{Stage, wait_until};

/// No statement of a story takes longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(300);
const HEALTHY_WITHIN: Duration = Duration::from_secs(180);
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// After an outage of the API server nodes ask again only once in half a minute or so.
const ROUTED_WITHIN: Duration = Duration::from_secs(90);

/// What is applied.
#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    /// The namespace, made and removed with it.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How many members.
    pub instances: u8,
    /// The size of each volume.
    pub size: &'a str,
    /// The storage class; none for the default.
    pub class: Option<&'a str>,
    /// The memory of each member.
    pub memory: &'a str,
    /// Further lines of the spec, indented by two.
    pub more: &'a str,
}

impl Default for Cluster<'_> {
    fn default() -> Self {
        Self {
            namespace: "cluster",
            name: "orders",
            instances: 3,
            size: "2Gi",
            class: None,
            memory: "768Mi",
            more: "",
        }
    }
}

/// How to come in as the application.
#[derive(Clone)]
pub struct Login {
    /// The Service's address.
    pub host: String,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Its database.
    pub database: String,
}

impl Cluster<'_> {
    /// The object.
    pub fn manifest(&self, stage: &Stage) -> String {
        let Self {
            namespace,
            name,
            instances,
            size,
            memory,
            more,
            ..
        } = self;
        let image = match more.contains("version:") || more.contains("image:") {
            true => String::new(),
            false => format!("  image: {}\n", stage.images.mysql),
        };
        let class = self
            .class
            .map_or_else(String::new, |class| format!(", storageClassName: {class}"));
        format!(
            "apiVersion: mysql.holdfast.dev/v1alpha1\nkind: MySQLCluster\nmetadata:\n  name: {name}\n  \
             namespace: {namespace}\nspec:\n{image}  instances: {instances}\n  storage: {{size: {size}{class}}}\n  \
             resources: {{requests: {{cpu: 50m, memory: {memory}}}, limits: {{memory: {memory}}}}}\n{more}"
        )
    }

    /// Makes the namespace and applies the object; a namespace of an earlier try goes first.
    pub fn create(&self, stage: &Stage) -> Result<Instant> {
        stage.delete_namespace(self.namespace)?;
        stage.namespace(self.namespace)?;
        self.apply(stage)?;
        Ok(Instant::now())
    }

    /// Applies the object as it is described now.
    pub fn apply(&self, stage: &Stage) -> Result<()> {
        stage.apply(&self.manifest(stage))
    }

    /// Made and Healthy; gives how long that took.
    pub fn healthy(&self, stage: &Stage) -> Result<Duration> {
        self.healthy_within(stage, HEALTHY_WITHIN)
    }

    /// The same, where it takes longer for a reason.
    pub fn healthy_within(&self, stage: &Stage, limit: Duration) -> Result<Duration> {
        let begun = self.create(stage)?;
        self.wait_healthy_within(stage, limit)?;
        Ok(begun.elapsed())
    }

    /// Waits until its status says that all is as asked, and its Service answers.
    pub fn wait_healthy(&self, stage: &Stage) -> Result<Duration> {
        self.wait_healthy_within(stage, HEALTHY_WITHIN)
    }

    /// The same, where it takes longer for a reason.
    pub fn wait_healthy_within(&self, stage: &Stage, limit: Duration) -> Result<Duration> {
        let waited = wait_until(
            &format!("{}/{} Healthy", self.namespace, self.name),
            limit,
            || {
                let object = self.get(stage)?;
                let is_current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
                let is_ready = condition(&object, "Ready").is_some_and(|ready| ready["status"] == "True");
                let is_healthy = object["status"]["state"] == "Healthy" && is_ready && is_current;
                Ok(is_healthy && object["status"]["readyInstances"].as_u64() == Some(self.instances.into()))
            },
        );
        let waited = waited.with_context(|| self.told(stage))?;
        self.wait_routed(stage)?;
        Ok(waited)
    }

    /// Nodes learn of a Service's endpoint up to a second after it is written: until then they refuse.
    fn wait_routed(&self, stage: &Stage) -> Result<()> {
        if !stage.has_nodes() {
            return Ok(());
        }
        wait_until("the primary Service answers", ROUTED_WITHIN, || {
            self.query(stage, "primary", "SELECT 1").map(|_| true)
        })
        .map(drop)
    }

    /// Waits until the status satisfies this; the error shows what it says.
    pub fn wait(&self, stage: &Stage, what: &str, is: impl Fn(&Value) -> bool) -> Result<Duration> {
        let waited = wait_until(what, HEALTHY_WITHIN, || Ok(is(&self.get(stage)?)));
        waited.with_context(|| self.told(stage))
    }

    /// Waits for an Event of its namespace with this reason and these words.
    pub fn is_told(&self, stage: &Stage, reason: &str, words: &[&str]) -> Result<()> {
        let what = format!("an Event {reason} with {words:?}");
        let line = format!("events -n {}", self.namespace);
        wait_until(&what, TOLD_WITHIN, || {
            let events = stage.get(&line)?;
            let events = events["items"].as_array().context("no list of Events")?;
            Ok(events.iter().any(|event| {
                let note = event["message"].as_str().unwrap_or_default();
                event["reason"] == reason && words.iter().all(|word| note.contains(word))
            }))
        })
        .map(drop)
    }

    /// A program inside a member, beside its mysqld; what it prints.
    pub fn inside(&self, stage: &Stage, member: &str, argv: &[&str]) -> Result<String> {
        let exec = ["exec", "-n", self.namespace, member, "-c", "mysql", "--"];
        stage.kubectl(exec.iter().chain(argv)).output()
    }

    /// Asks for another primary; `more` are further fields of the spec.
    pub fn ask_switchover(&self, stage: &Stage, name: &str, more: &str) -> Result<()> {
        stage.apply(&format!(
            "apiVersion: mysql.holdfast.dev/v1alpha1\nkind: Switchover\nmetadata: {{name: {name}, namespace: {}}}\n\
             spec: {{cluster: {}{more}}}\n",
            self.namespace, self.name
        ))
    }

    /// What a person would see, for errors.
    pub fn told(&self, stage: &Stage) -> String {
        let seen = self.get(stage).map(|object| object["status"].to_string());
        seen.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// The object.
    pub fn get(&self, stage: &Stage) -> Result<Value> {
        stage.get(&format!("mysqlcluster {} -n {}", self.name, self.namespace))
    }

    /// Its record, if there is one: the cluster's memory, which is not to be read for more than what moment it is.
    pub fn record(&self, stage: &Stage) -> Result<Option<Value>> {
        let line = format!(
            "get configmap {}-record -n {} --ignore-not-found -o jsonpath={{.data.record}}",
            self.name, self.namespace
        );
        let text = stage.k(&line).output()?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&text)
            .map(Some)
            .context("failed to parse the record")
    }

    /// The primary that its status names.
    pub fn primary(&self, stage: &Stage) -> Result<String> {
        let object = self.get(stage)?;
        let name = object["status"]["primary"]["name"].as_str();
        name.map(str::to_owned).context("status names no primary")
    }

    /// Its epoch.
    pub fn epoch(&self, stage: &Stage) -> Result<u64> {
        self.get(stage)?["status"]["primary"]["epoch"]
            .as_u64()
            .context("status has no epoch")
    }

    /// A member that is not primary.
    pub fn replica(&self, stage: &Stage) -> Result<String> {
        let primary = self.primary(stage)?;
        let mut members = self.members();
        members
            .find(|name| *name != primary)
            .context("there is no replica")
    }

    pub fn members(&self) -> impl Iterator<Item = String> {
        (0..self.instances).map(|n| format!("{}-{n}", self.name))
    }

    /// The address of a Pod.
    pub fn address(&self, stage: &Stage, member: &str) -> Result<String> {
        let pod = stage.get(&format!("pod {member} -n {}", self.namespace))?;
        pod["status"]["podIP"]
            .as_str()
            .map(str::to_owned)
            .context("the pod has no address")
    }

    /// The node of a Pod.
    pub fn node(&self, stage: &Stage, member: &str) -> Result<String> {
        let pod = stage.get(&format!("pod {member} -n {}", self.namespace))?;
        pod["spec"]["nodeName"]
            .as_str()
            .map(str::to_owned)
            .context("the pod has no node")
    }

    /// The application's way in, from the Secret, through one of the Services.
    pub fn login(&self, stage: &Stage, service: &str) -> Result<Login> {
        let secret = stage.get(&format!("secret {}-app -n {}", self.name, self.namespace))?;
        let field = |key: &str| -> Result<String> {
            let text = secret["data"][key]
                .as_str()
                .with_context(|| format!("the Secret has no {key}"))?;
            let line = format!("printf %s {text} | base64 -d");
            ground::shell::cmd("sh", ["-c", &line]).output()
        };
        let service = stage.get(&format!("service {}-{service} -n {}", self.name, self.namespace))?;
        let host = service["spec"]["clusterIP"]
            .as_str()
            .context("the Service has no address")?;
        Ok(Login {
            host: host.to_owned(),
            user: field("username")?,
            password: field("password")?,
            database: field("database")?,
        })
    }

    /// One statement as the application, from outside all nodes; its answer without headings.
    pub fn query(&self, stage: &Stage, service: &str, statement: &str) -> Result<String> {
        let login = self.login(stage, service)?;
        query(stage, &login, statement)
    }

    /// Removes it, its namespace and its volumes.
    pub fn remove(&self, stage: &Stage) -> Result<()> {
        stage
            .k(&format!(
                "delete mysqlcluster {} -n {} --ignore-not-found --wait=true --timeout=120s",
                self.name, self.namespace
            ))
            .run()?;
        stage.delete_namespace(self.namespace)
    }
}

/// One statement with a way in, over TLS.
pub fn query(stage: &Stage, login: &Login, statement: &str) -> Result<String> {
    query_within(stage, login, statement, ANSWERED_WITHIN)
}

/// The same, given up after a while.
pub fn query_within(stage: &Stage, login: &Login, statement: &str, limit: Duration) -> Result<String> {
    let root = ground::images::mysql_root()?;
    let client = root.join("usr/bin/mysql");
    if !client.exists() {
        bail!("the MySQL image has no client at {}", client.display());
    }
    let inner = [
        "timeout",
        &limit.as_secs().to_string(),
        "chroot",
        &root.display().to_string(),
        "/usr/bin/mysql",
        "--no-defaults",
        "--ssl-mode=REQUIRED",
        "--connect-timeout=5",
        "--batch",
        "--skip-column-names",
        "--host",
        &login.host,
        "--user",
        &login.user,
        "--database",
        &login.database,
        "--execute",
        statement,
    ]
    .map(str::to_owned);
    let argv: Vec<&str> = inner.iter().map(String::as_str).collect();
    Ok(stage
        .client(&argv)?
        .env("MYSQL_PWD", &login.password)
        .output()?
        .trim()
        .to_owned())
}

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let list = object["status"]["conditions"].as_array()?;
    list.iter().find(|condition| condition["type"] == type_)
}

/// Whether a condition has this status.
pub fn is_said(object: &Value, type_: &str, status: &str) -> bool {
    condition(object, type_).is_some_and(|condition| condition["status"] == status)
}

/// What the status says of a member.
pub fn member_of<'a>(object: &'a Value, member: &str) -> &'a Value {
    let members = object["status"]["members"].as_array();
    let found = members.and_then(|members| members.iter().find(|one| one["name"] == member));
    found.unwrap_or(&Value::Null)
}
