//! Makes processes, executes programs in them, and waits for them.
#![expect(unsafe_code, reason = "no crate wraps clone3, execve and waitid's process number")]

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::Pid;

/// From linux/sched.h; libc has them for glibc only.
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// `struct clone_args` of linux/sched.h.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which of the two processes this is.
pub enum Cloned {
    Child,
    /// The parent, with process id and pidfd of the child.
    Parent(Pid, OwnedFd),
}

/// Forks this process, into `cgroup` if one is given (a folder of cgroup v2). In the child no
/// signal has a handler.
///
/// PID 1 has one thread, so the child is consistent: no lock is held by a thread that it does not
/// have.
pub fn clone_process(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    // SAFETY: without CLONE_VM this is a fork: the child goes on with a copy of memory and stack.
    // The kernel reads one `struct clone_args` and writes one descriptor to `pidfd`; both live
    // until the call returns. The child runs ordinary code because there is no other thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            Ok(Cloned::Parent(pid.ok_or(Errno::CHILD)?, pidfd))
        }
    }
}

/// Unblocks all signals, and restores the default of SIGPIPE: Rust's runtime ignores it in PID 1,
/// and ignored signals stay ignored in a new program.
pub fn reset_signals() -> io::Result<()> {
    let mut none = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` fills the set that `sigprocmask` reads; `signal` sets no handler.
    let done = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) == 0
            && libc::signal(libc::SIGPIPE, libc::SIG_DFL) != libc::SIG_ERR
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Duplicates `file` to the descriptor `number`, which stays open at execve. For a process that
/// arranges its descriptors before execve: the previous descriptor of that number is closed,
/// whoever owns it.
pub fn put_descriptor(file: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: this touches no memory; owners of the number's former file do not run any more.
    match unsafe { libc::dup2(file.as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sets close-on-exec on every descriptor from `first` on.
pub fn close_at_exec_from(first: RawFd) -> io::Result<()> {
    let last = c_long::from(u32::MAX);
    let flags = c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: this sets a flag of descriptors, and touches no memory.
    match unsafe { libc::syscall(libc::SYS_close_range, c_long::from(first), last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Executes another program; returns only if that fails.
pub fn execute(program: &CStr, args: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, environment) = (pointers(args), pointers(environment));
    // SAFETY: both are arrays of C strings that end with a null pointer, and outlive the call.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends the process at once: without destructors and without flushing buffers, which are copies of
/// PID 1's.
pub fn exit_now(status: c_int) -> ! {
    // SAFETY: the call takes a number and does not return.
    unsafe { libc::_exit(status) }
}

/// An ended child, as `waitid` reports it.
pub struct Waited {
    pub pid: Pid,
    /// Whether `status` is an exit status, or else the number of the signal that ended it.
    pub exited: bool,
    /// See `by_itself`.
    pub status: i32,
}

/// The next child that has ended and was not reaped yet. It is not reaped.
pub fn wait_for_any() -> Option<Waited> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel writes at most one `siginfo_t`. All zeroes are a valid one, and what the
    // kernel leaves if no child has ended; the two fields read are those it sets for a child.
    unsafe {
        if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) != 0 {
            return None;
        }
        let info = info.assume_init();
        let pid = Pid::from_raw(info.si_pid())?;
        Some(Waited { pid, exited: info.si_code == libc::CLD_EXITED, status: info.si_status() })
    }
}
