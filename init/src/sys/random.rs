#![expect(unsafe_code, reason = "no crate wraps this ioctl")]

use std::ffi::c_int;
use std::fs::File;
use std::io;

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `RNDADDENTROPY` of linux/random.h.
const RNDADDENTROPY: Opcode = opcode::write::<[c_int; 2]>(b'R', 3);

/// `struct rand_pool_info` of linux/random.h with its bytes.
#[repr(C)]
struct PoolInput {
    bits: c_int,
    size: c_int,
    bytes: [u8; 32],
}

/// Gives `bytes` to the kernel's random number generator, and says that each of their bits is random.
pub fn add_randomness(bytes: &[u8; 32]) -> io::Result<()> {
    let device = File::options().write(true).open("/dev/urandom")?;
    let input = PoolInput { bits: 256, size: 32, bytes: *bytes };
    // SAFETY: the kernel reads one `struct rand_pool_info` and the `size` bytes behind it, which `PoolInput` has, and
    // writes nothing.
    unsafe { ioctl(&device, Setter::<RNDADDENTROPY, PoolInput>::new(input)) }?;
    Ok(())
}

const _: () = assert!(size_of::<PoolInput>() == 40);

#[cfg(test)]
mod tests {
    use rustix::rand::{GetRandomFlags, getrandom};

    #[test]
    fn the_kernel_takes_it_from_root() {
        let mut bytes = [0; 32];
        getrandom(&mut bytes, GetRandomFlags::empty()).unwrap();
        assert_eq!(super::add_randomness(&bytes).is_ok(), rustix::process::geteuid().is_root());
    }
}
