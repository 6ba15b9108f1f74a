//! Real runtimes that are asked about their containers: dockerd, containerd as Kubernetes uses it, podman's service.
//!
//! All of them run below a folder of the test, which lanner takes for the host's root: there it finds their
//! sockets, and nothing of podman's files.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use test_support::peers::{CRI, python};
use test_support::skipped;

use crate::containers::{Watcher, archive, possible};
use crate::lanner::{BIN, usable};

const RULES: &str = r#"
- rule: Container exec
  desc: A program runs in a container.
  condition: evt.type in (execve, execveat) and evt.failed = false and container.id != host and proc.args contains marker
  output: "%container.id %container.full_id %container.type %container.name %container.image.repository
    %container.image.tag %container.label[tier] %container.privileged %container.mount.dest[/srv*] %container.host_network
    %proc.exepath %k8s.pod.name %k8s.ns.name %k8s.pod.uid %k8s.pod.label[app] %k8s.pod.full_sandbox_id"
  priority: INFO
"#;

const IMAGE: &str = "docker.io/library/lanner-test:one";
/// Of the pod that cri.py makes.
const POD_UID: &str = "2b0e4b6e-0000-4000-8000-000000000001";
/// What runs in every container: long enough that no reader is late.
const WORK: &str = "true marker; exec sleep 1";

/// Processes that end with the test, last started first.
struct Stage {
    folder: tempfile::TempDir,
    path: std::ffi::OsString,
    services: Vec<Child>,
}

