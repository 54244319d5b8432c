//! The sections about the box, from which the network plan is made.

use octet_appliance::{Cluster, ClusterSettings};

use super::{Settings, SettingsError};

impl Settings {
    /// The box that this node is part of, if any.
    ///
    /// # Errors
    /// The unit file does not name a section, or a value is invalid.
    pub fn cluster(&self) -> Result<Option<Cluster>, SettingsError> {
        self.optional("cluster")
    }

    /// All sections about the box, if this node is part of one.
    ///
    /// # Errors
    /// As [`cluster`](Self::cluster).
    pub fn cluster_settings(&self) -> Result<Option<ClusterSettings>, SettingsError> {
        let Some(cluster) = self.cluster()? else { return Ok(None) };
        Ok(Some(ClusterSettings {
            cluster,
            boards: self.list("board")?,
            lan: self.optional("lan")?,
            policies: self.list("policy")?,
            publish: self.list("publish")?,
            neighbours: self.list("neighbour")?,
            vpn: self.optional("vpn")?,
        }))
    }
}
