//! `cargo image bench`: the image beside the limits it is held to. The builder starts this program, with its own arguments.

mod altered;
mod boot;
mod builder;
mod building;
mod cache;
mod cluster;
mod disk;
mod firmware;
mod flash;
mod forward;
mod frame;
mod guest;
mod host;
mod image;
mod ledger;
mod live;
mod memory;
mod messenger;
mod packages;
mod page;
mod part;
mod paths;
mod processor;
mod rebuild;
mod report;
mod sample;
mod segments;
mod supervisors;
mod upload;

use std::process::ExitCode;

use clap::Parser;
use miette::{IntoDiagnostic, WrapErr};
use octet_image::{BenchArgs, build, setup};

use page::{at_commit, commit, replace_section};

#[derive(Parser)]
#[command(bin_name = "cargo image bench")]
struct CommandLine {
    #[command(flatten)]
    args: BenchArgs,
}

fn main() -> ExitCode {
    octet_image::exit_code(|| run(CommandLine::parse().args))
}

fn run(args: BenchArgs) -> miette::Result<ExitCode> {
    let options = build::Options { builder: Some(builder::find()?), ..args.build };
    setup::require(&part::needs(args.only, options.target), args.setup)?;
    let root = build::workspace()?.root().to_owned();
    let path = root.join("docs/BENCHMARKS.md");
    let commit = commit(&root);
    let runs = args.runs.into();
    let page = match args.only {
        None => at_commit(&part::measure_all(&options, runs)?.markdown(), &commit),
        Some(part) => {
            let section = at_commit(&part::measure(part, &options, runs)?, &commit);
            let page = std::fs::read_to_string(&path)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot read {}", path.display()))?;
            replace_section(&page, part::title(part), &section)
        }
    };
    std::fs::write(&path, &page)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    octet_image::print(&page)?;
    // A goal that is missed is said there; whether it matters is for whoever reads it.
    Ok(ExitCode::SUCCESS)
}
