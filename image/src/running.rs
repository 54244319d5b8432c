//! The machines that `cargo image run` boots, and as another shell finds them.

pub mod cluster;
mod disk;
mod machines;
pub mod membership;
pub mod outside;
mod progress;
mod registry;
mod services;
pub mod single;
pub mod socket;

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use octet_machine::{Builder, Disk, Machine, Node};

use crate::build::{self, Built};
use crate::lan::PlugPoint;

pub use disk::ExistingDisk;
use disk::WorkingDisk;
pub use machines::PowerAction;
use registry::RunningMachines;
pub use registry::{Registration, SOCKETS};

/// Which machine is meant cannot be told.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum NotFound {
    /// None runs.
    #[error("no machine is running from {}", out.display())]
    #[diagnostic(help(
        "start one with `cargo image run` in another terminal; if it was started with `--out DIR`, say that here, too"
    ))]
    None {
        /// The folder of images.
        out: PathBuf,
    },
    /// Several run.
    #[error("several machines are running:\n{list}")]
    #[diagnostic(help("say which one with --machine N"))]
    Several {
        /// One line for each.
        list: String,
    },
    /// Others run.
    #[error("no machine {number} is running, but:\n{list}")]
    #[diagnostic(help("say which one with --machine N"))]
    Other {
        /// What was asked for.
        number: u32,
        /// One line for each.
        list: String,
    },
    /// It has no such board.
    #[error("there is no board {board}: what is running is {what}")]
    #[diagnostic(help("a box with boards is started with `cargo image run --cluster N`"))]
    Board {
        /// What was asked for.
        board: u8,
        /// What the machine is.
        what: String,
    },
    /// It has no network outside, and no machines of its own.
    #[error("machine {number} is not a box: it is {what}")]
    #[diagnostic(help(
        "a box with a router is started with `cargo image run --cluster N`, and is one once that shows \
         its table"
    ))]
    NoBox {
        /// Its number.
        number: u32,
        /// What it is.
        what: String,
    },
    /// It is not known which run.
    #[error("cannot see which machines are running from {}: {why}", out.display())]
    #[diagnostic(help("make its folder `machines` readable and writable for you"))]
    Folder {
        /// The folder of images.
        out: PathBuf,
        /// Why.
        why: std::io::Error,
    },
}

/// Where what runs is found: each has written there where its sockets are.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Out {
    /// The folder that `cargo image run --out DIR` was given [default: out]
    #[arg(long, value_name = "DIR", global = true)]
    pub out: Option<PathBuf>,
}

impl Out {
    /// The folder: the one that is said, or that of the clone that the current folder is in.
    ///
    /// # Errors
    /// None is said, and that is no clone.
    pub fn folder(&self) -> miette::Result<PathBuf> {
        match &self.out {
            Some(out) => Ok(out.clone()),
            None => Ok(build::workspace()?.root().join("out")),
        }
    }

    /// What says `folder` to who looks for what runs, with a space before it; nothing if that is the clone's own.
    pub fn option(folder: &Path) -> String {
        let own = build::workspace().ok().map(|it| it.root().join("out"));
        // The other terminal may be in another folder.
        let full = |it: &Path| it.canonicalize().unwrap_or_else(|_| it.to_owned());
        match full(folder) {
            folder if own.is_some_and(|own| full(&own) == folder) => String::new(),
            folder => format!(" --out {}", folder.display()),
        }
    }
}

/// A machine for what was built, one of several if it is a `node`: QEMU hands it kernel and initramfs, or its firmware
/// boots the working disk, if it has a `disk`.
///
/// # Errors
/// Another machine has the working disk, or it cannot be made or installed on.
pub fn machine(
    built: &Built,
    disk: Option<ExistingDisk>,
    node: Option<Node>,
) -> miette::Result<Builder> {
    let architecture = built.target.architecture();
    let Some(existing) = disk else {
        let machine = Machine::builder(&built.linux, &built.initrd).architecture(architecture);
        return Ok(match node {
            Some(Node::Router) => machine.kernel_argument("octet.board=router"),
            _ => machine,
        });
    };
    let disk = WorkingDisk::of(built, node, existing)?;
    eprintln!("{:10} {}: {}", "disk", disk.path.display(), disk.description);
    Ok(Machine::from_disk(architecture, Disk::new(&disk.path)))
}

/// The folder of the sockets of `node`, of several machines whose folders are in `all`.
pub fn folder_of(all: &Path, node: Node) -> PathBuf {
    all.join(node.to_string())
}

/// The control port of the machine with this `number`, or of the only one that runs from `out`; of several that are
/// one box the router's, or that of `board`.
///
/// # Errors
/// There is none, or it is not said which.
pub fn control_port(
    out: &Path,
    number: Option<u32>,
    board: Option<u8>,
) -> Result<PathBuf, NotFound> {
    let machine = find(out, number)?;
    let folder = match board {
        Some(board) => {
            let of_board = machine.sockets.parent().map(|it| folder_of(it, Node::Board(board)));
            let of_board = of_board.filter(|folder| folder.is_dir());
            of_board.ok_or_else(|| NotFound::Board { board, what: machine.what.clone() })?
        }
        None => machine.sockets.clone(),
    };
    Ok(folder.join("control"))
}

/// Where devices are plugged into the networks of a box.
#[derive(Debug)]
pub struct Hubs {
    /// The socket of the lan's hub.
    pub lan: PathBuf,
    /// The socket of the hub outside, which the router's uplink is in, too.
    pub outside: PathBuf,
    /// The folder for what programs of such a device keep as their settings: with their keys, and those that they know
    /// of the box. It lasts as long as the box has its keys.
    pub config: PathBuf,
}

