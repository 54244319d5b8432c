//! `cargo image bench`

use std::process::ExitCode;

use miette::{IntoDiagnostic, WrapErr};

use crate::bench;
use crate::build;
use crate::report;
use crate::setup;

/// Measures the image against its limits and other programs; writes docs/BENCHMARKS.md
#[derive(clap::Args)]
pub struct Args {
    /// Install missing Debian packages and Rust targets first
    #[arg(long)]
    setup: bool,
    /// The number of runs of each measurement
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Measure this part only; the rest of docs/BENCHMARKS.md is kept
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<bench::Part>,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    // Peers are needed only where something stands beside them.
    let beside: &[&'static [setup::Need]] = match args.only {
        Some(
            bench::Part::Forward
            | bench::Part::Box
            | bench::Part::Building
            | bench::Part::Cluster
            | bench::Part::Image
            | bench::Part::Messenger
            | bench::Part::Upload,
        ) => &[],
        Some(bench::Part::Supervisors) => &[&setup::SUPERVISORS],
        Some(bench::Part::Segments) => &[&setup::SEGMENTS],
        Some(bench::Part::Cache) => &[&setup::NGINX, &setup::CACHE],
        Some(bench::Part::Paths) => &[&setup::PATHS],
        None => {
            &[&setup::SUPERVISORS, &setup::SEGMENTS, &setup::NGINX, &setup::CACHE, &setup::PATHS]
        }
    };
    let mut needs = beside.to_vec();
    // These boot nothing.
    let boots = !matches!(
        args.only,
        Some(
            bench::Part::Forward
                | bench::Part::Messenger
                | bench::Part::Cache
                | bench::Part::Upload
        )
    );
    if boots {
        needs.extend(setup::run(args.build.target));
    }
    setup::require(&needs, args.setup)?;
    let root = build::workspace()?.root().to_owned();
    let path = root.join("docs/BENCHMARKS.md");
    let commit = bench::commit(&root);
    let runs = args.runs.into();
    let page = match args.only {
        None => bench::at_commit(&bench::measure(&args.build, runs)?.markdown(), &commit),
        Some(part) => {
            let section = bench::at_commit(&part.measure(&args.build, runs)?, &commit);
            let page = std::fs::read_to_string(&path)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot read {}", path.display()))?;
            bench::replace_section(&page, part.title(), &section)
        }
    };
    std::fs::write(&path, &page)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    report::print(&page)?;
    // A goal that is missed is said there; whether it matters is for whoever reads it.
    Ok(ExitCode::SUCCESS)
}
