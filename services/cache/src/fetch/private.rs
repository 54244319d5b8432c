//! Fetches an object from one node over a private path, and asks no other node.

use std::sync::Arc;

use iroh_blobs::Hash;

use super::{Fetcher, Missing};
use crate::private::PrivatePath;

impl Fetcher {
    /// Waits until the object is on this node. After a timeout the fetch continues in the background. The path ends
    /// with the fetch.
    ///
    /// # Errors
    /// The node at the end of the path does not have it or does not answer, it is not complete yet, or it is being
    /// fetched from others.
    pub async fn fetch_private(
        self: &Arc<Self>,
        hash: Hash,
        path: PrivatePath,
    ) -> Result<(), Missing> {
        let flight = self.join(hash, None, u64::MAX, Some(path))?;
        let landed = self.wait(&flight, |it| it.outcome.is_some()).await?;
        landed.outcome.unwrap_or(Err(Missing::OnItsWay))
    }
}
