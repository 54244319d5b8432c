//! The words behind `octetctl openwrt`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use octet_appliance::{Fingerprint, RouterAddress};
use octet_openwrt::adopt::LOGIN;

/// Has a router with OpenWrt obey appliance.toml
///
/// The router's password is in the environment variable OCTET_OPENWRT_PASSWORD, or in a file.
#[derive(Debug, Parser)]
#[command(name = "octetctl openwrt", bin_name = "octetctl openwrt")]
pub struct OpenwrtLine {
    /// What is to be done
    #[command(subcommand)]
    pub verb: Verb,
}

impl OpenwrtLine {
    /// Whether boards of a box may be asked about it.
    pub fn asks_boards(&self) -> bool {
        matches!(self.verb, Verb::Verify(_))
    }
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Looks at a new router without a login: its certificate, and what to paste there for one
    Adopt {
        /// Where its web server answers: ADDRESS, or ADDRESS:PORT if it is not 443
        address: RouterAddress,
    },
    /// Lists what stands in the way, and what is to come, change and go
    Diff(Of),
    /// Brings the router there, or leaves it as it was
    Apply(Of),
    /// Lists what is not as the plan says: what is configured, what the firewall warns of, and what runs; with --box BOX
    /// also what arrives of packets that its boards send each other
    Verify(Of),
    /// Takes away all that is Octet's, and leaves what is the owner's
    Release(Of),
}

/// A box, and how its router is spoken to.
#[derive(Debug, Args)]
pub struct Of {
    /// The settings of the box
    #[arg(long, value_name = "FILE", default_value = "appliance.toml")]
    pub settings: PathBuf,
    /// The folder of Octet's repository, for the ports of its services; without it that of the settings
    #[arg(long, value_name = "FOLDER")]
    pub octet: Option<PathBuf>,
    /// Where its web server answers; without it as `router` in [cluster] says
    #[arg(long, requires = "fingerprint")]
    pub address: Option<RouterAddress>,
    /// Its certificate, as `octetctl openwrt adopt` says: sha256:…
    #[arg(long, value_name = "SHA256", requires = "address")]
    pub fingerprint: Option<Fingerprint>,
    /// Who logs in
    #[arg(long, value_name = "NAME", default_value = LOGIN)]
    pub login: String,
    /// A file whose first line is the password; without it OCTET_OPENWRT_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
