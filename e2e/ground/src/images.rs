//! The container images of a ground: how each is built, and how nodes get them without importing.
//! Must not fetch from a container registry; there is none.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::archive::{self, Image};
use crate::cache::{self, Key};
use crate::ground::Ground;
use crate::machine;
use crate::shell::cmd;
use crate::spec::{cache_root, checkout};

/// Holds the namespaces of every pod.
pub const PAUSE: &str = "holdfast.dev/ground/pause:1";
/// Stock MySQL, server and client.
pub const MYSQL: &str = "holdfast.dev/ground/mysql:9.7";
/// The workload checker, for clusters where it must run in a pod.
pub const CHECKER: &str = "holdfast.dev/ground/checker:1";
/// The operator, from the Dockerfile.
pub const OPERATOR: &str = concat!("holdfast.dev/holdfast:", env!("CARGO_PKG_VERSION"));

const SCRATCH: Image<'static> = Image {
    name: "",
    entrypoint: &[],
    user: "65532:65532",
};

/// An image as an archive on disk.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its name and tag.
    pub name: &'static str,
    /// The archive; its name holds the hash of what went in.
    pub archive: PathBuf,
    /// Whether it was built just now.
    pub fresh: bool,
}

impl Built {
    fn new(name: &'static str, place: (PathBuf, bool)) -> Self {
        Self {
            name,
            archive: place.0,
            fresh: place.1,
        }
    }

    /// Its size, for people.
    pub fn megabytes(&self) -> u64 {
        fs::metadata(&self.archive).map_or(0, |meta| meta.len() / 1_000_000)
    }

    /// Its size and whether it was built just now, for people.
    pub fn note(&self) -> String {
        format!(
            "{} MB, {}",
            self.megabytes(),
            if self.fresh { "built" } else { "cached" }
        )
    }
}

/// The image that holds pods open: one static C program.
pub fn pause() -> Result<Built> {
    let source = checkout()?.join("e2e/ground/images/pause.c");
    let key = Key::new(PAUSE).file(&source)?.finish();
    let place = cache::get("image-pause", &key, |out| {
        let dir = scratch_dir(out)?;
        let program = dir.join("pause");
        cmd("cc", ["-static", "-Os", "-s", "-o"])
            .args([&program, &source])
            .run()?;
        of_program(PAUSE, &program, "pause", &dir, out)
    })?;
    Ok(Built::new(PAUSE, place))
}

/// The image of stock MySQL.
pub fn mysql() -> Result<Built> {
    let script = checkout()?.join("e2e/ground/images/mysql.sh");
    let key = Key::new(MYSQL).file(&script)?.finish();
    let place = cache::get("image-mysql", &key, |out| {
        let dir = scratch_dir(out)?;
        let layer = dir.join("layer.tar");
        // mmdebstrap's own folder goes where a killed run is swept up.
        cmd(&script, [&layer])
            .env("TMPDIR", &dir)
            .logged(&log_file("image-mysql")?)?;
        let image = Image {
            name: MYSQL,
            entrypoint: &["mysqld"],
            user: "27:27",
        };
        archive::write(&image, &layer, out)?;
        cache::remove(&dir)
    })?;
    Ok(Built::new(MYSQL, place))
}

/// The files of the MySQL image in a folder, for tests that start mysqld without a container.
pub fn mysql_root() -> Result<PathBuf> {
    let image = mysql()?;
    let key = Key::new("mysql-root")
        .text(&image.archive.display().to_string())
        .finish();
    let (root, _) = cache::get("mysql-root", &key, |out| {
        fs::create_dir_all(out)?;
        let script =
            r#"tar --extract --to-stdout --wildcards --file "$1" '*.tar' | tar --extract --directory "$2""#;
        cmd("sh", ["-ec", script, "sh"]).args([&image.archive, out]).run()
    })?;
    Ok(root)
}

/// The image of the workload checker, and the program itself.
pub fn checker() -> Result<(Built, PathBuf)> {
    let program = static_program("checker", &["e2e/checker", "operator/build-static.sh"])?;
    let key = Key::new(CHECKER).file(&program)?.finish();
    let place = cache::get("image-checker", &key, |out| {
        let dir = scratch_dir(out)?;
        of_program(CHECKER, &program, "checker", &dir, out)
    })?;
    Ok((Built::new(CHECKER, place), program))
}

/// The operator's program, as it is in its image.
pub fn operator_program() -> Result<PathBuf> {
    static_program("holdfast", &["crds", "operator"])
}

/// The operator's image, by buildah from the repository's Dockerfile, which starts from nothing.
pub fn operator() -> Result<Built> {
    let program = operator_program()?;
    let dockerfile = checkout()?.join("Dockerfile");
    let key = Key::new(OPERATOR).file(&program)?.file(&dockerfile)?.finish();
    let place = cache::get("image-holdfast", &key, |out| {
        let dir = scratch_dir(out)?;
        fs::create_dir_all(dir.join("context/dist"))?;
        fs::copy(&program, dir.join("context/dist/holdfast"))?;
        buildah(&dir, &dockerfile, out)?;
        cache::remove(&dir)
    })?;
    Ok(Built::new(OPERATOR, place))
}

