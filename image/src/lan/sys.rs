//! What has no safe wrapper: bind(2) of a packet socket, ethtool's ioctl, and a socket that is known by its number.
#![expect(
    unsafe_code,
    reason = "no crate that we use wraps sockaddr_ll, SIOCETHTOOL and descriptors that are inherited"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, getsockname, netdevice, socket_with};

/// Frames of every protocol (`ETH_P_ALL` of linux/if_ether.h), as it stands in a frame.
const ALL: u16 = (libc::ETH_P_ALL as u16).to_be();

/// Sets whether the card computes checksums (`ETHTOOL_STXCSUM` of linux/ethtool.h).
const SET_TX_CHECKSUMS: u32 = 0x17;

/// A socket that has all that comes to the card `name`, and sends by it (packet(7)).
///
/// # Errors
/// There is no such card, or it needs a capability.
pub fn packet_socket(name: &str) -> io::Result<OwnedFd> {
    // Without a protocol nothing comes before it is bound to the one card.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let index = netdevice::name_to_index(&socket, name)?;
    // SAFETY: a `sockaddr_ll` of zeros is one: it has integers only.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ALL;
    address.sll_ifindex = i32::try_from(index).unwrap_or_default();
    let size = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads this one structure, of this size, which outlives the call.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) } {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the kernel compute checksums of what the card `name` sends, and cut it into single frames.
///
/// # Errors
/// There is no such card, or it needs a capability.
pub fn disable_tx_checksums(name: &str) -> io::Result<()> {
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut value = Value { command: SET_TX_CHECKSUMS, data: 0 };
    // SAFETY: an `ifreq` of zeros is one: it has integers and null pointers only.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the kernel reads this one structure and writes the one that it points to; both outlive the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The socket with this `number`, which the program that has started us left open for us. What we start does not get it.
///
/// # Errors
/// There is none, it was taken over already, or it is one that we have opened ourselves.
pub fn inherited_socket(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD takes any number and changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    // The first three are the standard library's, and closed on exec is all that we open.
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 || number <= libc::STDERR_FILENO {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it was not inherited"));
    }
    // SAFETY: it is open, and nobody here owns it: whatever this process opens is closed on exec, and so is from here on
    // what was taken over.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    // Fails if it is none.
    getsockname(&socket)?;
    Ok(socket)
}
