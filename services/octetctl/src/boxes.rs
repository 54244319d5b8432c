//! The known boxes: addresses, nodes, epochs of gates' keys, and revocations. They are stored in
//! `boxes.toml`, which users may edit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use octet_control::PublicKey;
use octet_node::durable;
use serde::{Deserialize, Serialize};

use crate::target::GateAddress;

/// The maximum size of the file, in bytes.
const LONGEST: u64 = 1 << 20;

/// The file and its content.
#[derive(Debug)]
pub struct Boxes {
    path: PathBuf,
    known: KnownBoxes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KnownBoxes {
    /// Nodes that octetctl must not connect to.
    revoked: Vec<PublicKey>,
    /// The last node at each address.
    at: BTreeMap<String, PublicKey>,
    /// The highest known epoch of each node's gate key.
    gate: BTreeMap<String, u64>,
    /// The node of each board, by the box's node.
    boards: BTreeMap<String, BTreeMap<String, PublicKey>>,
    /// Additional owners of a box, by its node: their records about boards are accepted, too.
    owners: BTreeMap<String, Vec<PublicKey>>,
}

/// Why the file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum BoxesError {
    #[error("{}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    Malformed { path: PathBuf, problem: String },
}

impl Boxes {
    /// Reads the file at `path`; a missing file is empty.
    ///
    /// # Errors
    /// The file exists, but cannot be read or parsed.
    pub fn open(path: &Path) -> Result<Self, BoxesError> {
        Ok(Self { path: path.to_owned(), known: read(path)? })
    }

    pub fn is_revoked(&self, node: PublicKey) -> bool {
        self.known.revoked.contains(&node)
    }

    /// Revokes `node`: octetctl never connects to it again.
    pub fn revoke(&mut self, node: PublicKey) -> Result<(), BoxesError> {
        self.change(|known| {
            if !known.revoked.contains(&node) {
                known.revoked.push(node);
            }
        })
    }

    /// One line per node: its key, whether it is revoked, and its last addresses.
    pub fn lines(&self) -> Vec<String> {
        let at = |node: &PublicKey| {
            let here = self.known.at.iter().filter(|(_, known)| *known == node);
            let here = here.map(|(address, _)| address.clone());
            let boards = self.known.boards.iter().flat_map(|(of, boards)| {
                let this = boards.iter().filter(|(_, known)| *known == node);
                this.map(move |(number, _)| format!("board {number} of {of}"))
            });
            here.chain(boards).collect::<Vec<_>>().join(" ")
        };
        let seen = self.known.gate.keys().filter_map(|node| node.parse().ok());
        let nodes = seen.chain(self.known.at.values().copied()).chain(self.known.revoked.clone());
        let boards = self.known.boards.values().flat_map(|boards| boards.values().copied());
        let mut nodes: Vec<PublicKey> = nodes.chain(boards).collect();
        nodes.sort_unstable_by_key(PublicKey::to_string);
        nodes.dedup();
        let line = |node: &PublicKey| {
            let revoked = if self.is_revoked(*node) { " revoked" } else { "" };
            let at = Some(at(node)).filter(|at| !at.is_empty());
            format!("{node}{revoked}{}", at.map(|at| format!(" {at}")).unwrap_or_default())
        };
        nodes.iter().map(line).collect()
    }

    /// Changes the file's current content, because another `octetctl` may have changed it since: a
    /// revocation by it is kept.
    fn change(&mut self, change: impl FnOnce(&mut KnownBoxes)) -> Result<(), BoxesError> {
        let disk = |source| BoxesError::Disk { path: self.path.clone(), source };
        let lock = File::create(self.path.with_extension("lock")).map_err(disk)?;
        lock.lock().map_err(disk)?;
        let before = read(&self.path)?;
        let mut known = before.clone();
        change(&mut known);
        if known != before {
            let text = toml::to_string(&known).map_err(|error| disk(io::Error::other(error)))?;
            durable::replace(&self.path, text.as_bytes()).map_err(disk)?;
        }
        self.known = known;
        Ok(())
    }

    /// The last node at `address`.
    pub fn node_at(&self, address: &GateAddress) -> Option<PublicKey> {
        self.known.at.get(&address.to_string()).copied()
    }

    /// The highest known epoch of the gate key of `node`; 0 if there is none.
    pub fn key_epoch(&self, node: PublicKey) -> u64 {
        self.known.gate.get(&node.to_string()).copied().unwrap_or(0)
    }

    /// The last node of board `number` of the box `of`.
    pub fn board(&self, of: PublicKey, number: u8) -> Option<PublicKey> {
        self.known.boards.get(&of.to_string())?.get(&number.to_string()).copied()
    }

