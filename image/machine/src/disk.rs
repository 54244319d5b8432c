//! Disks of a machine: files of the host, with a log of what is written and with faults, where
//! wanted.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A disk: a file with the disk's raw content, or a server that has it.
#[derive(Debug, Clone)]
pub struct Disk {
    content: Content,
    log: Option<PathBuf>,
    faults: Vec<Fault>,
}

/// Where the content of a disk is.
#[derive(Debug, Clone)]
enum Content {
    File(PathBuf),
    /// The Unix socket of an NBD server.
    Nbd(PathBuf),
}

/// An error that the disk answers with.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub access: Access,
    /// `errno` on the host: 5 is EIO, 28 ENOSPC. The guest sees an I/O error or a full device.
    pub errno: i32,
    /// Only to requests that touch this sector of 512 bytes.
    pub sector: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    /// Asks that what was written be on the medium.
    Flush,
}

impl Disk {
    /// The disk in `file`.
    pub fn new(file: &Path) -> Self {
        Self { content: Content::File(file.to_owned()), log: None, faults: vec![] }
    }

    /// The disk that the NBD server at this Unix socket has.
    pub fn nbd(socket: &Path) -> Self {
        Self { content: Content::Nbd(socket.to_owned()), log: None, faults: vec![] }
    }

    /// Has everything that is written also written to `log`, which is made (see
    /// [`WriteLog`](crate::WriteLog)).
    #[must_use]
    pub fn log(mut self, log: &Path) -> Self {
        self.log = Some(log.to_owned());
        self
    }

    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    pub(crate) fn log_file(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// The value of QEMU's `-blockdev`; the node's name is `name`. The host need not put anything
    /// on its own medium: a machine that is gone leaves its file in the host's cache.
    pub(crate) fn node(&self, name: &str) -> String {
        let file = |path: &Path| {
            json!({
                "driver": "file",
                "filename": path,
                "discard": "unmap",
                "cache": { "no-flush": true },
            })
        };
        let content = match &self.content {
            Content::File(path) => file(path),
            Content::Nbd(path) => {
                json!({ "driver": "nbd", "server": { "type": "unix", "path": path } })
            }
        };
        let mut node = json!({ "driver": "raw", "file": content, "discard": "unmap" });
        if !self.faults.is_empty() {
            let rules: Vec<Value> = self.faults.iter().map(Fault::rule).collect();
            node = json!({ "driver": "blkdebug", "image": node, "inject-error": rules });
        }
        if let Some(log) = &self.log {
            node = json!({
                "driver": "blklogwrites",
                "file": node,
                "log": { "driver": "raw", "file": file(log) },
            });
        }
        node["node-name"] = name.into();
        node.to_string()
    }
}

impl Fault {
    /// As QEMU's driver blkdebug takes it.
    fn rule(&self) -> Value {
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
            Access::Flush => "flush",
        };
        let mut rule = json!({ "event": "none", "iotype": access, "errno": self.errno });
        if let Some(sector) = self.sector {
            rule["sector"] = sector.into();
        }
        rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_asked() {
        let fault = Fault { access: Access::Read, errno: 5, sector: Some(7) };
        let node = Disk::new(Path::new("/d,1")).log(Path::new("/l")).fault(fault).node("disk0");
        let node: Value = serde_json::from_str(&node).unwrap();
        assert_eq!(node["node-name"], "disk0");
        assert_eq!(node["log"]["file"]["filename"], "/l");
        let debug = &node["file"];
        assert_eq!(debug["inject-error"][0]["iotype"], "read");
        assert_eq!(debug["image"]["file"]["filename"], "/d,1");
        // A node discards only what the one above it hands on: a log or faults do not.
        assert_eq!((&node["discard"], &debug["discard"]), (&Value::Null, &Value::Null));
        let plain: Value = serde_json::from_str(&Disk::new(Path::new("/d")).node("d")).unwrap();
        assert_eq!(plain["discard"], "unmap");
        let nbd = Disk::nbd(Path::new("/s")).node("d");
        let nbd: Value = serde_json::from_str(&nbd).unwrap();
        assert_eq!(nbd["file"]["server"]["path"], "/s");
    }
}
