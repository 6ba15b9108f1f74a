//! The classes of calls, compared with those of strace(1). docs/tracing.md names the differences that users may notice.

use std::collections::BTreeMap;

use driver_api::table::{self, SYSCALLS};

use super::Class;

/// The calls of x86_64 in each class of strace 6.
const STRACE: [(Class, &str); 8] = [
    (
        Class::File,
        "\
         open stat lstat access execve truncate getcwd chdir rename mkdir rmdir creat link unlink symlink readlink \
         chmod chown lchown utime mknod uselib statfs pivot_root chroot acct mount umount2 swapon swapoff quotactl \
         setxattr lsetxattr getxattr lgetxattr listxattr llistxattr removexattr lremovexattr utimes inotify_add_watch \
         openat mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat \
         faccessat utimensat fanotify_mark name_to_handle_at renameat2 execveat statx open_tree move_mount fsconfig \
         fspick openat2 faccessat2 mount_setattr fchmodat2 setxattrat getxattrat listxattrat removexattrat \
         open_tree_attr file_getattr file_setattr",
    ),
    (
        Class::Process,
        "\
         clone fork vfork execve exit wait4 kill rt_sigqueueinfo tkill exit_group tgkill waitid rt_tgsigqueueinfo \
         execveat pidfd_send_signal clone3",
    ),
    (
        Class::Network,
        "\
         sendfile socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername \
         socketpair setsockopt getsockopt getpmsg putpmsg accept4 recvmmsg sendmmsg",
    ),
    (
        Class::Desc,
        "\
         read write open close fstat poll lseek mmap ioctl pread64 pwrite64 readv writev pipe select dup dup2 sendfile \
         fcntl flock fsync fdatasync ftruncate getdents fchdir creat fchmod fchown fstatfs readahead fsetxattr \
         fgetxattr flistxattr fremovexattr epoll_create getdents64 fadvise64 epoll_wait epoll_ctl mq_open mq_timedsend \
         mq_timedreceive mq_notify mq_getsetattr inotify_init inotify_add_watch inotify_rm_watch openat mkdirat mknodat \
         fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll \
         splice tee sync_file_range vmsplice utimensat epoll_pwait signalfd timerfd_create eventfd fallocate \
         timerfd_settime timerfd_gettime signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev \
         perf_event_open fanotify_init fanotify_mark name_to_handle_at open_by_handle_at syncfs setns finit_module \
         renameat2 memfd_create kexec_file_load bpf execveat userfaultfd copy_file_range preadv2 pwritev2 statx \
         pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount \
         fspick pidfd_open openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd \
         landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease cachestat \
         fchmodat2 setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr",
    ),
    (
        Class::Signal,
        "\
         rt_sigaction rt_sigprocmask rt_sigreturn pause kill rt_sigpending rt_sigtimedwait rt_sigqueueinfo \
         rt_sigsuspend sigaltstack tkill tgkill signalfd signalfd4 rt_tgsigqueueinfo pidfd_send_signal io_uring_enter",
    ),
    (
        Class::Ipc,
        "\
         shmget shmat shmctl semget semop semctl shmdt msgget msgsnd msgrcv msgctl semtimedop",
    ),
    (
        Class::Memory,
        "\
         mmap mprotect munmap brk mremap msync mincore madvise shmat shmdt mlock munlock mlockall munlockall io_setup \
         io_destroy remap_file_pages mbind set_mempolicy get_mempolicy migrate_pages move_pages mlock2 pkey_mprotect \
         io_uring_register set_mempolicy_home_node map_shadow_stack mseal",
    ),
    (
        Class::Creds,
        "\
         getuid getgid setuid setgid geteuid getegid setreuid setregid getgroups setgroups setresuid getresuid \
         setresgid getresgid setfsuid setfsgid capget capset prctl",
    ),
];

/// Where the classes differ from strace's, and why.
const DIFFERENT: &[(Class, &str, &str)] = &[
    (
        Class::Creds,
        "prctl",
        "a few of its many options are about capabilities",
    ),
    (
        Class::Desc,
        "bpf",
        "its command decides whether it takes a descriptor or makes one",
    ),
    (
        Class::File,
        "fsconfig",
        "its command decides whether it takes a path",
    ),
    (
        Class::Network,
        "sendfile",
        "it also copies from file to file",
    ),
    (
        Class::Memory,
        "io_setup",
        "it is about asynchronous input and output",
    ),
    (
        Class::Memory,
        "io_destroy",
        "it is about asynchronous input and output",
    ),
    (
        Class::Memory,
        "io_uring_register",
        "registering memory is one of its many operations",
    ),
    (
        Class::Memory,
        "modify_ldt",
        "the table is part of the address space",
    ),
    (Class::Memory, "pkey_alloc", "keys protect pages"),
    (Class::Memory, "pkey_free", "keys protect pages"),
    (
        Class::Memory,
        "process_madvise",
        "it is madvise for another process",
    ),
    (
        Class::Signal,
        "io_uring_enter",
        "it waits for requests; the mask is for the meantime",
    ),
    (
        Class::Signal,
        "restart_syscall",
        "the kernel makes programs call it after a signal",
    ),
];

#[test]
fn classes_are_those_of_strace() {
    let mut wrong = Vec::new();
    let mut known: BTreeMap<(&str, &str), &str> = (DIFFERENT.iter())
        .map(|(class, call, why)| ((class.name(), *call), *why))
        .collect();
    for (class, names) in STRACE {
        let theirs: Vec<&str> = names.split_whitespace().collect();
        for name in &theirs {
            assert!(table::by_name(name).is_some(), "{name} is not in the table");
        }
        for call in SYSCALLS.iter().filter(|call| call.numbers[0] >= 0) {
            let (ours, theirs) = (class.has(call), theirs.contains(&call.name));
            if ours != theirs && known.remove(&(class.name(), call.name)).is_none() {
                wrong.push(format!(
                    "%{} has {}: {ours}, in strace {theirs}",
                    class.name(),
                    call.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(known.is_empty(), "no differences any more: {known:?}");
}

#[test]
fn calls_of_other_machines_are_in_the_classes_of_their_kin() {
    let has = |class: Class, name: &str| table::by_name(name).is_some_and(|call| class.has(call));
    assert!(has(Class::Network, "recv") && has(Class::Network, "send"));
    assert!(has(Class::File, "fstatat64") && has(Class::Desc, "fstatat64"));
    assert!(has(Class::Network, "socketcall") && has(Class::Ipc, "ipc"));
    assert!(has(Class::Process, "waitpid"));
    assert!(has(Class::Desc, "mmap2") && has(Class::Memory, "mmap2"));
    assert!(has(Class::Creds, "setuid32"));
}
