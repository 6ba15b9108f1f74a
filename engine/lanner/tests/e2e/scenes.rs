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

/// What is compared beside [`EVENTS`] of commands that do the same in every run: all of it tells of memory
/// that calls point to. `getdents64`, `poll`, `mmap2` and `_llseek` are written differently, and `select` changes its sets before
/// it returns.
const MORE: &str = "access,faccessat,faccessat2,stat,lstat,fstat,newfstatat,statx,statfs,fstatfs,mmap,mprotect,munmap,\
    brk,madvise,rt_sigaction,rt_sigprocmask,sigaltstack,prlimit64,getrlimit,arch_prctl,set_robust_list,rseq,futex,\
    getuid,geteuid,getgid,getegid,getresuid,getresgid,getgroups,uname,umask,getcwd,readlink,readlinkat,lseek,fcntl,\
    flock,ioctl,read,pread64,pwrite64,writev,readv,getsockname,getpeername,setsockopt,getsockopt,sendto,recvfrom,\
    sendmsg,recvmsg,sendmmsg,recvmmsg,ftruncate,truncate,fsync,fdatasync,fadvise64,utimensat,eventfd2,epoll_create1,\
    epoll_ctl,inotify_init1,timerfd_create,timerfd_settime,sched_getaffinity,prctl,capget,clock_getres,shmget,semget,\
    msgget,setitimer,getitimer,personality,getpriority,setpriority,ioprio_get,sched_getscheduler,sched_getparam,\
    memfd_create,process_vm_readv,setxattr,getxattr,listxattr,removexattr,setrlimit,getsid,getpgid,mincore,mlock,\
    munlock,msync,close,fcntl64,stat64,lstat64,fstat64,fstatat64,statfs64,fstatfs64,ugetrlimit,getuid32,\
    geteuid32,getgid32,getegid32,setuid32,setresuid32,clock_nanosleep_time64,utimensat_time64,pwritev,preadv,truncate64,\
    ftruncate64,rt_sigtimedwait_time64,timerfd_settime64,clock_gettime64";

/// A command to watch, in a folder that is made anew for each run under the same name.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// It does the same calls, in the same order, in every run, but for these.
    steady: Option<&'static [&'static str]>,
    /// What it needs, beside what every test needs.
    needs: &'static str,
    folder: PathBuf,
    script: String,
}

impl Scene {
    /// The calls that are compared.
    pub(crate) fn events(&self) -> String {
        let events = EVENTS.replace(' ', "");
        let Some(random) = self.steady else {
            return events;
        };
        let more = MORE.replace(' ', "");
        let more: Vec<&str> = more
            .split(',')
            .filter(|name| !random.contains(name))
            .collect();
        format!("{events},{}", more.join(","))
    }