impl Stage {
    fn new(tools: &Path) -> Self {
        let mut path = std::env::join_paths([tools.join("usr/bin"), tools.join("usr/sbin")])
            .expect("no colon in it");
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let folder = tempfile::tempdir().expect("a folder");
        for inner in ["run/containerd", "run/podman"] {
            fs::create_dir_all(folder.path().join("root").join(inner)).expect("a folder");
        }
        Self {
            folder,
            path,
            services: Vec::new(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).to_str().expect("UTF-8").to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("PATH", &self.path)
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.text("root/run/docker.sock")),
            )
            .stdin(Stdio::null());
        command
    }

    /// Starts a service, and waits for its socket.
    fn serve(&mut self, program: &str, args: &[String], socket: &str) {
        let log = self.at(&format!("{program}.log"));
        let child = self
            .command(program)
            .args(args)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("it can be started");
        self.services.push(child);
        let begin = Instant::now();
        while UnixStream::connect(self.at(socket)).is_err() {
            let patient = begin.elapsed() < Duration::from_secs(60);
            assert!(
                patient,
                "{program}: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a program prints, which succeeds.
    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self
            .command(program)
            .args(args)
            .output()
            .expect("it can be started");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn containerd(&mut self) {
        let at = |name: &str| self.text(name);
        let config = format!(
            r#"
version = 2
root = "{}"
state = "{}"
[grpc]
  address = "{}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  stream_server_port = "0"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "{}"
    bin_dir = "{}"
"#,
            at("containerd-root"),
            at("containerd-state"),
            at(CONTAINERD),
            at("opt"),
            at("cni"),
            at("cni"),
        );
        let file = self.text("containerd.toml");
        fs::write(&file, config).expect("written");
        self.serve("containerd", &["-c".to_owned(), file], CONTAINERD);
    }

    fn dockerd(&mut self) {
        let args = [
            format!("--containerd={}", self.text(CONTAINERD)),
            format!("--data-root={}", self.text("docker-data")),
            format!("--exec-root={}", self.text("docker-exec")),
            format!("--pidfile={}", self.text("docker.pid")),
            format!("--host=unix://{}", self.text(DOCKER)),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            "--bridge=none".to_owned(),
            "--storage-driver=vfs".to_owned(),
        ];
        self.serve("dockerd", &args, DOCKER);
    }

    fn podman(&mut self) {
        let args = ["system", "service", "--time=0"].map(str::to_owned);
        let socket = format!("unix://{}", self.text(PODMAN));
        self.serve("podman", &[args.as_slice(), &[socket]].concat(), PODMAN);
    }

    /// The image, in all three.
    fn image(&self) {
        let archive = archive(self.folder.path());
        let archive = archive.to_str().expect("UTF-8");
        let changes = [
            "--change",
            r#"CMD ["/bin/sleep","600"]"#,
            "--change",
            "ENV PATH=/bin",
        ];
        let import = [
            &["import"],
            changes.as_slice(),
            &[archive, "lanner-test:one"],
        ]
        .concat();
        self.run("docker", &import);
        let saved = self.text("saved.tar");
        self.run("docker", &["save", "lanner-test:one", "-o", &saved]);
        let ctr = ["-a", &self.text(CONTAINERD), "-n", "k8s.io"];
        let import = ["images", "import", "--snapshotter", "native", &saved];
        self.run("ctr", &[ctr.as_slice(), &import].concat());
        let import = [&["import", "-q"], changes.as_slice(), &[archive, IMAGE]].concat();
        self.run("podman", &import);
    }

    /// A pod of one container, made and removed as the kubelet does; its id and the container's.
    fn pod(&self, python: &str) -> (String, String) {
        let socket = self.text(CONTAINERD);
        let parent = format!("/kubepods/burstable/pod{POD_UID}");
        let call = |args: &[&str]| {
            let fixed = ["-B", CRI, &socket];
            self.run(python, &[fixed.as_slice(), args].concat())
        };
        let made = call(&["run", IMAGE, &parent, "sh", "-c", WORK]);
        let (pod, container) = made.split_once(' ').expect("two ids");
        call(&["remove", pod]);
        (pod.to_owned(), container.to_owned())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = Command::new("podman").args(["rmi", "-f", IMAGE]).output();
        for mut service in self.services.drain(..).rev() {
            let pid = nix::unistd::Pid::from_raw(service.id().cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = service.wait();
        }
        // they leave namespaces mounted, and after a failure more than that
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(self.folder.path())) {
            let _ = Command::new("umount").args(["-l", point]).output();
        }
    }
}

const CONTAINERD: &str = "root/run/containerd/containerd.sock";
const DOCKER: &str = "root/run/docker.sock";
const PODMAN: &str = "root/run/podman/podman.sock";

/// Where Docker and containerd are: installed, or as tools/runtimes has unpacked them.
fn tools() -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/runtimes");
    [PathBuf::from("/"), unpacked]
        .into_iter()
        .find(|root| root.join("usr/sbin/dockerd").exists() && root.join("usr/bin/ctr").exists())
}

#[test]
fn docker_containerd_and_podman_tell_what_they_run() {
    if !possible() {
        return;
    }
    let Some(tools) = tools() else {
        return skipped("Docker and containerd, which tools/runtimes unpacks");
    };
    let Some(python) = python() else { return };
    let mut stage = Stage::new(&tools);
    stage.containerd();
    stage.dockerd();
    stage.podman();
    stage.image();
    let rules = stage.at("rules.yaml");
    fs::write(&rules, RULES).expect("written");
    let root = stage.at("root");
    for driver in usable().into_iter().filter(|driver| *driver != "ptrace") {
        let lanner = &mut Command::new(BIN);
        let watcher = Watcher::with(driver, &rules, lanner.env("LANNER_HOST_ROOT", &root));

        let options = [
            "run",
            "--rm",
            "--network=host",
            "--label=tier=back",
            "--volume=/srv:/srv:ro",
        ];
        let work = ["lanner-test:one", "sh", "-c", WORK];
        let named = ["--name=docker-one"];
        stage.run("docker", &[options.as_slice(), &named, &work].concat());
        let fields = watcher.next("docker-one", "/bin/busybox");
        assert_eq!(fields["container.type"], "docker", "{driver}");
        assert_eq!(fields["container.image.repository"], "lanner-test");
        assert_eq!(fields["container.image.tag"], "one", "{driver}");
        assert_eq!(fields["container.label[tier]"], "back", "{driver}");
        assert_eq!(fields["container.mount.dest[/srv*]"], "/srv", "{driver}");
        assert_eq!(fields["container.host_network"], true, "{driver}");
        assert_eq!(fields["container.privileged"], false, "{driver}");

        let limits = [
            "--runtime=runc",
            "--ulimit=nofile=20000:20000",
            "--ulimit=nproc=20000:20000",
        ];
        let named = ["--name=podman-one"];
        let work = [IMAGE, "sh", "-c", WORK];
        let all = [options.as_slice(), &limits, &named, &work].concat();
        stage.run("podman", &all);
        let fields = watcher.next("podman-one", "/bin/busybox");
        assert_eq!(fields["container.type"], "podman", "{driver}");
        assert_eq!(fields["container.label[tier]"], "back", "{driver}");
        assert_eq!(fields["container.image.tag"], "one", "{driver}");
        assert_eq!(fields["container.mount.dest[/srv*]"], "/srv", "{driver}");

        let (pod, container) = stage.pod(python);
        let fields = watcher.next("server", "/bin/busybox");
        assert_eq!(fields["container.type"], "containerd", "{driver}");
        assert_eq!(fields["container.full_id"], container, "{driver}");
        assert_eq!(
            fields["container.image.repository"],
            "docker.io/library/lanner-test"
        );
        assert_eq!(fields["container.label[tier]"], "front", "{driver}");
        assert_eq!(fields["k8s.pod.name"], "web-0", "{driver}");
        assert_eq!(fields["k8s.ns.name"], "shop", "{driver}");
        assert_eq!(fields["k8s.pod.uid"], POD_UID, "{driver}");
        assert_eq!(fields["k8s.pod.label[app]"], "web", "{driver}");
        assert_eq!(fields["k8s.pod.full_sandbox_id"], pod, "{driver}");
    }
}
