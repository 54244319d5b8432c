//! Whom programs ask for names: the box alone.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use rustix::mount::mount_bind;

use super::dhcp::DeviceLease;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const NSSWITCH: &str = "/etc/nsswitch.conf";

/// Where a daemon of the host answers for it, past the files above.
const NSCD: &str = "/run/nscd";

/// Has everybody in this mount namespace ask the servers of `lease`.
///
/// # Errors
/// The host has no file that could be replaced.
pub fn replace(lease: &DeviceLease) -> io::Result<()> {
    mount_over(RESOLV_CONF, &resolv_conf(lease))?;
    // It may name daemons of the host, which ask elsewhere.
    if let Ok(text) = fs::read_to_string(NSSWITCH) {
        mount_over(NSSWITCH, &nsswitch(&text))?;
    }
    if Path::new(NSCD).is_dir() {
        let nothing = tempfile::tempdir()?;
        mount_bind(nothing.path(), NSCD)?;
    }
    Ok(())
}

/// Mounts a file with this `text` over the one at `path`.
fn mount_over(path: &str, text: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    // The file stays for as long as it is mounted, and loses its own name here.
    let mounted = mount_bind(file.path(), path);
    mounted.map_err(|error| io::Error::new(error.kind(), format!("cannot replace {path}: {error}")))
}

fn resolv_conf(lease: &DeviceLease) -> String {
    let domain = lease.domain.iter().map(|domain| format!("search {domain}\n"));
    let servers = lease.dns.iter().map(|server| format!("nameserver {server}\n"));
    domain.chain(servers).collect()
}

/// The same file with hosts from `/etc/hosts` and DNS only.
fn nsswitch(text: &str) -> String {
    let others = text.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    others.chain(["hosts: files dns"]).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_alone_is_asked() {
        let text = "passwd: files systemd\nhosts: files mdns4_minimal [NOTFOUND=return] resolve\n";
        assert_eq!(nsswitch(text), "passwd: files systemd\nhosts: files dns\n");
        let lease = DeviceLease {
            address: [10, 20, 250, 9].into(),
            prefix: 24,
            server: [10, 20, 250, 1].into(),
            router: None,
            dns: vec![[10, 20, 250, 1].into()],
            domain: Some("octet.internal".to_owned()),
            seconds: 3600,
        };
        assert_eq!(resolv_conf(&lease), "search octet.internal\nnameserver 10.20.250.1\n");
    }
}