    /// Whether its program is installed.
    pub(crate) fn can_run(&self) -> bool {
        self.needs.is_empty()
            || Command::new("sh")
                .args(["-c", &format!("command -v {}", self.needs)])
                .stdout(std::process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
    }

    /// The command, after putting its folder back to its beginning.
    pub(crate) fn command(&self) -> Vec<String> {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder).expect("the scene's folder can be made");
        self.furnish();
        let script = format!(
            "PATH=/usr/local/bin:/usr/bin:/bin; cd {} && exec </dev/null >/dev/null 2>&1 && {}",
            self.folder.display(),
            self.script
        );
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
        put("served.py", SERVED);
        put("calls.py", CALLS);
        put("narrow.c", NARROW);
        let compiled: &[&str] = match self.name {
            "threads" => &["-pthread", "-o", "threads", "threads.c"],
            "narrow" => &["-m32", "-o", "narrow", "narrow.c"],
            _ => return,
        };
        let status = Command::new("cc")
            .arg("-O1")
            .args(compiled)
            .current_dir(&self.folder)
            .status()
            .expect("cc can be run");
        assert!(status.success(), "cc compiles the scene");
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

/// A 32-bit program: other numbers, other names, pointers and structures of 4 bytes a word, and 64-bit
/// arguments in two registers.
const NARROW: &str = r#"
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
int main(void)
{
	int fd = open("hello.c", O_RDWR | O_CLOEXEC), ends[2], passed[2] = {0, 1};
	char room[100], control[CMSG_SPACE(sizeof passed)];
	struct iovec parts[3] = {{"ab", 2}, {0, 0}, {"cde", 3}}, into[2] = {{room, 1}, {room + 10, 20}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3, .msg_control = control, .msg_controllen = sizeof control};
	struct stat stat;
	struct statfs fs;
	struct rlimit limit;
	struct flock lock = {.l_type = F_WRLCK, .l_start = 5000000000LL, .l_len = 7};
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1234567890ULL};
	struct itimerspec timer = {.it_value.tv_sec = 1000};
	struct sigaction action = {.sa_handler = SIG_IGN, .sa_flags = SA_RESTART};
	/* the C library would go through socketcall(2), which strace takes apart */
	syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ends);
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof passed);
	memcpy(CMSG_DATA(head), passed, sizeof passed);
	syscall(SYS_sendmsg, ends[0], &message, 0);
	message.msg_iov = into, message.msg_iovlen = 2;
	syscall(SYS_recvmsg, ends[1], &message, 0);
	writev(fd, parts, 3), readv(fd, into, 2), pread(fd, room, 5, 3), pwrite(fd, "xy", 2, 4294967296LL + 4);
	pwritev(fd, parts, 3, 4294967296LL + 9), preadv(fd, into, 2, 1);
	fstat(fd, &stat), statfs(".", &fs), getrlimit(RLIMIT_NOFILE, &limit), lseek(fd, 4294967296LL, SEEK_SET);
	fcntl(fd, F_SETLK, &lock), fcntl(fd, F_GETFL), ftruncate(fd, 4294967296LL + 1), truncate("hello.c", 10);
	int epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
	int alarm = timerfd_create(CLOCK_MONOTONIC, 0);
	timerfd_settime(alarm, 0, &timer, 0);
	sigaction(SIGUSR1, &action, 0), getuid(), setresuid(-1, -1, -1);
	mmap(0, 8192, PROT_READ, MAP_PRIVATE, fd, 4096);
	struct timespec times[2] = {{1, 2}, {3, 4}};
	futimens(fd, times);
	close(fd);
	return 0;
}
"#;

/// A server that serves one program that it starts itself, and ends with it.
const SERVED: &str = r#"
import http.server, os, subprocess, sys, threading
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
    def date_time_string(self, timestamp=None): return "now"
server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
served = threading.Thread(target=server.handle_request); served.start()
status = subprocess.run([word.replace("PORT", str(server.server_port)) for word in sys.argv[1:]]).returncode
served.join(); sys.exit(status)
"#;

/// Calls with memory of many kinds.
const CALLS: &str = r#"
import fcntl, os, resource, signal, socket, struct, sys
left, right = socket.socketpair()
socket.send_fds(left, [b"two", b"parts"], [0, 1]); socket.recv_fds(right, 100, 4)
left.sendmsg([b"a", b"", b"bc"]); right.recvmsg_into([bytearray(1), bytearray(10)])
right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 2))
right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
left.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12); left.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
left.send(b"credentials"); right.recvmsg(100, 100)
inet = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
inet.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); inet.bind(("::1", 0, 5, 0)); inet.getsockname()
file = os.open("hello.c", os.O_RDWR)
fcntl.lockf(file, fcntl.LOCK_EX, 10, 3); fcntl.flock(file, fcntl.LOCK_SH)
fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND); fcntl.fcntl(file, fcntl.F_GETFL)
fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 50); fcntl.fcntl(file, fcntl.F_SETFD, 1)
os.writev(file, [b"x" * 50, b"y" * 60]); os.pwrite(file, b"z", 5); os.pread(file, 20, 0)
os.preadv(file, [bytearray(3), bytearray(4)], 1)
os.ftruncate(file, 100); os.utime(file, ns=(1, 2)); os.fsync(file); os.posix_fadvise(file, 0, 0, 0)
os.stat("hello.c"); os.lstat("."); os.statvfs("."); os.access("x", os.W_OK); os.getgroups(); os.uname()
os.umask(0o27); os.umask(0o22); os.getresuid(); os.getsid(0); os.getpgid(0); os.getpriority(0, 0)
resource.getrlimit(resource.RLIMIT_NOFILE); resource.setrlimit(resource.RLIMIT_CORE, (0, 1 << 20))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGRTMIN + 3]); signal.setitimer(0, 1000, 5)
os.sched_getaffinity(0); os.sched_getscheduler(0); os.readlink("/proc/self/cwd")
try: os.setxattr("hello.c", "user.lanner", b"value"); os.getxattr("hello.c", "user.lanner"); os.listxattr("hello.c")
except OSError: pass
for path in ["n" * 300, "/proc/self/nothing"]:
    try: os.open(path, os.O_RDONLY)
    except OSError: pass