/// The hub of this `side` of the box with this `number`, or of the only one that runs from `out`.
///
/// # Errors
/// There is none, or it is not said which.
pub fn hub(
    out: &Path,
    number: Option<u32>,
    side: PlugPoint,
) -> Result<(PathBuf, PathBuf), NotFound> {
    let RunningMachines { number, what, sockets } = find(out, number)?;
    let Hubs { lan, outside, config } = Hubs::of(&sockets);
    let hub = match side {
        PlugPoint::Lan => lan,
        PlugPoint::Outside => outside,
    };
    if hub.exists() { Ok((hub, config)) } else { Err(NotFound::NoBox { number, what }) }
}

/// The socket of the box with this `number`, or of the only one that runs from `out`.
///
/// # Errors
/// There is none, or it is not said which.
pub fn box_socket(out: &Path, number: Option<u32>) -> Result<PathBuf, NotFound> {
    let RunningMachines { number, what, sockets } = find(out, number)?;
    let socket = socket::path(&sockets);
    if socket.exists() { Ok(socket) } else { Err(NotFound::NoBox { number, what }) }
}

impl Hubs {
    /// Those of the box whose router has its sockets in this folder.
    pub fn of(sockets: &Path) -> Self {
        let [lan, outside, config] = ["lan", "outside", "config"].map(|name| sockets.join(name));
        Self { lan, outside, config }
    }
}

/// The machine with this `number`, or the only one that runs from `out`.
fn find(out: &Path, number: Option<u32>) -> Result<RunningMachines, NotFound> {
    let mut all =
        registry::list(out).map_err(|why| NotFound::Folder { out: out.to_owned(), why })?;
    let at = match (number, &all[..]) {
        (_, []) => return Err(NotFound::None { out: out.to_owned() }),
        (None, [_]) => 0,
        (None, _) => return Err(NotFound::Several { list: list(&all) }),
        (Some(number), _) => {
            let found = all.iter().position(|it| it.number == number);
            found.ok_or_else(|| NotFound::Other { number, list: list(&all) })?
        }
    };
    Ok(all.swap_remove(at))
}

/// One line per machine.
fn list(all: &[RunningMachines]) -> String {
    let line = |it: &RunningMachines| format!("  {}: {}", it.number, it.what);
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_only_one_is_found_and_of_several_the_one_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let sockets = ["octet-a", "octet-b/router", "octet-b/board-3"].map(|name| {
            let sockets = folder.path().join(name);
            fs::create_dir_all(&sockets).unwrap();
            sockets
        });
        assert_eq!(folder_of(&folder.path().join("octet-b"), Node::Board(3)), sockets[2]);
        let error = control_port(&out, None, None).unwrap_err();
        assert!(error.help().is_some_and(|help| help.to_string().contains("cargo image run")));
        let first = Registration::register(&out, "one machine", &sockets[0]).unwrap();
        let port = |number, board| control_port(&out, number, board).map_err(|it| it.to_string());
        assert_eq!(port(None, None).unwrap(), sockets[0].join("control"));
        assert!(port(None, Some(3)).unwrap_err().contains("one machine"));

        let second = Registration::register(&out, "a box", &sockets[1]).unwrap();
        let error = port(None, None).unwrap_err();
        assert!(error.contains("1: one machine") && error.contains("2: a box"), "{error}");
        assert_eq!(port(Some(1), None).unwrap(), sockets[0].join("control"));
        assert_eq!(port(Some(2), None).unwrap(), sockets[1].join("control"));
        assert_eq!(port(Some(2), Some(3)).unwrap(), sockets[2].join("control"));
        assert!(port(Some(3), None).unwrap_err().contains("2: a box"));
        fs::write(Hubs::of(&sockets[1]).lan, "").unwrap();
        assert_eq!(hub(&out, Some(2), PlugPoint::Lan).unwrap().0, sockets[1].join("lan"));
        assert!(hub(&out, Some(2), PlugPoint::Outside).is_err());
        let error = hub(&out, Some(1), PlugPoint::Lan).unwrap_err();
        assert!(error.to_string().contains("one machine"), "{error}");
        assert!(error.help().is_some_and(|help| help.to_string().contains("--cluster")));
        drop(first);
        assert_eq!(port(None, None).unwrap(), sockets[1].join("control"));
        drop(second);
        assert!(port(None, None).is_err());
    }

    /// What was started with `--out DIR` says how it is found, and by that it is found from any folder.
    #[test]
    fn one_with_an_out_folder_of_its_own_is_found_by_that() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().canonicalize().unwrap().join("other");
        let sockets = folder.path().join("octet-a");
        fs::create_dir_all(&sockets).unwrap();
        let _place = Registration::register(&out, "one machine", &sockets).unwrap();
        let option = Out::option(&out);
        assert_eq!(option, format!(" --out {}", out.display()));
        let words: Vec<_> = option.split_whitespace().collect();
        let said = Out { out: Some(words[1].into()) };
        let port = control_port(&said.folder().unwrap(), None, None).unwrap();
        assert_eq!(port, sockets.join("control"));
        // The clone's own need not be said.
        let own = Out::default().folder().unwrap();
        assert_eq!(Out::option(&own), "");
        let error = control_port(&folder.path().join("none"), None, None).unwrap_err();
        assert!(error.help().unwrap().to_string().contains("--out DIR"));
    }
}
