//! The commands that are watched: small and large, with threads, sockets, pipelines and compilers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The calls that are compared. Those whose number depends on timing (read, write on pipes, wait) or
/// that ask for nothing but memory are left to the conformance suite.
pub(crate) const EVENTS: &str = "open,openat,openat2,creat,execve,execveat,connect,bind,listen,accept,accept4,socket,\
    socketpair,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,chmod,\
    fchmod,fchmodat,chown,fchown,chdir,fchdir,dup,dup2,dup3,pipe,pipe2,clone,clone3,fork,vfork,kill,tgkill,\
    setuid,setgid,setns,unshare,memfd_create,ptrace,exit_group";

/// A command to watch, in a folder that is made anew for each run under the same name.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    folder: PathBuf,
    script: String,
}

impl Scene {
    /// The command, after putting its folder back to its beginning.
    pub(crate) fn command(&self) -> Vec<String> {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder).expect("the scene's folder can be made");
        self.furnish();
        let script = format!("cd {} && {}", self.folder.display(), self.script);
        ["sh", "-c", &script].map(str::to_owned).into()
    }

    fn furnish(&self) {
        let put = |name: &str, text: &str| {
            fs::write(self.folder.join(name), text).expect("a file can be written");
        };
        put(
            "hello.c",
            "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n",
        );
        put("threads.c", THREADS);
        put("sockets.py", SOCKETS);
        if self.name == "threads" {
            let status = Command::new("cc")
                .args(["-O1", "-pthread", "-o", "threads", "threads.c"])
                .current_dir(&self.folder)
                .status()
                .expect("cc can be run");
            assert!(status.success(), "cc compiles the scene");
        }
    }
}

const THREADS: &str = r#"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *work(void *number)
{
	char path[64];
	for (int i = 0; i < 50; i++) {
		snprintf(path, sizeof path, "t%ld-%d", (long)number, i);
		/* one at a time, so that descriptors have the same number in every run */
		pthread_mutex_lock(&lock);
		int fd = open(path, O_CREAT | O_RDWR, 0600);
		close(fd);
		pthread_mutex_unlock(&lock);
		unlink(path);
	}
	return 0;
}
int main(void)
{
	pthread_t threads[8];
	for (long i = 0; i < 8; i++)
		pthread_create(&threads[i], 0, work, (void *)i);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], 0);
	return 0;
}
"#;

const SOCKETS: &str = r#"
import os, socket, subprocess, threading
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
served, _ = server.accept()
client.sendall(b"question"); served.recv(100); served.sendall(b"answer"); client.recv(100)
unix = socket.socket(socket.AF_UNIX); unix.bind("socket"); unix.listen()
other = socket.socket(socket.AF_UNIX); other.connect("socket"); unix.accept()
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); datagram.connect(("127.0.0.1", 9))
os.memfd_create("scene")
for at in range(5):
    os.mkdir("d%d" % at); os.symlink("hello.c", "d%d/link" % at); open("d%d/link" % at).close()
os.rename("d0", "e0"); os.chmod("hello.c", 0o600); os.unlink("d1/link"); os.rmdir("d1")
try: open("/etc/../etc/nonexistent")
except OSError: pass
subprocess.run(["true"]); subprocess.run(["sh", "-c", "exit 3"])
"#;

/// The scenes, below a folder of the test's own.
pub(crate) fn all(below: &Path) -> Vec<Scene> {
    let scene = |name, script: &str| Scene {
        name,
        folder: below.join(name),
        script: script.to_owned(),
    };
    vec![
        scene("first", "cat /etc/hosts; ls /nonexistent; touch x; rm x"),
        scene("python", "python3 -E -s sockets.py"),
        scene(
            "git",
            "export GIT_CONFIG_NOSYSTEM=1 HOME=. GIT_AUTHOR_DATE='1 +0000' GIT_COMMITTER_DATE='1 +0000'; \
             git init -q -b main repo && cp hello.c repo && cd repo && git add hello.c && \
             git -c user.name=n -c user.email=e -c gc.auto=0 -c maintenance.auto=false commit -q -m first && \
             git log --oneline | cat",
        ),
        scene("gcc", "gcc -pipe -O1 -o hello hello.c && ./hello"),
        scene(
            "tar",
            "mkdir in out && cp hello.c threads.c in && tar cf - in | tar xf - -C out && ls out/in",
        ),
        scene(
            "pipeline",
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; \
             do seq 50 | tr 1 2 | sort | uniq -c | sort -n | tail -n 1 >>result; done; cat result | sort -u",
        ),
        scene("threads", "./threads"),
    ]
}
