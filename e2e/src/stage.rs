//! Where stories play: our own proving ground, or a Kubernetes that somebody already has.
//! Must not know any story.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ground::faults::pod;
use ground::ground::Ground;
use ground::images;
use ground::network;
use ground::shell::{Cmd, cmd};
use ground::spec::Unit;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::operator;
use crate::reading::Reading;

/// Namespaces of stories carry it, so that a killed run is cleaned by the next.
pub const STORY_LABEL: &str = "holdfast.dev/story";
const POLL: Duration = Duration::from_millis(100);

/// The images that stories use.
#[derive(Clone, Debug)]
pub struct Images {
    /// Stock MySQL.
    pub mysql: String,
    /// The workload checker.
    pub checker: String,
    /// The operator.
    pub operator: String,
}

impl Default for Images {
    fn default() -> Self {
        let [mysql, checker, operator] =
            [images::MYSQL, images::CHECKER, images::OPERATOR].map(str::to_owned);
        Self {
            mysql,
            checker,
            operator,
        }
    }
}

/// A Kubernetes and what may be done to it.
pub struct Stage {
    ground: Option<Ground>,
    kubeconfig: PathBuf,
    /// Opened by the first that reads.
    reading: Mutex<Option<Arc<Reading>>>,
    /// The images in use.
    pub images: Images,
}

impl Stage {
    /// Our own proving ground, nodes and all.
    pub fn on_ground(ground: Ground, images: Images) -> Self {
        Self {
            kubeconfig: ground.paths.kubeconfig(),
            ground: Some(ground),
            reading: Mutex::default(),
            images,
        }
    }

    /// A Kubernetes whose nodes are not ours to break.
    pub fn elsewhere(kubeconfig: PathBuf, images: Images) -> Self {
        Self {
            ground: None,
            kubeconfig,
            reading: Mutex::default(),
            images,
        }
    }

    /// The proving ground; stories that ask for it are skipped elsewhere.
    pub fn ground(&self) -> Result<&Ground> {
        self.ground
            .as_ref()
            .context("this story needs the nodes of a proving ground")
    }

    /// Whether the nodes are ours.
    pub fn has_nodes(&self) -> bool {
        self.ground.is_some()
    }

    /// kubectl; the ground's own where there is one.
    pub fn kubectl<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        match &self.ground {
            Some(ground) => ground.kubectl(args),
            None => cmd("kubectl", args).env("KUBECONFIG", &self.kubeconfig),
        }
    }

    /// kubectl, the line split at spaces.
    pub fn k(&self, line: &str) -> Cmd {
        self.kubectl(line.split_whitespace())
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.k("apply --server-side --force-conflicts -f -")
            .input(manifests)
            .map(drop)
    }

    /// One object or a list of them as JSON, by the words of `kubectl get`.
    pub fn get(&self, line: &str) -> Result<Value> {
        if let Some(read) = self.reading()?.get(line) {
            return read;
        }
        let text = self.k(&format!("get {line} -o json")).output()?;
        serde_json::from_str(&text).context("failed to parse what kubectl printed")
    }

    fn reading(&self) -> Result<Arc<Reading>> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*reading {
            return Ok(open.clone());
        }
        let open = Arc::new(Reading::open(&self.kubeconfig)?);
        *reading = Some(open.clone());
        Ok(open)
    }

    /// A shell line inside a container of a pod.
    pub fn exec(&self, namespace: &str, pod: &str, line: &str) -> Cmd {
        self.kubectl([
            "exec",
            "--request-timeout=120s",
            "-n",
            namespace,
            pod,
            "-c",
            "main",
            "--",
            "sh",
            "-c",
            line,
        ])
    }

    /// SIGKILL to the processes of this name in a pod.
    pub fn kill(&self, namespace: &str, name: &str, process: &str) -> Result<()> {
        let ground = self.ground()?;
        let found = pod::find(ground, namespace, name)?;
        pod::signal(ground, &found, Some(process), Signal::SIGKILL).map(drop)
    }

    /// A program outside all nodes that reaches Services.
    pub fn client(&self, argv: &[&str]) -> Result<Cmd> {
        Ok(network::enter(self.ground()?.spec(), Unit::Client, argv))
    }

    /// A namespace for a story, under the strictest Pod Security.
    pub fn namespace(&self, name: &str) -> Result<()> {
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    {STORY_LABEL}: 'true'\n    \
             pod-security.kubernetes.io/enforce: restricted\n"
        ))
    }

    /// Removes every namespace of any story, and waits until they are gone.
    pub fn clean(&self) -> Result<()> {
        self.let_clusters_go()?;
        self.k(&format!(
            "delete namespaces -l {STORY_LABEL} --wait=true --timeout=180s"
        ))
        .run()
    }

    /// Where no operator is installed any more, nobody else takes the finalizers off what a story left.
    fn let_clusters_go(&self) -> Result<()> {
        let operator = format!("deployment holdfast -n {}", operator::NAMESPACE);
        if self.get(&operator).is_ok() {
            return Ok(());
        }
        let spaces = self.get(&format!("namespaces -l {STORY_LABEL}"))?;
        for space in spaces["items"].as_array().into_iter().flatten() {
            let space = space["metadata"]["name"].as_str().unwrap_or_default();
            // None, where not even the kind is there.
            let clusters = self.get(&format!("mysqlclusters -n {space}")).unwrap_or_default();
            for cluster in clusters["items"].as_array().into_iter().flatten() {
                let name = cluster["metadata"]["name"].as_str().unwrap_or_default();
                self.k(&format!(
                    r#"patch mysqlcluster {name} -n {space} --type=merge -p {{"metadata":{{"finalizers":null}}}}"#
                ))
                .run()?;
            }
        }
        Ok(())
    }

    /// Removes one namespace and what is in it.
    pub fn delete_namespace(&self, name: &str) -> Result<()> {
        self.k(&format!(
            "delete namespace {name} --ignore-not-found --wait=true --timeout=180s"
        ))
        .run()
    }
}

/// Waits until something is true; the error says what never became so, and why if it failed to tell.
pub fn wait_until(what: &str, within: Duration, mut is: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let seen = is();
        if matches!(seen, Ok(true)) {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > within {
            let why = seen
                .err()
                .map_or_else(String::new, |error| format!(": {error:#}"));
            bail!("not within {} s: {what}{why}", within.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

/// Fails with a sentence unless the claim holds.
pub fn claim(holds: bool, sentence: impl Into<String>) -> Result<()> {
    if !holds {
        bail!("not so: {}", sentence.into());
    }
    Ok(())
}
