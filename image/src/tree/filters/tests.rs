#![expect(unsafe_code, reason = "system calls with arguments that no library would make")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;

use octet_appliance::Unit;
use proptest::prelude::*;
use seccompiler::{SeccompAction, SeccompFilter};

use super::*;

const TARGETS: [Target; 2] = [Target::QemuX86_64, Target::QemuAarch64];

use bpf::{ALLOW, ERROR, KILL};

/// What the kernel's interpreter makes of a call (linux/filter.h, linux/seccomp.h): of the
/// instructions, those that these filters have.
fn judge(program: &[sock_filter], target: Target, number: u32, argument: u64) -> u32 {
    interpret(program, bpf::audit_number(target), number, argument)
}

fn interpret(program: &[sock_filter], architecture: u32, number: u32, argument: u64) -> u32 {
    let [low, high] = [argument as u32, (argument >> 32) as u32];
    let (mut at, mut value) = (0, 0);
    loop {
        let it = &program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { it.jt } else { it.jf });
        match it.code {
            0x20 => {
                value = match it.k {
                    0 => number,
                    4 => architecture,
                    16 => low,
                    20 => high,
                    other => panic!("offset {other}"),
                }
            }
            0x05 => at += it.k as usize,
            0x15 => at += jump(value == it.k),
            0x35 => at += jump(value >= it.k),
            0x45 => at += jump(value & it.k != 0),
            0x54 => value &= it.k,
            0x06 => return it.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// The number of a call, as the compiler's table has it: the one that a filter for it allows.
fn number(call: &str, target: Target) -> u32 {
    let program = linear([call], &CallGroup::EVERY, target);
    (0..2000).find(|number| judge(&program, target, *number, 0) == ALLOW).unwrap()
}

/// The first filter as the library makes it, with one comparison after the other.
fn linear<'a>(
    calls: impl IntoIterator<Item = &'a str>,
    groups: &[CallGroup],
    target: Target,
) -> BpfProgram {
    let rule = |call: &str| match call {
        "clone" if !groups.contains(&CallGroup::Namespaces) => json!({ "syscall": call, "args": [
            { "index": 0, "type": "dword", "op": { "masked_eq": NEW_NAMESPACES }, "val": 0 }
        ] }),
        _ => json!({ "syscall": call }),
    };
    let mut calls: Vec<&str> = calls.into_iter().collect();
    calls.sort_unstable();
    calls.dedup();
    let rules: Vec<Value> = calls.into_iter().map(rule).collect();
    let filter = json!({ "it": {
        "match_action": "allow", "mismatch_action": { "errno": EPERM }, "filter": rules
    } });
    compile_from_json(filter.to_string().as_bytes(), architecture(target)).unwrap()["it"].clone()
}

/// A filter of the library's that knows nothing of calls that are too young.
fn newer(target: Target) -> BpfProgram {
    let rules = UNIFIED_CALLS.chain([CLONE3]).map(|number| (number.into(), vec![])).collect();
    let (unknown, other) = (SeccompAction::Errno(ENOSYS), SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, other, unknown, architecture(target)).unwrap();
    filter.try_into().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same as the library's two filters, one after the other: where both refuse, the kernel
    /// gives the error of the one that was loaded last.
    #[test]
    fn decides_as_comparing_one_after_the_other_does(
        groups in prop::sample::subsequence(CallGroup::EVERY.to_vec(), 1..=CallGroup::EVERY.len()),
        x86_64: bool,
        argument: u64,
        any in prop::collection::vec(any::<u32>(), 64),
        architecture: u32,
    ) {
        let target = TARGETS[usize::from(!x86_64)];
        let calls = groups.iter().flat_map(|group| group.calls());
        let more = groups.iter().flat_map(|group| group.calls_of_x86_64()).filter(|_| x86_64);
        let (first, second) = (linear(calls.chain(more), &groups, target), newer(target));
        let ours = filter(&groups, target).unwrap();
        // Those of the ABI x32 have bit 30 (`__X32_SYSCALL_BIT`).
        let numbers = (0..1024).chain(0x4000_0000..0x4000_0400).chain(any);
        for number in numbers {
            for argument in [0, argument, argument & 0xffff, 1 << 32] {
                let theirs = match judge(&second, target, number, argument) {
                    ALLOW => judge(&first, target, number, argument),
                    refused => refused,
                };
                prop_assert_eq!(judge(&ours, target, number, argument), theirs, "{}", number);
            }
            if architecture != bpf::audit_number(target) {
                for program in [&first, &ours] {
                    prop_assert_eq!(interpret(program, architecture, number, argument), KILL);
                }
            }
        }
    }
}

/// The kernel runs a filter for every number when it is loaded.
#[test]
fn a_search_is_short() {
    for target in TARGETS {
        let service = filter(&[CallGroup::Service], target).unwrap();
        assert!(service.len() < 300, "{}", service.len());
        let longest = (0..512).map(|number| steps(&service, number)).max().unwrap();
        assert!(longest < 16, "{longest}");
    }
}

/// How many jumps there are on the way to the verdict about a call.
fn steps(program: &[sock_filter], number: u32) -> usize {
    let (mut at, mut steps) = (4, 0);
    while program[at].code == bpf::IF_NOT_BELOW {
        at += 1 + if number >= program[at].k { usize::from(program[at].jt) } else { 0 };
        steps += 1;
    }
    steps
}

/// Ranges that alternate: the longest program there can be, and jumps that go far.
#[test]
fn jumps_reach_however_far() {
    let verdict =
        |number: u32| if number.is_multiple_of(2) { CallAction::Allow } else { CallAction::Clone };
    let ranges: Vec<_> = (0..700).map(|number| (number, verdict(number))).collect();
    let mut program = vec![bpf::load(bpf::NUMBER)];
    program.extend(search(&ranges));
    for number in 0..700u32 {
        let expected = if number.is_multiple_of(2) { ALLOW } else { ERROR | EPERM };
        assert_eq!(judge(&program, TARGETS[0], number, NEW_NAMESPACES.into()), expected);
    }
}

#[test]
fn every_call_of_every_group_is_allowed_with_it_and_refused_without() {
    for target in TARGETS {
        let service = filter(&[CallGroup::Service], target).unwrap();
        for group in CallGroup::EVERY {
            let both = filter(&[CallGroup::Service, group], target).unwrap();
            let more = group.calls_of_x86_64().filter(|_| target == Target::QemuX86_64);
            for call in group.calls().chain(more) {
                let number = number(call, target);
                let namespaces = if call == "clone" { 0x1000_0000 } else { 0 };
                let within = if group == CallGroup::Service { 0 } else { namespaces };
                assert_eq!(judge(&both, target, number, within), ALLOW, "{target}: {call}");
                if group != CallGroup::Service {
                    let verdict = judge(&service, target, number, within);
                    assert_eq!(verdict, ERROR | EPERM, "{target}: {call}");
                }
            }
        }
    }
}

#[test]
fn clone_makes_no_namespaces_and_what_is_young_is_not_there() {
    for target in TARGETS {
        let service = filter(&[CallGroup::Service], target).unwrap();
        let clone = number("clone", target);
        // SIGCHLD alone, and what a thread of musl has.
        for flags in [17, 0x7d_0f00] {
            assert_eq!(judge(&service, target, clone, flags), ALLOW);
            for bit in [17, 25, 26, 27, 28, 29, 30] {
                let verdict = judge(&service, target, clone, flags | 1 << bit);
                assert_eq!(verdict, ERROR | EPERM, "{bit}");
            }
        }
        assert_eq!(judge(&service, target, number("clone3", target), 0), ERROR | ENOSYS);
        for number in UNIFIED_CALLS {
            assert_eq!(judge(&service, target, number, 0), ERROR | ENOSYS);
        }
    }
}

#[test]
fn units_with_the_same_groups_have_the_same_files() {
    use CallGroup::{All, Clock, Mount, Service};

    assert_eq!(names(&[Service]), ["service"]);
    assert_eq!(names(&[Clock, Service, Mount]), ["service+mount+clock"]);
    assert_eq!(names(&[All]), Vec::<String>::new());
    let unit = |groups: &str| {
        let text = format!(
            "name = \"a\"\nexec = \"/a\"\nuser = \"extra-1\"\nsandbox.system_calls = {groups}\n"
        );
        let mut unit: Unit = octet_appliance::UnitSource::parse("a".into(), text).unwrap().unit;
        unit.filters = names(&unit.sandbox.system_calls);
        unit
    };
    let units =
        [unit("[\"service\"]"), unit("[\"service\", \"clock\"]"), unit("[\"clock\", \"service\"]")];
    let mut tree = Tree::default();
    put(&mut tree, &units, Target::QemuX86_64).unwrap();
    let files: Vec<&str> = tree.iter().filter_map(|(path, _)| path.strip_prefix(FILTERS)).collect();
    assert_eq!(files, ["", "/service", "/service+clock"]);
    let file = tree.get(&format!("{FILTERS}/service")).unwrap().bytes().unwrap();
    assert_eq!(read(file).len() * 8, file.len());
    let mut empty = Tree::default();
    put(&mut empty, &[unit("[\"all\"]")], Target::QemuX86_64).unwrap();
    assert!(empty.get(FILTERS).is_some());
}

/// A file of the image, as PID 1 reads it.
fn read(file: &[u8]) -> Vec<sock_filter> {
    let instruction = |bytes: &[u8]| sock_filter {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    file.chunks(8).map(instruction).collect()
}

/// This machine, if there are filters for it.
fn here() -> Target {
    TARGETS
        .into_iter()
        .find(|target| target.architecture().name() == std::env::consts::ARCH)
        .unwrap()
}

/// Does `work` in a thread that has the filters of `groups`.
fn confined<T: Send>(groups: &[CallGroup], work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let confined = scope.spawn(|| {
            let program = filter(groups, here()).unwrap();
            seccompiler::apply_filter(&read(&bytes(&program))).unwrap();
            work()
        });
        confined.join().unwrap()
    })
}

