//! The command line of `octetctl openwrt`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use octet_appliance::{Fingerprint, RouterAddress};
use octet_openwrt::adopt::LOGIN;

/// Configures a router with OpenWrt by appliance.toml
///
/// The router's password comes from the environment variable OCTET_OPENWRT_PASSWORD or from a file.
#[derive(Debug, Parser)]
#[command(name = "octetctl openwrt", bin_name = "octetctl openwrt")]
pub struct OpenwrtLine {
    /// What is to be done
    #[command(subcommand)]
    pub verb: OpenwrtVerb,
}

impl OpenwrtLine {
    /// Whether the command can involve boards of a box.
    pub fn asks_boards(&self) -> bool {
        matches!(self.verb, OpenwrtVerb::Verify(_))
    }
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum OpenwrtVerb {
    /// Shows a new router's certificate, and the commands to paste there to create a login
    Adopt {
        /// The router's web server: ADDRESS, or ADDRESS:PORT if the port is not 443
        address: RouterAddress,
    },
    /// Lists conflicts, and what `apply` would add, change and delete
    Diff(RouterOptions),
    /// Applies the settings to the router, or leaves it unchanged
    Apply(RouterOptions),
    /// Lists differences between the settings and the router: configuration, firewall warnings,
    /// running state; with --box BOX also which packets between its boards arrive
    Verify(RouterOptions),
    /// Removes everything of Octet, and keeps what is the owner's
    Release(RouterOptions),
}

/// A box, and how its router is spoken to.
#[derive(Debug, Args)]
pub struct RouterOptions {
    /// The settings of the box
    #[arg(long, value_name = "FILE", default_value = "appliance.toml")]
    pub settings: PathBuf,
    /// The folder of Octet's repository, for the ports of its services; default: the folder of the
    /// settings
    #[arg(long, value_name = "FOLDER")]
    pub octet: Option<PathBuf>,
    /// The router's web server; default: `router` in [cluster]
    #[arg(long, requires = "fingerprint")]
    pub address: Option<RouterAddress>,
    /// The SHA-256 of its certificate, as `octetctl openwrt adopt` prints it: sha256:…
    #[arg(long, value_name = "SHA256", requires = "address")]
    pub fingerprint: Option<Fingerprint>,
    /// The user that logs in
    #[arg(long, value_name = "NAME", default_value = LOGIN)]
    pub login: String,
    /// A file whose first line is the password; without it OCTET_OPENWRT_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