    /// The additional owners of the box `of`.
    pub fn owners(&self, of: PublicKey) -> &[PublicKey] {
        self.known.owners.get(&of.to_string()).map_or(&[], Vec::as_slice)
    }

    /// Records that board `number` of the box `of` is `node`, with the `epoch` of its gate key, if
    /// known.
    pub fn remember_board(
        &mut self,
        of: PublicKey,
        number: u8,
        node: PublicKey,
        epoch: Option<u64>,
    ) -> Result<(), BoxesError> {
        self.change(|known| {
            known.boards.entry(of.to_string()).or_default().insert(number.to_string(), node);
            if let Some(epoch) = epoch {
                let seen = known.gate.entry(node.to_string()).or_default();
                *seen = epoch.max(*seen);
            }
        })
    }

    /// Records that `node` is at `address`, with the `epoch` of its gate key.
    pub fn remember(
        &mut self,
        address: &GateAddress,
        node: PublicKey,
        epoch: u64,
    ) -> Result<(), BoxesError> {
        self.change(|known| {
            known.at.insert(address.to_string(), node);
            let seen = known.gate.entry(node.to_string()).or_default();
            *seen = epoch.max(*seen);
        })
    }
}

fn read(path: &Path) -> Result<KnownBoxes, BoxesError> {
    let disk = |source| BoxesError::Disk { path: path.to_owned(), source };
    let text = durable::read(path, LONGEST).map_err(disk)?.unwrap_or_default();
    let wrong = |problem: String| BoxesError::Malformed { path: path.to_owned(), problem };
    let text = String::from_utf8(text).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn what_was_seen_is_remembered() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("boxes.toml");
        let (node, address) = (PublicKey::new([3; 32]), "192.0.2.1".parse().unwrap());
        let mut boxes = Boxes::open(&path).unwrap();
        assert_eq!((boxes.node_at(&address), boxes.key_epoch(node)), (None, 0));
        boxes.remember(&address, node, 3).unwrap();
        boxes.remember(&address, node, 2).unwrap();
        let boxes = Boxes::open(&path).unwrap();
        assert_eq!((boxes.node_at(&address), boxes.key_epoch(node)), (Some(node), 3));
        std::fs::write(&path, "at = 7\n").unwrap();
        let error = Boxes::open(&path).unwrap_err().to_string();
        assert!(error.contains("boxes.toml") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn boards_are_remembered_by_box_and_number() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("boxes.toml");
        let [router, board, owner] = [3, 6, 9].map(|key| PublicKey::new([key; 32]));
        let mut boxes = Boxes::open(&path).unwrap();
        boxes.remember_board(router, 3, board, Some(2)).unwrap();
        boxes.remember_board(router, 3, board, None).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let owners = format!("[owners]\n\"{router}\" = [\"{owner}\"]\n");
        std::fs::write(&path, text.replace("[owners]\n", &owners)).unwrap();
        let boxes = Boxes::open(&path).unwrap();
        assert_eq!((boxes.board(router, 3), boxes.key_epoch(board)), (Some(board), 2));
        assert_eq!((boxes.board(router, 4), boxes.board(owner, 3)), (None, None));
        assert_eq!((boxes.owners(router), boxes.owners(board)), (&[owner][..], &[][..]));
        assert_eq!(boxes.lines(), [format!("{board} board 3 of {router}")]);
    }

    #[test]
    fn what_was_revoked_stays_so() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("boxes.toml");
        let (lost, other) = (PublicKey::new([3; 32]), PublicKey::new([6; 32]));
        let address = "192.0.2.1".parse().unwrap();
        // The file is opened before another process revokes the box, and written after that.
        let mut early = Boxes::open(&path).unwrap();
        early.remember(&address, lost, 1).unwrap();
        assert_eq!(early.lines(), [format!("{lost} 192.0.2.1:4040")]);
        Boxes::open(&path).unwrap().revoke(lost).unwrap();
        early.remember(&address, other, 1).unwrap();
        let mut boxes = Boxes::open(&path).unwrap();
        boxes.revoke(lost).unwrap();
        assert!(boxes.is_revoked(lost) && !boxes.is_revoked(other) && early.is_revoked(lost));
        let mut lines = [format!("{lost} revoked"), format!("{other} 192.0.2.1:4040")];
        lines.sort();
        assert_eq!(boxes.lines(), lines);
        assert_eq!(std::fs::read_to_string(&path).unwrap().matches("revoked").count(), 1);
    }
}
