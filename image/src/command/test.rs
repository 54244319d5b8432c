//! `cargo image test`

use std::path::PathBuf;
use std::process::ExitCode;

use crate::build;
use crate::setup;
use crate::suite::{self, Selection};

/// Builds the image and runs the test suite
#[derive(clap::Args)]
pub struct Args {
    /// Run only tests of the appliance, and other test programs, whose names contain this
    name: Option<String>,
    /// Install missing Debian packages and Rust targets first
    #[arg(long)]
    setup: bool,
    /// Run the long tier as well: all counts, power cuts and seeds
    #[arg(long)]
    soak: bool,
    /// Write how long each test took into tests/README.md
    #[arg(long)]
    write_costs: bool,
    /// Run only what is about a router with OpenWrt, on this root file system as a guest
    ///
    /// It is the openwrt-RELEASE-x86-64-rootfs.tar.gz that OpenWrt publishes for x86/64, and needs uhttpd with
    /// uhttpd-mod-ubus and a certificate, rpcd with rpcd-mod-file, and firewall4: releases have them. Without it that runs
    /// on a test double.
    #[arg(long, value_name = "ROOTFS.tar.gz", conflicts_with = "name")]
    openwrt: Option<PathBuf>,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let openwrt = args.openwrt.as_deref().map(suite::openwrt_root).transpose()?;
    let built = [&setup::BUILD[..], &setup::X86_64, &setup::AARCH64];
    let mut needs = [&built[..], &[&setup::TEST, &setup::NFT, &setup::VERIFY]].concat();
    if args.soak {
        needs.extend([&setup::SOAK[..], &setup::NGINX, &setup::U_BOOT]);
    }
    setup::require(&needs, args.setup)?;
    let Args { name, soak, write_costs, .. } = args;
    let filter = openwrt.as_ref().map(|_| suite::OPENWRT.to_owned()).or(name);
    let passed = suite::run(&args.build, &Selection { filter, soak, write_costs, openwrt })?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
