//! The machine that `cargo image run` boots, and as another shell finds it.

mod disk;
mod services;
pub mod together;
pub mod whole;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use octet_machine::{Architecture, Builder, Disk, Machine, Node};

use crate::build::Built;
use crate::target::Target;

use disk::WorkingDisk;

/// No machine runs.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("no machine is running from {}", folder.display())]
#[diagnostic(help("start one with `cargo image run` in another terminal"))]
pub struct NotRunning {
    folder: PathBuf,
}

/// The processor of a machine for `target`.
pub fn architecture(target: Target) -> Architecture {
    match target {
        Target::QemuX86_64 => Architecture::X86_64,
        Target::QemuAarch64 => Architecture::Aarch64,
    }
}

/// A machine for what was built, one of several if it is a `node`: QEMU hands it kernel and initramfs, or,
/// `from_disk`, its firmware boots the working disk.
///
/// # Errors
/// The working disk cannot be made.
pub fn machine(built: &Built, from_disk: bool, node: Option<Node>) -> miette::Result<Builder> {
    let architecture = architecture(built.target);
    if !from_disk {
        let machine = Machine::builder(&built.linux, &built.initrd).architecture(architecture);
        return Ok(match node {
            Some(Node::Router) => machine.kernel_argument("octet.board=router"),
            _ => machine,
        });
    }
    let disk = WorkingDisk::of(&built.folder, node)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot make a disk of {}", built.folder.display()))?;
    let kept = if disk.fresh { "a new copy of octet.img" } else { "with the data it has" };
    eprintln!("{:10} {}: {kept}", "disk", disk.path.display());
    Ok(Machine::from_disk(architecture, Disk::new(&disk.path)))
}

/// `out/<target>/run`: a link to the machine's folder of sockets. That folder is elsewhere because
/// the path of a socket has at most 107 bytes, however deep the clone lies.
#[derive(Debug)]
pub struct Pointer {
    link: PathBuf,
    to: PathBuf,
}

impl Pointer {
    /// Says that the machine whose sockets are in `sockets` was booted from `image`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn set(image: &Path, sockets: &Path) -> io::Result<Self> {
        let link = link(image);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(sockets, &link)?;
        Ok(Self { link, to: sockets.to_owned() })
    }
}

impl Drop for Pointer {
    fn drop(&mut self) {
        // A machine started later has put its own link there.
        if fs::read_link(&self.link).is_ok_and(|to| to == self.to) {
            let _ = fs::remove_file(&self.link);
        }
    }
}

/// The folder of the sockets of `node`, of several machines whose folders are in `all`.
pub fn folder_of(all: &Path, node: Node) -> PathBuf {
    all.join(node.to_string())
}

/// The control port of the machine that was booted from `image`; of several the router's, or that of
/// `board`.
///
/// # Errors
/// There is none, or it has gone.
pub fn control_port(image: &Path, board: Option<u8>) -> Result<PathBuf, NotRunning> {
    let of_board = |router: PathBuf| match board {
        Some(number) => Some(folder_of(router.parent()?, Node::Board(number))),
        None => Some(router),
    };
    fs::read_link(link(image))
        .ok()
        .and_then(of_board)
        .map(|folder| folder.join("control"))
        .filter(|socket| socket.exists())
        .ok_or_else(|| NotRunning { folder: image.to_owned() })
}

fn link(image: &Path) -> PathBuf {
    image.join("run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_started_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        fs::create_dir(&image).unwrap();
        let sockets = ["a", "b"].map(|name| {
            let sockets = folder.path().join(name);
            fs::create_dir(&sockets).unwrap();
            fs::write(sockets.join("control"), "").unwrap();
            sockets
        });
        assert!(control_port(&image, None).is_err());
        let first = Pointer::set(&image, &sockets[0]).unwrap();
        assert_eq!(control_port(&image, None).unwrap(), sockets[0].join("control"));
        let second = Pointer::set(&image, &sockets[1]).unwrap();
        drop(first);
        assert_eq!(control_port(&image, None).unwrap(), sockets[1].join("control"));
        drop(second);
        let error = control_port(&image, None).unwrap_err();
        assert!(error.help().is_some_and(|help| help.to_string().contains("cargo image run")));
    }
}
