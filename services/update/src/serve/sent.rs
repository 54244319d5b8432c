//! The bundle as a client sends it, part by part as it is asked for.

use octet_node::Peer;
use octet_node::control::Failure;

use crate::source::BundleReader;

/// A file that is an argument of one request.
pub struct SentFile<'a> {
    pub peer: &'a mut Peer,
    pub id: u64,
    /// Its length in bytes, if that is known.
    pub size: Option<u64>,
}

impl BundleReader for SentFile<'_> {
    fn size(&self) -> Option<u64> {
        self.size
    }

    fn read(&mut self, at: u64, length: u32) -> Result<Vec<u8>, Failure> {
        self.peer.read_part(self.id, at, length)
    }
}
