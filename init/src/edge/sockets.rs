//! The sockets that PID 1 opens for units: while a unit restarts, clients wait and are not refused.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;

use octet_appliance::{Protocol, RawProtocol, Unit, UnitSocket};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

/// Opens every socket of `unit`, by name. `group` may access those with a path, too.
///
/// # Errors
/// The first socket that cannot be opened, in words.
pub fn open_all(unit: &Unit, group: Option<u32>) -> Result<Vec<(String, OwnedFd)>, String> {
    let one = |(name, socket): (&octet_appliance::UnitName, &UnitSocket)| {
        let opened =
            open(unit, socket, group).map_err(|error| format!("socket {name}: {error}"))?;
        Ok((name.to_string(), opened))
    };
    unit.sockets.iter().map(one).collect()
}

/// Closes `sockets`, which were opened for `unit`.
pub fn close_all(unit: &Unit, sockets: Vec<(String, OwnedFd)>) {
    for (name, socket) in sockets {
        drop(socket);
        let named = unit.sockets.iter().find(|(known, _)| known.as_str() == name);
        if let Some(path) = named.and_then(|(_, socket)| socket.path.as_ref()) {
            let _ = std::fs::remove_file(path.as_str());
        }
    }
}

fn open(unit: &Unit, socket: &UnitSocket, group: Option<u32>) -> io::Result<OwnedFd> {
    if let Some(path) = &socket.path {
        let listener = UnixListener::bind(path.as_str())?;
        let uid = unit.user.user().uid;
        chown(path.as_str(), Some(uid), Some(group.unwrap_or(uid)))?;
        let mode = if socket.open { 0o666 } else { 0o660 };
        std::fs::set_permissions(path.as_str(), std::fs::Permissions::from_mode(mode))?;
        return Ok(listener.into());
    }
    if let Some(protocol) = socket.raw {
        let (family, protocol) = match protocol {
            RawProtocol::Icmp => (AddressFamily::INET, ipproto::ICMP),
            RawProtocol::Icmpv6 => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        return Ok(socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?);
    }
    let port = socket.port.as_ref().and_then(|name| unit.ports.get(name));
    let port = port.ok_or_else(|| io::Error::other("it has neither path nor port"))?;
    // Dual-stack, unless the kernel is configured otherwise (net.ipv6.bindv6only).
    let address = match socket.ipv4_only {
        true => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.number)),
        false => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.number)),
    };
    Ok(match port.protocol {
        Protocol::Tcp => TcpListener::bind(address)?.into(),
        Protocol::Udp => UdpSocket::bind(address)?.into(),
    })
}