"#;

/// The scenes, below a folder of the test's own.
fn all(below: &Path) -> Vec<Scene> {
    let scene = |name, steady, needs, script: &str| Scene {
        name,
        steady,
        needs,
        folder: below.join(name),
        script: script.to_owned(),
    };
    vec![
        scene(
            "first",
            Some(&[]),
            "",
            "cat /etc/hosts; ls /nonexistent; touch x; rm x",
        ),
        scene("python", None, "", "python3 -E -s sockets.py"),
        // with its own allocator, python maps more memory where addresses are less lucky
        scene(
            "calls",
            Some(&[]),
            "",
            "exec env -i PATH=$PATH PYTHONMALLOC=malloc PYTHONHASHSEED=0 python3 -s calls.py",
        ),
        // git reads a file again that is as young as its index, so this one is older
        scene(
            "git",
            None,
            "",
            "export GIT_CONFIG_NOSYSTEM=1 HOME=. GIT_AUTHOR_DATE='1 +0000' GIT_COMMITTER_DATE='1 +0000'; \
             git init -q -b main repo && cp hello.c repo && cd repo && touch -d 2020-01-01 hello.c && git add hello.c && \
             git -c user.name=n -c user.email=e -c gc.auto=0 -c maintenance.auto=false commit -q -m first && \
             git log --oneline | cat",
        ),
        scene("gcc", None, "", "gcc -pipe -O1 -o hello hello.c && ./hello"),
        scene(
            "tar",
            None,
            "",
            "mkdir in out && cp hello.c threads.c in && tar cf - in | tar xf - -C out && ls out/in",
        ),
        scene(
            "archive",
            Some(&[]),
            "",
            "tar --mtime=@1 -cf a.tar hello.c threads.c && tar tf a.tar",
        ),
        scene(
            "pipeline",
            None,
            "",
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34; \
             do seq 50 | tr 1 2 | sort | uniq -c | sort -n | tail -n 1 >>result; done; cat result | sort -u",
        ),
        scene("threads", None, "", "./threads"),
        scene("narrow", Some(&[]), "", "exec ./narrow"),
        scene(
            "curl",
            None,
            "curl",
            "python3 -E -s served.py curl -q -s -o page http://127.0.0.1:PORT/hello.c && cmp page hello.c",
        ),
        scene(
            "sqlite",
            Some(&["read", "pwrite64", "pread64"]),
            "sqlite3",
            "export HOME=.; sqlite3 x.db 'create table t(a); insert into t values(1),(2); select count(*) from t; \
             delete from t; vacuum;'",
        ),
        scene(
            "openssl",
            Some(&[]),
            "openssl",
            "openssl dgst -sha256 hello.c && openssl enc -aes-128-cbc -K 00 -iv 00 -in hello.c -out x 2>/dev/null",
        ),
        scene(
            "perl",
            Some(&["read"]),
            "perl",
            r#"PERL_HASH_SEED=0 exec perl -e 'open F, ">x"; print F "text"; close F; my @s = stat "x"; chmod 0600, "x"; rename "x", "y"; opendir D, "."; closedir D; unlink "y"'"#,
        ),
        scene(
            "node",
            None,
            "node",
            "exec setarch -R node -e 'const fs = require(\"fs\"); fs.writeFileSync(\"x\", fs.readFileSync(\"hello.c\")); \
             fs.renameSync(\"x\", \"y\"); fs.mkdirSync(\"d\"); fs.rmdirSync(\"d\")'",
        ),
    ]
}

/// The scenes, or the one that `LANNER_SCENE` names.
pub(crate) fn chosen(below: &Path) -> Vec<Scene> {
    let one = std::env::var("LANNER_SCENE").ok();
    let mut scenes = all(below);
    scenes.retain(|scene| one.as_deref().is_none_or(|name| name == scene.name));
    scenes
}
