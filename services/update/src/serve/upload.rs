//! The bundle as a client uploads it, part by part on request.

use octet_node::Peer;
use octet_node::control::Failure;

use crate::source::BundleReader;

/// The file that is an argument of a request.
pub struct SentFile<'a> {
    pub peer: &'a mut Peer,
    pub id: u64,
    /// The length in bytes, if known.
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
