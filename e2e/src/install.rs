//! What people install: the generated parts of the charts, and the manifests rendered from them.
//! Must not install anything.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ground::shell::{Cmd, cmd};
use ground::spec::{cache_root, checkout};
use ground::tools;

use crate::figures;

/// Refreshes every generated file.
pub const REFRESH: &str = "cargo run -p e2e --bin manifests";

const NAME: &str = "holdfast";
const NAMESPACE: &str = "holdfast-system";

/// Between these lines of the chart's README stands the table of its values.
const TABLE_BEGINS: &str = "<!-- values -->\n";
const TABLE_ENDS: &str = "<!-- /values -->\n";

/// Of a rendered chart, lines that are true only of what helm installed itself.
const OF_HELM: &[&str] = &[
    "# Source: ",
    "    helm.sh/chart: ",
    "    app.kubernetes.io/managed-by: Helm",
];

const ABOUT_INSTALL: &str = "\
# Everything that Holdfast needs: a namespace, the definitions, the operator.
#   kubectl apply --server-side -f install.yaml
# Generated from charts/ and crds/yaml; to change something, use the chart.
";

const ABOUT_GROUND: &str = "\
# The operator on the proving ground, which has MySQL under a name of its own:
#   cargo ground kubectl apply --server-side -f crds/yaml -f manifests/ground.yaml
# Generated from charts/holdfast and its ci/ground-values.yaml.
";

const NAMESPACE_MANIFEST: &str = "\
---
apiVersion: v1
kind: Namespace
metadata:
  name: holdfast-system
  labels:
    app.kubernetes.io/part-of: holdfast
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/audit: restricted
    pod-security.kubernetes.io/warn: restricted
";

/// A generated file: its path in the repository, and what it should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Relative to the repository.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// helm, and the repository whose charts it reads.
pub struct Helm {
    program: PathBuf,
    checkout: PathBuf,
}

impl Helm {
    /// Builds it, unless that was done before.
    pub fn open() -> Result<Self> {
        Ok(Self {
            program: tools::helm()?,
            checkout: checkout()?,
        })
    }

    /// helm with these arguments, run in the repository and without a person's settings.
    pub fn run(&self, args: &[&str]) -> Cmd {
        let home = cache_root().join("helm-home");
        let mut command = cmd(&self.program, args).dir(&self.checkout);
        for (variable, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            command = command.env(variable, home.join(folder));
        }
        command
    }

    /// A chart of the repository as objects; `more` are files of values, or anything that helm takes.
    pub fn template(&self, chart: &str, more: &[&str]) -> Result<String> {
        let path = format!("charts/{chart}");
        let fixed = ["template", NAME, &path, "--namespace", NAMESPACE];
        self.run(&fixed).args(more).output()
    }
}

/// Every generated file, as it should be.
pub fn generated(helm: &Helm) -> Result<Vec<Generated>> {
    let definitions = definitions(&helm.checkout)?;
    let mut files = Vec::new();
    let mut install = format!("{ABOUT_INSTALL}{NAMESPACE_MANIFEST}");
    for (name, text) in definitions {
        files.push(Generated {
            path: format!("charts/holdfast-crds/templates/{name}"),
            text: kept(&text).with_context(|| format!("failed to make a template of {name}"))?,
        });
        install.push_str("---\n");
        install.push_str(&text);
    }
    install.push_str(&plain(&helm.template("holdfast", &[])?));
    let values = ["--values", "charts/holdfast/ci/ground-values.yaml"];
    let ground = plain(&helm.template("holdfast", &values)?);
    for (path, text) in [
        ("manifests/install.yaml", install),
        (
            "manifests/ground.yaml",
            format!("{ABOUT_GROUND}{NAMESPACE_MANIFEST}{ground}"),
        ),
    ] {
        files.push(Generated {
            path: path.to_owned(),
            text,
        });
    }
    for chart in ["holdfast", "holdfast-crds"] {
        files.push(readme(&helm.checkout, chart)?);
    }
    files.push(metrics(&helm.checkout)?);
    Ok(files)
}

/// Writes every generated file; gives the paths of those that were stale.
pub fn refresh(helm: &Helm) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    for file in generated(helm)? {
        let path = helm.checkout.join(&file.path);
        if fs::read_to_string(&path).ok().as_deref() == Some(file.text.as_str()) {
            continue;
        }
        fs::write(&path, &file.text).with_context(|| format!("failed to write {}", path.display()))?;
        stale.push(file.path);
    }
    Ok(stale)
}

/// The definitions with their file names, in order.
fn definitions(checkout: &Path) -> Result<Vec<(String, String)>> {
    let folder = checkout.join("crds/yaml");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, fs::read_to_string(entry.path())?));
    }
    found.sort();
    Ok(found)
}

