//! Groups of system calls: what ordinary programs need is one, and everything that changes the
//! machine rather than the program is in others, each by what it changes.
//!
//! Names are the kernel's (linux/arch/x86/entry/syscalls/syscall_64.tbl and
//! linux/scripts/syscall.tbl). What is in no group is refused to every unit that has a filter.

use serde::{Deserialize, Serialize};

/// A group of system calls that a unit may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CallGroup {
    /// What ordinary programs need: memory, threads, files, sockets, time, signals, and making
    /// themselves smaller (Landlock, seccomp). `clone` without new namespaces.
    Service,
    /// Mounting, and changing what is mounted.
    Mount,
    /// Loading and unloading of kernel modules.
    Module,
    /// Setting the clock.
    Clock,
    /// Other users, other capabilities, another root.
    Privileges,
    /// New namespaces, and those of others; `clone` with all its flags.
    Namespaces,
    /// Looking into other processes and into the kernel.
    Debug,
    /// Restarting the machine, or starting another kernel.
    Reboot,
    /// Ports of devices.
    RawIo,
    /// `io_uring`, which no filter sees into.
    IoUring,
    /// Programs inside the kernel.
    Bpf,
    /// The kernel's key rings.
    Keys,
    /// Swap space.
    Swap,
    /// No filter at all.
    All,
}

impl CallGroup {
    /// Every group, `All` last.
    pub const EVERY: [Self; 14] = [
        Self::Service,
        Self::Mount,
        Self::Module,
        Self::Clock,
        Self::Privileges,
        Self::Namespaces,
        Self::Debug,
        Self::Reboot,
        Self::RawIo,
        Self::IoUring,
        Self::Bpf,
        Self::Keys,
        Self::Swap,
        Self::All,
    ];

    /// Its name in a unit file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Mount => "mount",
            Self::Module => "module",
            Self::Clock => "clock",
            Self::Privileges => "privileges",
            Self::Namespaces => "namespaces",
            Self::Debug => "debug",
            Self::Reboot => "reboot",
            Self::RawIo => "raw-io",
            Self::IoUring => "io-uring",
            Self::Bpf => "bpf",
            Self::Keys => "keys",
            Self::Swap => "swap",
            Self::All => "all",
        }
    }

    /// Its system calls that every architecture has; none for `All`, which stands for those that are
    /// in no group too.
    pub fn calls(self) -> impl Iterator<Item = &'static str> {
        words(match self {
            Self::Service => SERVICE,
            Self::Mount => MOUNT,
            Self::Module => "delete_module finit_module init_module",
            Self::Clock => "adjtimex clock_adjtime clock_settime settimeofday",
            Self::Privileges => PRIVILEGES,
            Self::Namespaces => "clone setns unshare",
            Self::Debug => DEBUG,
            Self::Reboot => "kexec_file_load kexec_load reboot",
            Self::IoUring => "io_uring_enter io_uring_register io_uring_setup",
            Self::Bpf => "bpf",
            Self::Keys => "add_key keyctl request_key",
            Self::Swap => "swapoff swapon",
            Self::RawIo | Self::All => "",
        })
    }

    /// Those that only x86-64 has besides.
    pub fn calls_of_x86_64(self) -> impl Iterator<Item = &'static str> {
        words(match self {
            Self::Service => SERVICE_X86_64,
            Self::RawIo => "ioperm iopl",
            _ => "",
        })
    }
}

fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split_ascii_whitespace()
}

const MOUNT: &str = "
    fsconfig fsmount fsopen fspick listmount mount mount_setattr move_mount open_tree pivot_root
    quotactl quotactl_fd statmount umount2
";

const PRIVILEGES: &str = "
    capset chroot setdomainname setfsgid setfsuid setgid setgroups sethostname setregid setresgid
    setresuid setreuid setuid
";

const DEBUG: &str = "
    fanotify_init fanotify_mark kcmp open_by_handle_at perf_event_open pidfd_getfd process_madvise
    process_mrelease process_vm_readv process_vm_writev ptrace syslog userfaultfd
";

/// Files and asynchronous I/O; memory; processes and threads; sockets, pipes, events and messages;
/// time and signals.
///
/// `clone` is among them with its first argument checked; `clone3`, whose flags no filter can see,
/// does not exist for a unit that has a filter: libraries then use `clone`.
const SERVICE: &str = "
    chdir close close_range copy_file_range dup dup3 faccessat faccessat2 fadvise64 fallocate
    fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock
    fremovexattr fsetxattr fstat fstatfs fsync ftruncate getcwd getdents64 getxattr
    inotify_add_watch inotify_init1 inotify_rm_watch ioctl lgetxattr linkat listxattr llistxattr
    lremovexattr lseek lsetxattr mkdirat mknodat name_to_handle_at newfstatat openat openat2
    pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlinkat readv removexattr
    renameat renameat2 sendfile setxattr splice statfs statx symlinkat sync sync_file_range syncfs
    tee truncate umask unlinkat utimensat vmsplice write writev io_cancel io_destroy io_getevents
    io_pgetevents io_setup io_submit

    brk cachestat get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create memfd_secret
    mincore mlock mlock2 mlockall mmap mprotect mremap mseal msync munlock munlockall munmap
    pkey_alloc pkey_free pkey_mprotect remap_file_pages set_mempolicy set_mempolicy_home_node shmat
    shmctl shmdt shmget

    capget clone execve execveat exit exit_group futex futex_requeue futex_wait futex_waitv
    futex_wake get_robust_list getcpu getegid geteuid getgid getgroups getpgid getpid getppid
    getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get ioprio_set
    landlock_add_rule landlock_create_ruleset landlock_restrict_self pidfd_open pidfd_send_signal
    prctl prlimit64 rseq sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list
    set_tid_address setpgid setpriority setrlimit setsid sysinfo times uname wait4 waitid

    accept accept4 bind connect epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2
    getpeername getsockname getsockopt listen mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd pipe2 ppoll pselect6 recvfrom recvmmsg
    recvmsg semctl semget semop semtimedop sendmmsg sendmsg sendto setsockopt shutdown socket
    socketpair

    clock_getres clock_gettime clock_nanosleep getitimer getrandom gettimeofday kill nanosleep
    restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo setitimer sigaltstack signalfd4 tgkill
    timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime tkill
";

/// Older forms of the above.
const SERVICE_X86_64: &str = "
    access alarm arch_prctl chmod chown creat dup2 epoll_create epoll_wait eventfd fork futimesat
    getdents getpgrp inotify_init lchown link lstat mkdir mknod open pause pipe poll readlink
    rename rmdir select signalfd stat symlink time unlink utime utimes vfork
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_those_of_the_unit_file() {
        for group in CallGroup::EVERY {
            let json = serde_json::to_string(&group).unwrap();
            assert_eq!(json, format!("\"{}\"", group.name()));
        }
    }

    #[test]
    fn a_call_is_in_one_group() {
        let mut seen = BTreeMap::new();
        for group in CallGroup::EVERY {
            for call in group.calls().chain(group.calls_of_x86_64()) {
                let twice = seen.insert(call, group);
                // The same call, with and without the check of its flags.
                assert!(twice.is_none() || call == "clone", "{call}: {twice:?} and {group:?}");
            }
        }
        assert_eq!(seen.get("clone"), Some(&CallGroup::Namespaces));
        assert!(!seen.contains_key("clone3") && seen.len() > 250, "{}", seen.len());
    }
}