/// What the kernel says to a call: 0, or the error.
fn call(number: i64, arguments: [usize; 3]) -> i32 {
    // SAFETY: each of these calls is made with pointers that are null and lengths that are 0, or
    // with values that it refuses; none of them changes the process or the machine.
    let result = unsafe {
        libc::syscall(number, arguments[0], arguments[1], arguments[2], 0usize, 0usize, 0usize)
    };
    if result == -1 { std::io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
}

#[test]
fn the_kernel_refuses_a_groups_call_without_it() {
    const NONE: usize = usize::MAX;
    let own = std::process::id() as usize;
    let here = libc::AT_FDCWD as usize;
    // The ones that root alone may make at all are refused to others in any case.
    let root = rustix::process::geteuid().is_root();
    for (group, number, arguments, anyone) in [
        (CallGroup::Mount, libc::SYS_open_tree, [here, 0, 0], true),
        (CallGroup::Module, libc::SYS_init_module, [0, 0, 0], false),
        (CallGroup::Clock, libc::SYS_adjtimex, [0, 0, 0], true),
        (CallGroup::Privileges, libc::SYS_setresuid, [NONE, NONE, NONE], true),
        (CallGroup::Namespaces, libc::SYS_unshare, [0, 0, 0], true),
        // A thread with a user namespace of its own: no such thing.
        (CallGroup::Namespaces, libc::SYS_clone, [0x1001_0000, 0, 0], true),
        (CallGroup::Debug, libc::SYS_process_vm_readv, [own, 0, 0], true),
        (CallGroup::Reboot, libc::SYS_reboot, [0, 0, 0], false),
        #[cfg(target_arch = "x86_64")]
        (CallGroup::RawIo, libc::SYS_iopl, [7, 0, 0], true),
        (CallGroup::IoUring, libc::SYS_io_uring_setup, [0, 0, 0], false),
        (CallGroup::Bpf, libc::SYS_bpf, [99, 0, 0], false),
        (CallGroup::Keys, libc::SYS_keyctl, [9999, 0, 0], true),
        (CallGroup::Swap, libc::SYS_swapoff, [0, 0, 0], false),
    ] {
        let (group_of_it, eperm) = ([CallGroup::Service, group], libc::EPERM);
        let free = call(number, arguments);
        if anyone || root {
            assert_ne!(free, eperm, "{group:?} without a filter");
        }
        assert_eq!(confined(&group_of_it, || call(number, arguments)), free, "{group:?} with it");
        let without = confined(&[CallGroup::Service], || call(number, arguments));
        assert_eq!(without, eperm, "{group:?} without it");
    }
    let clone3 = || call(libc::SYS_clone3, [0, 0, 0]);
    assert_eq!((clone3(), confined(&[CallGroup::Service], clone3)), (libc::EINVAL, libc::ENOSYS));
    let young = || call(500, [0, 0, 0]);
    assert_eq!((young(), confined(&[CallGroup::Service], young)), (libc::ENOSYS, libc::ENOSYS));
}

/// What a service of ours does, once without and once with the filter.
#[test]
fn ordinary_programs_run() {
    ordinary();
    confined(&[CallGroup::Service], ordinary);
}

fn ordinary() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    fs::write(&file, "text").unwrap();
    fs::rename(&file, folder.path().join("b")).unwrap();
    fs::copy(folder.path().join("b"), &file).unwrap();
    fs::File::open(&file).unwrap().sync_all().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || TcpStream::connect(address).unwrap().write_all(b"hello"));
    let mut said = String::new();
    listener.accept().unwrap().0.read_to_string(&mut said).unwrap();
    client.join().unwrap().unwrap();
    assert_eq!(said, "hello");
    UnixListener::bind(folder.path().join("socket")).unwrap();
    let output = Command::new("sh").args(["-c", "echo started | cat"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "started\n");
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).unwrap();
    let flags = rustix::event::EventfdFlags::CLOEXEC;
    rustix::event::eventfd(0, flags).unwrap();
    rustix::fs::memfd_create("a", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    thread::sleep(std::time::Duration::from_millis(1));
}
