//! The least that a boot by firmware can take: a program that turns the machine off, started by the
//! same boot loader from the same kind of disk.

use octet_image::Target;
use octet_machine::Architecture;

/// Machine code that calls `ResetSystem(EfiResetShutdown, 0, 0, NULL)` of the runtime services: the
/// UEFI Specification 2.10 passes the system table as second argument (4.1), keeps the runtime
/// services 88 bytes into it (4.3) and `ResetSystem` 104 bytes into these (4.5).
const X86_64: [u8; 27] = [
    0x48, 0x8b, 0x42, 0x58, // mov rax, [rdx + 88]
    0x48, 0x8b, 0x40, 0x68, // mov rax, [rax + 104]
    0x6a, 0x02, 0x59, // push 2; pop rcx
    0x31, 0xd2, // xor edx, edx
    0x45, 0x31, 0xc0, // xor r8d, r8d
    0x45, 0x31, 0xc9, // xor r9d, r9d
    0x48, 0x83, 0xec, 0x28, // sub rsp, 40
    0xff, 0xd0, // call rax
    0xeb, 0xfe, // jmp to itself
];
const AARCH64: [u32; 8] = [
    0xf940_2c28, // ldr x8, [x1, #88]
    0xf940_3508, // ldr x8, [x8, #104]
    0x5280_0040, // mov w0, #2
    0xd280_0001, // mov x1, #0
    0xd280_0002, // mov x2, #0
    0xd280_0003, // mov x3, #0
    0xd63f_0100, // blr x8
    0x1400_0000, // b .
];

/// Where the code lies in memory, and in the file.
const IN_MEMORY: u32 = 0x1000;
const IN_FILE: u32 = 0x200;

/// A PE32+ program for UEFI with one section (Microsoft PE and COFF Specification).
pub fn power_off_program(target: Target) -> Vec<u8> {
    let (machine, code): (u16, Vec<u8>) = match target.architecture() {
        Architecture::X86_64 => (0x8664, X86_64.to_vec()),
        Architecture::Aarch64 => (0xaa64, AARCH64.iter().flat_map(|it| it.to_le_bytes()).collect()),
    };
    let mut file = File::default();
    file.bytes(b"MZ").zeros(58).u32(64); // the DOS header: where the next one is
    file.bytes(b"PE\0\0").u16(machine).u16(1).zeros(12);
    file.u16(DIRECTORIES * 8 + 112).u16(0x22); // executable, addresses above 2 GiB
    file.u16(0x20b).u16(0).u32(IN_FILE).u32(0).u32(0); // PE32+; sizes of code and data
    file.u32(IN_MEMORY).u32(IN_MEMORY); // entry point, base of code
    file.u64(0).u32(IN_MEMORY).u32(IN_FILE); // base; alignment in memory and in the file
    file.zeros(16).u32(2 * IN_MEMORY).u32(IN_FILE); // versions; sizes of image and headers
    file.u32(0).u16(EFI_APPLICATION).u16(0);
    file.u64(0).u64(0).u64(0).u64(0); // stack and heap
    file.u32(0).u32(u32::from(DIRECTORIES)).zeros(usize::from(DIRECTORIES) * 8);
    file.bytes(b".text\0\0\0").u32(IN_FILE).u32(IN_MEMORY).u32(IN_FILE).u32(IN_FILE);
    file.zeros(12).u32(0x6000_0020); // code, executable, readable
    file.0.resize(IN_FILE as usize, 0);
    file.bytes(&code);
    file.0.resize(2 * IN_FILE as usize, 0);
    file.0
}

const DIRECTORIES: u16 = 6;
const EFI_APPLICATION: u16 = 10;

#[derive(Default)]
struct File(Vec<u8>);

impl File {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    fn zeros(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
}