/// A definition as a template that helm does not remove.
fn kept(definition: &str) -> Result<String> {
    const METADATA: &str = "\nmetadata:\n";
    const KEPT: &str = "  annotations:
    helm.sh/resource-policy: keep
    {{- with .Values.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
";
    ensure!(
        !definition.contains("{{"),
        "helm would take a part of it as its own"
    );
    let (before, after) = definition
        .split_once(METADATA)
        .context("it has no metadata of its own")?;
    ensure!(!after.starts_with("  annotations:"), "it has annotations already");
    Ok(format!("{before}{METADATA}{KEPT}{after}"))
}

/// A rendered chart as plain objects, without a trace of helm.
fn plain(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim_end);
    let ours =
        lines.filter(|line| !line.is_empty() && !OF_HELM.iter().any(|of_helm| line.starts_with(of_helm)));
    ours.flat_map(|line| [line, "\n"]).collect()
}

fn readme(checkout: &Path, chart: &str) -> Result<Generated> {
    let path = format!("charts/{chart}/README.md");
    let read = |path: &str| {
        fs::read_to_string(checkout.join(path)).with_context(|| format!("failed to read {path}"))
    };
    let text = read(&path)?;
    let (before, rest) = text.split_once(TABLE_BEGINS).context("no place for the table")?;
    let (_, after) = rest.split_once(TABLE_ENDS).context("no end of the table")?;
    let mut table = "| Value | Default | What |\n|---|---|---|\n".to_owned();
    for value in values(&read(&format!("charts/{chart}/values.yaml"))?) {
        let Value { path, default, about } = value;
        let default = match default.as_str() {
            "" => "[see there](values.yaml)".to_owned(),
            inline => format!("`{inline}`"),
        };
        table.push_str(&format!("| `{path}` | {default} | {about} |\n"));
    }
    Ok(Generated {
        path,
        text: format!("{before}{TABLE_BEGINS}{table}{TABLE_ENDS}{after}"),
    })
}

/// The page of all metrics, with a table of each process'.
fn metrics(checkout: &Path) -> Result<Generated> {
    let path = "docs/metrics.md";
    let mut text =
        fs::read_to_string(checkout.join(path)).with_context(|| format!("failed to read {path}"))?;
    for (whose, snapshot) in figures::SNAPSHOTS {
        let found = figures::figures(&figures::exposition(checkout, snapshot)?)?;
        let (begins, ends) = (format!("<!-- {whose} -->\n"), format!("<!-- /{whose} -->\n"));
        let (before, rest) = text.split_once(&begins).context("no place for a table")?;
        let (_, after) = rest.split_once(&ends).context("no end of a table")?;
        text = format!("{before}{begins}{}{ends}{after}", figures::table(&found));
    }
    Ok(Generated {
        path: path.to_owned(),
        text,
    })
}

/// A value of a chart, as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its keys, joined by dots.
    pub path: String,
    /// As written; empty if it takes several lines.
    pub default: String,
    /// The comment before it.
    pub about: String,
}

/// The values of a chart that have a comment beginning with `# --`.
pub fn values(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut about = None;
    for line in text.lines() {
        let content = line.trim_start();
        if let Some(comment) = content.strip_prefix("# -- ") {
            about = Some(comment);
            continue;
        }
        let Some((key, default)) = content.split_once(':').filter(|_| !content.starts_with('#')) else {
            continue;
        };
        let indent = line.len() - content.len();
        above.retain(|(of, _)| *of < indent);
        above.push((indent, key));
        let Some(about) = about.take() else { continue };
        let keys: Vec<&str> = above.iter().map(|(_, key)| *key).collect();
        found.push(Value {
            path: keys.join("."),
            default: default.trim().to_owned(),
            about: about.to_owned(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_with_their_keys() {
        let text =
            "# -- One.\na: 1\n\nb:\n  # not this\n  # -- Two.\n  c: \"x\"\n  d: 2\n# -- Three.\ne:\n  f: 1\n";
        let found: Vec<_> = values(text)
            .into_iter()
            .map(|value| format!("{}={} {}", value.path, value.default, value.about))
            .collect();
        assert_eq!(found, ["a=1 One.", "b.c=\"x\" Two.", "e= Three."]);
    }

    #[test]
    fn a_definition_is_kept_by_helm() {
        let text = kept("kind: A\nmetadata:\n  name: a\nspec: {}\n").unwrap();
        assert!(text.starts_with(
            "kind: A\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n    {{- with"
        ));
        assert!(text.ends_with("    {{- end }}\n  name: a\nspec: {}\n"));
        assert!(kept("kind: A\nmetadata:\n  name: '{{ a }}'\n").is_err());
        assert!(kept("kind: A\n").is_err());
        assert!(kept("kind: A\nmetadata:\n  annotations:\n    a: b\n").is_err());
    }

    #[test]
    fn nothing_of_helm_is_left() {
        let rendered = "---\n# Source: a/b\nkind: A\nmetadata:\n  labels:\n    app.kubernetes.io/managed-by: Helm\n    \
                        helm.sh/chart: a-1\n    a: b\n\n---\n";
        assert_eq!(
            plain(rendered),
            "---\nkind: A\nmetadata:\n  labels:\n    a: b\n---\n"
        );
    }
}