/// A static program of the workspace, from the cache unless one of these inputs has changed.
fn static_program(package: &str, inputs: &[&str]) -> Result<PathBuf> {
    let checkout = checkout()?;
    // How it is built can be said to cargo by the environment as well.
    let profile = std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PROFILE_"));
    let profile: BTreeMap<String, String> = profile.collect();
    let key = Key::new(package)
        .tree(&checkout, &["Cargo.lock", "Cargo.toml"])?
        .tree(&checkout, inputs)?
        .text(&format!("{profile:?}"))
        .finish();
    let place = cache::get(&format!("program-{package}"), &key, |out| {
        cmd(
            checkout.join("operator/build-static.sh"),
            [out.as_os_str(), package.as_ref()],
        )
        .env("CARGO_TARGET_DIR", cache_root().join("cargo"))
        .dir(&checkout)
        .logged(&log_file(&format!("program-{package}"))?)
    })?;
    Ok(place.0)
}

fn buildah(dir: &Path, dockerfile: &Path, out: &Path) -> Result<()> {
    let show = |path: PathBuf| path.display().to_string();
    let common = [
        "--root".to_owned(),
        show(dir.join("storage")),
        "--runroot".to_owned(),
        show(dir.join("run")),
        "--storage-driver".to_owned(),
        "vfs".to_owned(),
    ];
    cmd("buildah", &common)
        .args([
            "build",
            "--isolation",
            "chroot",
            "--timestamp",
            "0",
            "--tag",
            OPERATOR,
            "--file",
        ])
        .args([dockerfile, &dir.join("context")])
        .logged(&log_file("image-holdfast")?)?;
    let target = format!("docker-archive:{}:{OPERATOR}", out.display());
    cmd("buildah", &common).args(["push", OPERATOR, &target]).run()
}

fn of_program(name: &'static str, program: &Path, inside: &str, dir: &Path, out: &Path) -> Result<()> {
    let layer = dir.join("layer.tar");
    archive::layer_of_program(program, inside, &layer)?;
    let entrypoint = format!("/{inside}");
    archive::write(
        &Image {
            name,
            entrypoint: &[&entrypoint],
            ..SCRATCH
        },
        &layer,
        out,
    )?;
    cache::remove(dir)
}

/// A folder beside `out`, swept up with it if this run is killed.
fn scratch_dir(out: &Path) -> Result<PathBuf> {
    let name = out
        .file_name()
        .and_then(|name| name.to_str())
        .context("a place has a name")?;
    // The owner's PID stays last in the name: the sweep looks for it there.
    let dir = out.with_file_name(format!("dir-{name}"));
    fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
    Ok(dir)
}

/// Where the output of a long build goes.
pub fn log_file(name: &str) -> Result<PathBuf> {
    let dir = cache_root().join("log");
    fs::create_dir_all(&dir)?;
    Ok(dir.join(format!("{name}.log")))
}

/// A containerd root with these images unpacked, made once; nodes share its files.
///
/// The first images change rarely: the others are added to a copy of a template of those alone.
pub fn template(rarely: &[Built], often: &[Built]) -> Result<(PathBuf, bool)> {
    let key = |images: &[Built]| {
        let names = images.iter().map(|image| image.archive.display().to_string());
        names
            .fold(Key::new("template-1"), |key, name| key.text(&name))
            .finish()
    };
    let (base, _) = cache::get("template", &key(rarely), |out| import(out, rarely))?;
    let all: Vec<Built> = rarely.iter().chain(often).cloned().collect();
    cache::get("template", &key(&all), |out| {
        copy_template(&base, out)?;
        import(out, often)
    })
}

/// Imports images into a containerd root by a containerd that runs for just that long.
fn import(root: &Path, images: &[Built]) -> Result<()> {
    fs::create_dir_all(root)?;
    let script = r#"
set -e
root=$1; shift
mount -t tmpfs tmpfs /run
cat >/run/containerd.toml <<END
version = 2
root = "$root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd/containerd.sock"
END
containerd --config /run/containerd.toml &
daemon=$!
for _ in $(seq 200); do
  ctr --connect-timeout 1s version >/dev/null 2>&1 && break
  kill -0 $daemon
  sleep 0.05
done
for archive; do ctr --namespace k8s.io images import "$archive"; done
kill $daemon
wait $daemon || true
"#;
    cmd(
        "unshare",
        [
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "sh",
            "-c",
            script,
            "sh",
        ],
    )
    .args([root])
    .args(images.iter().map(|image| &image.archive))
    .logged(&log_file("template")?)
}

/// Copies a containerd root: contents and layers by hard links, its databases for real.
pub fn copy_template(from: &Path, to: &Path) -> Result<()> {
    let source = from.join(".");
    fs::create_dir_all(to)?;
    let linked = cmd("cp", ["--archive", "--link"]).args([&source, to]).run();
    if linked.is_err() {
        // The cache lies on another file system: a real copy, slower.
        cache::remove(to)?;
        fs::create_dir_all(to)?;
        cmd("cp", ["--archive"]).args([&source, to]).run()?;
        return Ok(());
    }
    let found = cmd("find", [to.as_os_str(), "-name".as_ref(), "*.db".as_ref()])
        .args(["-not", "-path", "*/snapshots/*"])
        .output()?;
    for line in found.lines() {
        let copy = format!("{line}.copy");
        fs::copy(line, &copy)?;
        fs::rename(&copy, line)?;
    }
    Ok(())
}

/// Builds the operator's image again and imports it on every node that is up.
pub fn load(ground: &Ground) -> Result<String> {
    let built = operator()?;
    let archive = built.archive.display().to_string();
    for unit in ground.spec().node_units() {
        let argv = ["ctr", "--namespace", "k8s.io", "images", "import", &archive];
        machine::enter(ground.spec(), unit, &argv)?.run()?;
    }
    Ok(format!(
        "{} ({} MB) is on all nodes",
        built.name,
        built.megabytes()
    ))
}
