//! The stage: the actor, an image for containers, and a lanner that watches a script.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use test_support::{absent, is_root, skipped, usable_drivers};

const BIN: &str = env!("CARGO_BIN_EXE_lanner");

/// Whether a driver can run here. If not, it is reported as skipped.
pub(crate) fn usable(driver: &str) -> bool {
    !usable_drivers(BIN, &[driver]).is_empty()
}

fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Rules to run.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) name: &'static str,
    path: PathBuf,
}

/// Our own rules, and Falco's where they are.
pub(crate) fn rules() -> Vec<Rules> {
    let ours = Rules {
        name: "ours",
        path: workspace().join("rules/lanner_rules.yaml"),
    };
    let shared = std::env::var_os("LANNER_SHARED")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let path = shared.join("reference/falco/falco_rules.yaml");
    if !path.exists() {
        absent(&path);
        return vec![ours];
    }
    let output = run(Command::new(BIN)
        .args(["rules", "check", "--json"])
        .arg(&path));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("check prints JSON");
    if answer["missing"].as_array().is_some_and(|m| !m.is_empty()) {
        skipped(&format!(
            "falco_rules.yaml waits for the fields {}",
            answer["missing"]
        ));
        return vec![ours];
    }
    vec![
        ours,
        Rules {
            name: "falco",
            path,
        },
    ]
}

/// An alert.
#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) rule: String,
    pub(crate) priority: String,
    pub(crate) output: String,
    time: String,
}

/// A folder that is seen from containers as /scratch, with the actor in it.
pub(crate) struct Stage {
    folder: TempDir,
    image: Option<Image>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        // on the file system of /etc, for hard links
        let folder = tempfile::Builder::new()
            .prefix("lanner-scenarios")
            .tempdir_in("/var/tmp")
            .expect("a folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("the folder is ours");
        let source = folder.path().join("actor.c");
        fs::write(&source, include_str!("actor.c")).expect("written");
        let status = Command::new("cc")
            .args(["-O1", "-static", "-o"])
            .arg(folder.path().join("actor"))
            .arg(&source)
            .status()
            .expect("cc");
        assert!(status.success(), "the actor can be compiled");
        Self {
            folder,
            image: None,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn actor(&self) -> PathBuf {
        self.folder().join("actor")
    }

    /// The image's name, where containers can be had.
    pub(crate) fn image(&mut self) -> Option<String> {
        if self.image.is_none() {
            self.image = Image::new(self.folder(), &self.actor());
        }
        self.image.as_ref().map(|image| image.0.clone())
    }

    /// Runs `sh script` below a lanner with this driver and all these rules, and sorts its alerts by what
    /// happened when.
    pub(crate) fn watch(&self, driver: &str, rules: &[Rules], script: &str) -> Vec<Alert> {
        let file = self.folder().join(format!("{driver}.sh"));
        fs::write(&file, script).expect("written");
        let config = self.folder().join("lanner.yaml");
        fs::write(&config, "rule_matching: all\njson_output: true\n").expect("written");
        let marker = self.folder().join("marker.yaml");
        let text = format!(
            "- rule: marker\n  desc: a scenario begins\n  condition: >\n    evt.type in (open, openat) and \
             fd.name startswith {}/mark-\n  output: '%fd.name'\n  priority: DEBUG\n",
            self.folder().display()
        );
        fs::write(&marker, text).expect("written");
        let mut lanner = Command::new(BIN);
        lanner.args(["run", "--driver", driver, "--buffer", "32M", "-c"]);
        lanner.arg(&config).arg("-r").arg(&marker);
        for rules in rules {
            lanner.arg("-r").arg(&rules.path);
        }
        lanner.arg("--").arg("/bin/sh").arg("-e").arg(&file);
        let output = run(&mut lanner);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{driver}: {said}");
        assert!(!said.contains(" lost ("), "{driver}: {said}");
        let mut alerts: Vec<Alert> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|alert| {
                let text = |key: &str| alert[key].as_str().map(str::to_owned);
                Some(Alert {
                    rule: text("rule")?,
                    priority: text("priority")?,
                    output: text("output")?,
                    time: text("time")?,
                })
            })
            .collect();
        assert!(!alerts.is_empty(), "{driver} saw nothing: {said}");
        // one that waits for what a container's runtime says comes later
        alerts.sort_by(|a, b| a.time.cmp(&b.time));
        alerts
    }
}

/// An image of busybox and the actor.
struct Image(String);

impl Image {
    fn new(folder: &Path, actor: &Path) -> Option<Self> {
        if !is_root() {
            skipped("containers: podman runs as root here");
            return None;
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(busybox) = busybox else {
            skipped("containers: there is no busybox for their image");
            return None;
        };
        let root = folder.join("root");
        for name in ["bin", "scratch", "etc", "tmp"] {
            fs::create_dir_all(root.join(name)).expect("a new folder");
        }
        fs::copy(busybox, root.join("bin/busybox")).expect("busybox can be read");
        fs::copy(actor, root.join("bin/actor")).expect("the actor was built");
        for library in libraries(busybox) {
            let inside = root.join(library.strip_prefix("/").expect("ldd prints whole paths"));
            fs::create_dir_all(inside.parent().expect("a folder")).expect("folders can be made");
            fs::copy(library, inside).expect("the library can be read");
        }
        for name in ["sh", "cp", "ln", "nc", "true"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
        }
        // every stage has its own, as each is removed when its stage ends
        let tag = folder.file_name().and_then(OsStr::to_str);
        let name = format!("localhost/scenario:{}", tag.expect("a text"));
        let archive = folder.join("root.tar");
        let status = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status()
            .expect("tar");
        assert!(status.success());
        let imported = Command::new("podman")
            .args(["import", "-q"])
            .arg(&archive)
            .arg(&name)
            .stdin(Stdio::null())
            .output();
        let image = Self(name);
        match imported {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                skipped(&format!("containers: podman imports no image: {why}"));
                return None;
            }
            Err(error) => {
                skipped(&format!("containers: podman: {error}"));
                return None;
            }
        }
        let output = run(Command::new("sh")
            .arg("-c")
            .arg(podman(&image.0, &[], "true")));
        if output.status.success() {
            return Some(image);
        }
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        skipped(&format!("containers: podman cannot run one here: {why}"));
        None
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("podman")
            .args(["rmi", "-f", self.0.as_str()])
            .output();
    }
}

/// The shell's words that run a script in a container. crun does not get along with every cgroup layout, and the
/// limits of podman's own choice need CAP_SYS_RESOURCE.
pub(crate) fn podman(image: &str, options: &[&str], script: &str) -> String {
    format!(
        "podman run --rm --pull=never --runtime=runc --network=none --ulimit nofile=20000:20000 --ulimit nproc=20000:20000 {} \
         {image} sh -ec 'D=/scratch A=/bin/actor; {script}' </dev/null",
        options.join(" ")
    )
}

/// The libraries of a program, its loader among them.
fn libraries(program: &str) -> BTreeSet<PathBuf> {
    let output = run(Command::new("ldd").arg(program));
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/') && Path::new(word).is_file())
        .map(PathBuf::from)
        .collect()
}
