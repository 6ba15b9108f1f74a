//! What the script's calls work on: files, sockets and other descriptors, all of them under one folder or
//! that no other process knows.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use driver_api::event::Abi;
use driver_api::table;

use crate::raw;

/// Descriptors without a state of their own are made once; the others are made anew for each case.
#[derive(Debug)]
pub(crate) struct Scenery {
    folder: PathBuf,
    kept: HashMap<String, i32>,
    fresh: Vec<i32>,
    maps: Vec<(usize, usize)>,
    /// What is not a descriptor: its sort and its id.
    objects: Vec<(String, i32)>,
    names: usize,
    aio: HashMap<Abi, u64>,
}

fn must(fd: i32) -> i32 {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    fd
}

impl Scenery {
    pub(crate) fn new(folder: &Path) -> Self {
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(1 << 16).collect();
        fs::write(folder.join("file"), text).expect("the folder can be written to");
        std::os::unix::fs::symlink("file", folder.join("link")).expect("links can be made");
        fs::create_dir(folder.join("dir")).expect("folders can be made");
        Self {
            folder: folder.to_owned(),
            kept: HashMap::new(),
            fresh: Vec::new(),
            maps: Vec::new(),
            objects: Vec::new(),
            names: 0,
            aio: HashMap::new(),
        }
    }

