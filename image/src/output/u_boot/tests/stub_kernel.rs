//! A kernel for tests of starting: an EFI program for AArch64 that prints its command line behind
//! `stub: ` and resets the machine. Nothing of it depends on where it is loaded.

/// The program: instructions, then the GUID and the texts that they use. `x19` is the image's
/// handle, `x20` the system table, `x21` the console.
#[rustfmt::skip]
const CODE: [u32; 41] = [
    0xd100_43ff, //         sub sp, sp, #16
    0xaa00_03f3, //         mov x19, x0
    0xaa01_03f4, //         mov x20, x1
    0xf940_2295, //         ldr x21, [x20, #64]  (ConOut)
    0x1000_03e1, //         adr x1, prefix
    0x9400_0017, //         bl print
    0xf940_3288, //         ldr x8, [x20, #96]  (BootServices)
    0xaa13_03e0, //         mov x0, x19
    0x1000_02e1, //         adr x1, guid
    0x9100_03e2, //         mov x2, sp
    0xf940_4d08, //         ldr x8, [x8, #152]  (HandleProtocol)
    0xd63f_0100, //         blr x8
    0xb500_00c0, //         cbnz x0, end
    0xf940_03e9, //         ldr x9, [sp]
    0xb940_312a, //         ldr w10, [x9, #48]  (LoadOptionsSize)
    0x3400_006a, //         cbz w10, end
    0xf940_1d21, //         ldr x1, [x9, #56]  (LoadOptions)
    0x9400_000b, //         bl print
    0x1000_02a1, // end:    adr x1, newline
    0x9400_0009, //         bl print
    0xf940_2e88, //         ldr x8, [x20, #88]  (RuntimeServices)
    0xd280_0000, //         mov x0, #0  (EfiResetCold)
    0xd280_0001, //         mov x1, #0
    0xd280_0002, //         mov x2, #0
    0xd280_0003, //         mov x3, #0
    0xf940_3508, //         ldr x8, [x8, #104]  (ResetSystem)
    0xd63f_0100, //         blr x8
    0x1400_0000, // hang:   b hang
    0xaa15_03e0, // print:  mov x0, x21
    0xf940_06a8, //         ldr x8, [x21, #8]  (OutputString)
    0xd61f_0100, //         br x8
    0x5b1b_31a1, // guid:   EFI_LOADED_IMAGE_PROTOCOL, 5b1b31a1-9562-11d2-
    0x11d2_9562,
    0xa000_3f8e, // 8e3f-00a0c969723b
    0x3b72_69c9,
    0x0074_0073, // prefix: "st" in UTF-16
    0x0062_0075, // "ub"
    0x0020_003a, // ": "
    0x0000_0000, // its end
    0x000a_000d, // newline: "\r\n"
    0x0000_0000, // its end
];

/// Where the code stands: in the file and in memory.
const CODE_IN_FILE: u32 = 0x200;
const CODE_IN_MEMORY: u32 = 0x1000;

/// The whole file: PE32+ with one section.
pub fn stub_kernel() -> Vec<u8> {
    let code: Vec<u8> = CODE.iter().flat_map(|word| word.to_le_bytes()).collect();
    let code_size = CODE_IN_FILE; // One block of the file's alignment holds it.
    let mut file = vec![0; (CODE_IN_FILE + code_size) as usize];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);

    put(0x00, b"MZ");
    put(0x3c, &0x40u32.to_le_bytes()); // where the PE header is
    put(0x40, b"PE\0\0");
    put(0x44, &0xaa64u16.to_le_bytes()); // machine: ARM64
    put(0x46, &1u16.to_le_bytes()); // sections
    put(0x54, &0xf0u16.to_le_bytes()); // size of the optional header
    put(0x56, &0x0206u16.to_le_bytes()); // executable, no line numbers, no debug information

    put(0x58, &0x020bu16.to_le_bytes()); // PE32+
    put(0x5c, &code_size.to_le_bytes());
    put(0x68, &CODE_IN_MEMORY.to_le_bytes()); // entry point
    put(0x6c, &CODE_IN_MEMORY.to_le_bytes()); // base of the code
    put(0x78, &0x1000u32.to_le_bytes()); // alignment in memory
    put(0x7c, &0x200u32.to_le_bytes()); // alignment in the file
    put(0x90, &0x2000u32.to_le_bytes()); // size in memory
    put(0x94, &CODE_IN_FILE.to_le_bytes()); // size of the headers
    put(0x9c, &10u16.to_le_bytes()); // subsystem: EFI application
    put(0xc4, &16u32.to_le_bytes()); // data directories, all empty

    put(0x148, b".text");
    put(0x150, &(code.len() as u32).to_le_bytes());
    put(0x154, &CODE_IN_MEMORY.to_le_bytes());
    put(0x158, &code_size.to_le_bytes());
    put(0x15c, &CODE_IN_FILE.to_le_bytes());
    put(0x16c, &0x6000_0020u32.to_le_bytes()); // code, executable, readable
    put(CODE_IN_FILE as usize, &code);
    file
}
