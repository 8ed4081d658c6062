//! Plain MySQL servers for stories: stock image, no operator.
//! Must not inject faults.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::stage::{Stage, wait_until};

/// The password of the checker's user; the servers live for one story.
pub const PASSWORD: &str = "only-for-stories";
const READY_WITHIN: Duration = Duration::from_secs(180);

/// MySQL servers that know nothing of each other.
#[derive(Clone, Debug)]
pub struct Servers<'a> {
    /// The namespace, made and removed with them.
    pub namespace: &'a str,
    /// How many, one a node.
    pub replicas: u8,
    /// More options for mysqld.
    pub options: &'a [&'a str],
    /// The storage class; none for the default.
    pub class: Option<&'a str>,
    /// The size of each volume.
    pub size: &'a str,
}

impl Default for Servers<'_> {
    fn default() -> Self {
        Self {
            namespace: "servers",
            replicas: 1,
            options: &[],
            class: None,
            size: "1Gi",
        }
    }
}

impl Servers<'_> {
    /// Makes them, if need be, and waits until all are ready; gives how long that took.
    pub fn ready(&self, stage: &Stage) -> Result<Duration> {
        let begun = std::time::Instant::now();
        stage.namespace(self.namespace)?;
        stage.apply(&self.manifest(stage))?;
        self.wait_ready(stage)?;
        Ok(begun.elapsed())
    }

    /// Waits until all are ready.
    pub fn wait_ready(&self, stage: &Stage) -> Result<()> {
        wait_until(
            &format!("{} servers ready in {}", self.replicas, self.namespace),
            READY_WITHIN,
            || {
                let set = stage.get(&format!("statefulset db -n {}", self.namespace))?;
                Ok(set["status"]["readyReplicas"].as_u64() == Some(self.replicas.into()))
            },
        )
        .map(drop)
    }

    /// Removes them and their volumes.
    pub fn remove(&self, stage: &Stage) -> Result<()> {
        stage.delete_namespace(self.namespace)
    }

    /// A server's pod.
    pub fn pod(&self, index: u8) -> String {
        format!("db-{index}")
    }

    /// The node and address of a server's pod.
    pub fn place(&self, stage: &Stage, index: u8) -> Result<(String, SocketAddr)> {
        let pod = stage.get(&format!("pod {} -n {}", self.pod(index), self.namespace))?;
        let node = pod["spec"]["nodeName"]
            .as_str()
            .context("the pod has no node")?
            .to_owned();
        let ip: IpAddr = pod["status"]["podIP"]
            .as_str()
            .context("the pod has no address")?
            .parse()?;
        Ok((node, SocketAddr::new(ip, 3306)))
    }

    /// The address of the Service in front of them.
    pub fn service(&self, stage: &Stage) -> Result<SocketAddr> {
        let service = stage.get(&format!("service db -n {}", self.namespace))?;
        let ip: IpAddr = service["spec"]["clusterIP"]
            .as_str()
            .context("no address")?
            .parse()?;
        Ok(SocketAddr::new(ip, 3306))
    }

    /// How often a server's container was started again.
    pub fn restarts(&self, stage: &Stage, index: u8) -> Result<u64> {
        let pod = stage.get(&format!("pod {} -n {}", self.pod(index), self.namespace))?;
        let main = pod["status"]["containerStatuses"]
            .as_array()
            .and_then(|all| all.first().cloned());
        main.and_then(|main| main["restartCount"].as_u64())
            .context("the pod has no container status")
    }

    fn manifest(&self, stage: &Stage) -> String {
        let class = self
            .class
            .map_or_else(String::new, |class| format!("storageClassName: {class}, "));
        let mut options = vec![
            "--no-defaults",
            "--datadir=/data/mysql",
            "--socket=/tmp/mysql.sock",
            "--pid-file=/tmp/mysql.pid",
            "--tmpdir=/tmp",
            "--mysqlx=OFF",
            "--secure-file-priv=",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            "--performance-schema=OFF",
            "--init-file=/init/init.sql",
        ];
        options.extend(self.options);
        MANIFEST
            .replace("{namespace}", self.namespace)
            .replace("{replicas}", &self.replicas.to_string())
            .replace("{image}", &stage.images.mysql)
            .replace("{options}", &options.join(" "))
            .replace("{password}", PASSWORD)
            .replace("{class}", &class)
            .replace("{size}", self.size)
    }
}

const MANIFEST: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: init, namespace: {namespace}}
stringData:
  init.sql: |
    CREATE USER IF NOT EXISTS checker@'%' IDENTIFIED BY '{password}';
    GRANT ALL ON checker.* TO checker@'%';
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: {namespace}}
spec: {selector: {app: db}, ports: [{port: 3306}]}
---
apiVersion: v1
kind: Service
metadata: {name: members, namespace: {namespace}}
spec: {selector: {app: db}, clusterIP: None, publishNotReadyAddresses: true, ports: [{port: 3306}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: {namespace}}
spec:
  serviceName: members
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 5
      securityContext: {runAsUser: 27, runAsGroup: 27, fsGroup: 27, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: db}}}
      initContainers:
      - name: init
        image: {image}
        command: [sh, -c, '[ -e /data/made ] || { rm -rf /data/mysql; mysqld --no-defaults --initialize-insecure --datadir=/data/mysql --innodb-buffer-pool-size=64M && sync && touch /data/made; }']
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: data, mountPath: /data}, {name: tmp, mountPath: /tmp}]
      containers:
      - name: main
        image: {image}
        # No shell stands between: mysqld is PID 1, as its signals are what is tested.
        command: [sh, -c, 'exec mysqld {options}']
        ports: [{containerPort: 3306}]
        readinessProbe: {tcpSocket: {port: 3306}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: data, mountPath: /data}, {name: tmp, mountPath: /tmp}, {name: init, mountPath: /init}]
      volumes: [{name: tmp, emptyDir: {}}, {name: init, secret: {secretName: init}}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {{class}accessModes: [ReadWriteOnce], resources: {requests: {storage: {size}}}}
"#;