    /// Closes and removes what was made for one case.
    pub(crate) fn clear(&mut self) {
        // SAFETY: descriptors and mappings that were made for the case alone. Some
        // are gone already: that was the case.
        unsafe {
            self.fresh.drain(..).for_each(|fd| {
                libc::close(fd);
            });
            self.maps.drain(..).for_each(|(at, len)| {
                libc::munmap(at as *mut libc::c_void, len);
            });
            self.objects
                .drain(..)
                .for_each(|(sort, id)| match sort.as_str() {
                    "queue" => {
                        libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut());
                    }
                    "sems" => {
                        libc::semctl(id, 0, libc::IPC_RMID);
                    }
                    "shm" => {
                        libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
                    }
                    "timer" => {
                        libc::syscall(libc::SYS_timer_delete, id);
                    }
                    _ => {
                        libc::waitpid(id, std::ptr::null_mut(), 0);
                    }
                });
        }
    }

    /// A path under the folder; `+`: one that was not used before.
    pub(crate) fn path(&mut self, name: &str) -> Vec<u8> {
        let name = if name == "+" {
            self.names += 1;
            format!("new-{}", self.names)
        } else {
            name.to_owned()
        };
        self.folder.join(name).as_os_str().as_bytes().to_vec()
    }

    fn c_path(&mut self, name: &str) -> CString {
        CString::new(self.path(name)).expect("no NUL")
    }

    /// A mapping of its own below 4 GiB.
    pub(crate) fn map(&mut self, len: usize) -> u64 {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | crate::arena::MAP_LOW;
        // SAFETY: a new mapping.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) } as usize;
        self.maps.push((at, len));
        at as u64
    }

    /// Makes an object that has a number: one of System V, a timer, or a child that ends with status 3.
    pub(crate) fn object(&mut self, sort: &str) -> u64 {
        // SAFETY: new objects, which no other code knows; the message is as long as it is said to be.
        let id = unsafe {
            match sort {
                "queue" => {
                    let id = libc::msgget(libc::IPC_PRIVATE, 0o600);
                    let mut message = [1_u64; 12];
                    libc::msgsnd(id, message.as_mut_ptr().cast(), 88, 0);
                    id
                }
                "sems" => libc::semget(libc::IPC_PRIVATE, 2, 0o600),
                "shm" => libc::shmget(libc::IPC_PRIVATE, 4096, 0o600),
                "timer" => {
                    let mut id = 0_i32;
                    let to = &raw mut id;
                    let no_event = std::ptr::null::<u8>();
                    libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, no_event, to);
                    id
                }
                _ => match libc::fork() {
                    0 => libc::_exit(3),
                    child => child,
                },
            }
        };
        self.objects.push((sort.to_owned(), must(id)));
        i64::from(id).cast_unsigned()
    }

    /// The descriptor of this name.
    pub(crate) fn fd(&mut self, name: &str) -> i32 {
        if let Some(fd) = self.kept.get(name) {
            return *fd;
        }
        let (fd, keep) = self.make(name);
        if keep {
            self.kept.insert(name.to_owned(), fd);
        } else {
            self.fresh.push(fd);
        }
        fd
    }

    /// Makes a descriptor, and says whether all cases can use it.
    fn make(&mut self, name: &str) -> (i32, bool) {
        let file = self.c_path("file");
        let folder = self.c_path("dir");
        let exe = self.c_path("unix");
        // SAFETY: calls with numbers, and with strings and arrays that outlive them.
        unsafe {
            match name {
                "file" => (must(libc::open(file.as_ptr(), libc::O_RDWR)), true),
                "dup" => (must(libc::open(file.as_ptr(), libc::O_RDWR)), false),
                "dir" => (must(libc::open(folder.as_ptr(), libc::O_DIRECTORY)), true),
                "newdir" => (must(libc::open(folder.as_ptr(), libc::O_DIRECTORY)), false),
                "null" => (must(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR)), true),
                "zero" => (must(libc::open(c"/dev/zero".as_ptr(), libc::O_RDWR)), true),
                "tty" => (
                    must(libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY)),
                    false,
                ),
                "read" => (self.pipe(true), false),
                "write" => (self.pipe(false), false),
                "sock" => (self.pair(libc::SOCK_STREAM), false),
                "rights" => (self.rights(), false),
                "dgram" => (self.pair(libc::SOCK_DGRAM), false),
                "named" => (self.named(), false),
                "tcp" => (
                    must(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)),
                    false,
                ),
                "hasty" => {
                    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
                    (must(libc::socket(libc::AF_INET, kind, 0)), false)
                }
                "tcp6" => (
                    must(libc::socket(libc::AF_INET6, libc::SOCK_STREAM, 0)),
                    false,
                ),
                "busy" => (self.busy(), false),
                "route" => (
                    must(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0)),
                    false,
                ),
                "udp" => (
                    must(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)),
                    false,
                ),
                "unix" => (
                    must(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)),
                    false,
                ),
                "listener" => (self.listener(true), false),
                "server" => (self.server(exe.as_bytes()), true),
                "epoll" => (self.epoll(), false),
                "idle" => (must(libc::epoll_create1(0)), true),
                "event" => (must(libc::eventfd(5, libc::EFD_NONBLOCK)), false),
                "timer" => (must(libc::timerfd_create(libc::CLOCK_MONOTONIC, 0)), false),
                "inotify" => (must(libc::inotify_init1(libc::IN_NONBLOCK)), false),
                "mq" => (self.queue(), false),
                "memfd" => (must(libc::memfd_create(c"suite".as_ptr(), 2)), false),
                "pidfd" => {
                    let fd = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
                    (fd as i32, false)
                }
                other => panic!("scenes.tbl names an unknown descriptor: {other}"),
            }
        }
    }

    /// One end of a pipe that holds 100 bytes; the other end stays open.
    unsafe fn pipe(&mut self, read: bool) -> i32 {
        let mut ends = [0; 2];
        // SAFETY: an array of two descriptors, and 100 bytes of data.
        unsafe {
            must(libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK));
            libc::write(ends[1], [b'p'; 100].as_ptr().cast(), 100);
        }
        let [first, second] = ends;
        self.fresh.push(if read { second } else { first });
        if read { first } else { second }
    }

    /// One end of a socket pair, at which 100 bytes wait; the other end stays open.
    unsafe fn pair(&mut self, kind: i32) -> i32 {
        let mut ends = [0; 2];
        // SAFETY: an array of two descriptors, and 100 bytes of data.
        unsafe {
            let kind = kind | libc::SOCK_NONBLOCK;
            must(libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()));
            libc::write(ends[1], [b's'; 100].as_ptr().cast(), 100);
        }
        self.fresh.push(ends[1]);
        ends[0]
    }

    /// A socket at which messages of a socket with a long name wait.
    unsafe fn named(&mut self) -> i32 {
        let name = self.path("+");
        let address = unix_address(&name);
        // SAFETY: an address and data that outlive the calls.
        unsafe {
            let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
            let fd = must(libc::socket(libc::AF_UNIX, kind, 0));
            let len = address.len() as u32;
            must(libc::bind(fd, address.as_ptr().cast(), len));
            let other = must(libc::socket(libc::AF_UNIX, kind, 0));
            self.fresh.push(other);
            let own = format!("\0lanner-suite-{}-{}", std::process::id(), self.names);
            let own = unix_address(own.as_bytes());
            must(libc::bind(other, own.as_ptr().cast(), own.len() as u32));
            must(libc::connect(other, address.as_ptr().cast(), len));
            for _ in 0..3 {
                libc::write(other, [b'n'; 100].as_ptr().cast(), 100);
            }
            fd
        }
    }

    /// A socket at which a message with a descriptor waits.
    unsafe fn rights(&mut self) -> i32 {
        let mut data = *b"a descriptor";
        let mut iov = libc::iovec {
            iov_base: data.as_mut_ptr().cast(),
            iov_len: data.len(),
        };
        let mut control = [
            20_u32,
            0,
            libc::SOL_SOCKET as u32,
            libc::SCM_RIGHTS as u32,
            0,
            0,
        ];
        // SAFETY: a message of arrays that outlive the call; sendmsg(2) reads them only.
        unsafe {
            let fd = self.pair(libc::SOCK_DGRAM);
            control[4] = fd as u32;
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut iov;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = 24;
            // removes the bytes that wait already
            let mut old = [0_u8; 100];
            libc::read(fd, old.as_mut_ptr().cast(), 100);
            let other = *self.fresh.last().expect("the other end has just been made");
            assert_eq!(libc::sendmsg(other, &raw const message, 0), 12);
            fd
        }
    }

    /// A listening Unix socket, with a connection that waits.
    unsafe fn busy(&mut self) -> i32 {
        let name = self.path("+");
        let address = unix_address(&name);
        // SAFETY: an address that outlives the call.
        unsafe {
            let server = self.server(&name);
            let client = must(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0));
            let len = address.len() as u32;
            must(libc::connect(client, address.as_ptr().cast(), len));
            self.fresh.push(client);
            server
        }
    }

    /// The context for asynchronous input and output that an ABI's calls share; `number` is 0, and below 4 GiB.
    pub(crate) fn aio(&mut self, abi: Abi, number: u64) -> u64 {
        *self.aio.entry(abi).or_insert_with(|| {
            let call = table::by_name("io_setup").expect("a call of the table");
            let nr = call.number(abi).expect("every ABI has it");
            // SAFETY: io_setup(2) writes the number it is given, at most eight bytes.
            unsafe {
                raw::call(abi, nr, &[8, number, 0, 0, 0, 0]);
                *(number as *const u64)
            }
        })
    }

    /// A listening TCP socket, with a connection that waits.
    unsafe fn listener(&mut self, connected: bool) -> i32 {
        // SAFETY: an address that outlives the calls.
        unsafe {
            let fd = must(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0));
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            address.sin_family = libc::AF_INET as u16;
            address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
            let mut len = 16;
            let to = (&raw mut address).cast();
            must(libc::bind(fd, to, len));
            must(libc::listen(fd, 8));
            must(libc::getsockname(fd, to, &raw mut len));
            if connected {
                let client = must(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0));
                must(libc::connect(client, to, len));
                self.fresh.push(client);
            }
            fd
        }
    }

    /// A queue of POSIX without a name, in which a message of 10 bytes waits.
    unsafe fn queue(&mut self) -> i32 {
        let name = format!("/lanner-suite-{}", std::process::id());
        let name = CString::new(name).expect("no NUL");
        // SAFETY: strings and arrays that outlive the calls.
        unsafe {
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_NONBLOCK;
            let attributes = std::ptr::null_mut::<libc::mq_attr>();
            let fd = must(libc::mq_open(name.as_ptr(), flags, 0o600, attributes));
            libc::mq_unlink(name.as_ptr());
            libc::mq_send(fd, [b'q'; 10].as_ptr().cast(), 10, 3);
            fd
        }
    }

    /// A Unix socket that listens under the folder.
    unsafe fn server(&mut self, path: &[u8]) -> i32 {
        let address = unix_address(path);
        // SAFETY: an address that outlives the calls.
        unsafe {
            let fd = must(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0));
            must(libc::bind(
                fd,
                address.as_ptr().cast(),
                address.len() as u32,
            ));
            must(libc::listen(fd, 100));
            fd
        }
    }

    /// An epoll with one descriptor that is ready.
    unsafe fn epoll(&mut self) -> i32 {
        let event = self.fd("event");
        // SAFETY: an event that outlives the call.
        unsafe {
            let fd = must(libc::epoll_create1(0));
            let mut what = libc::epoll_event {
                events: libc::EPOLLIN as u32,
                u64: 0x0123_4567_89ab_cdef,
            };
            must(libc::epoll_ctl(
                fd,
                libc::EPOLL_CTL_ADD,
                event,
                &raw mut what,
            ));
            fd
        }
    }

    /// The address of a server: `tcp`, or `unix` under the folder.
    pub(crate) fn address(&mut self, of: &str) -> Vec<u8> {
        if of == "unix" {
            self.fd("server");
            return unix_address(&self.path("unix"));
        }
        if of == "hidden" {
            self.names += 1;
            let name = format!("\0lanner-suite-{}-{}", std::process::id(), self.names);
            return [&(libc::AF_UNIX as u16).to_ne_bytes()[..], name.as_bytes()].concat();
        }
        if of == "six" {
            let mut address = vec![0; 28];
            address[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            address[23] = 1;
            return address;
        }
        let fd = if of == "any" {
            return [
                &(libc::AF_INET as u16).to_ne_bytes()[..],
                &[0, 0, 127, 0, 0, 1],
                &[0; 8],
            ]
            .concat();
        } else {
            self.fd("listener")
        };
        let mut bytes = vec![0; 16];
        let mut len = 16;
        // SAFETY: the kernel writes at most 16 bytes, which there are.
        unsafe { libc::getsockname(fd, bytes.as_mut_ptr().cast(), &raw mut len) };
        bytes
    }
}

fn unix_address(path: &[u8]) -> Vec<u8> {
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    [&family[..], path, b"\0"].concat()
}
