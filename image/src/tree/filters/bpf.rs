//! The instructions that filters are made of (linux/filter.h, linux/bpf_common.h, linux/seccomp.h,
//! linux/audit.h).

use seccompiler::sock_filter;

use octet_machine::Architecture;

use crate::target::Target;

/// Where `struct seccomp_data` has what is looked at. Of the first argument these are the lower
/// 32 bits: both architectures are little-endian.
pub const NUMBER: u32 = 0;
pub const ARCHITECTURE: u32 = 4;
pub const FIRST_ARGUMENT: u32 = 16;

/// Jumps: BPF_JMP with BPF_JEQ, BPF_JGE, BPF_JSET; without a condition BPF_JA.
pub const IF_EQUAL: u16 = 0x15;
pub const IF_NOT_BELOW: u16 = 0x35;
pub const IF_ANY_BIT: u16 = 0x45;
const ALWAYS: u16 = 0x05;

/// What a filter can say: SECCOMP_RET_KILL_PROCESS, _ALLOW, and _ERRNO with the error's number.
pub const KILL: u32 = 0x8000_0000;
pub const ALLOW: u32 = 0x7fff_0000;
pub const ERROR: u32 = 0x0005_0000;

/// The number of the architecture (AUDIT_ARCH_*).
pub fn audit_number(target: Target) -> u32 {
    match target.architecture() {
        Architecture::X86_64 => 0xc000_003e,
        Architecture::Aarch64 => 0xc000_00b7,
    }
}

/// Loads the 32 bits at `offset` (BPF_LD, BPF_W, BPF_ABS).
pub fn load(offset: u32) -> sock_filter {
    sock_filter { code: 0x20, jt: 0, jf: 0, k: offset }
}

/// Skips as many instructions, if what was loaded compares to `value` so.
pub fn skip(condition: u16, value: u32, instructions: u8) -> sock_filter {
    sock_filter { code: condition, jt: instructions, jf: 0, k: value }
}

/// The same, however many there are: a jump with a condition reaches 255 at most.
pub fn skip_all(condition: u16, value: u32, instructions: usize) -> Vec<sock_filter> {
    match u8::try_from(instructions) {
        Ok(instructions) => vec![skip(condition, value, instructions)],
        Err(_) => {
            let unless = sock_filter { code: condition, jt: 0, jf: 1, k: value };
            // A filter has 4096 instructions at most, or is not loaded.
            let far = u32::try_from(instructions).unwrap_or(u32::MAX);
            vec![unless, sock_filter { code: ALWAYS, jt: 0, jf: 0, k: far }]
        }
    }
}

/// Says `verdict` (BPF_RET, BPF_K).
pub fn end(verdict: u32) -> sock_filter {
    sock_filter { code: 0x06, jt: 0, jf: 0, k: verdict }
}
