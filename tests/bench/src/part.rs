//! The parts that can be measured by themselves: each has a section of docs/BENCHMARKS.md.

use octet_image::build::Options;
use octet_image::setup::{self, Need};
use octet_image::{Part, Target};

use crate::report::BenchReport;
use crate::{
    building, cache, cluster, forward, host, image, ledger, live, messenger, paths, segments,
    supervisors, upload,
};

/// The heading of its section.
pub fn title(part: Part) -> &'static str {
    match part {
        Part::Image => image::TITLE,
        Part::Building => building::TITLE,
        Part::Supervisors => supervisors::TITLE,
        Part::Box => live::TITLE,
        Part::Segments => segments::TITLE,
        Part::Cluster => cluster::TITLE,
        Part::Cache => cache::TITLE,
        Part::Forward => forward::TITLE,
        Part::Messenger => messenger::TITLE,
        Part::Upload => upload::TITLE,
        Part::Ledger => ledger::TITLE,
        Part::Paths => paths::TITLE,
    }
}

/// Measures it alone, and returns its section.
pub fn measure(part: Part, options: &Options, runs: usize) -> miette::Result<String> {
    Ok(match part {
        Part::Image => image::measure(options, runs)?.markdown(),
        Part::Building => building::measure(options, runs)?.markdown(),
        Part::Supervisors => supervisors::measure(options, runs)?.markdown(),
        Part::Box => live::measure(options, runs)?.markdown(),
        Part::Segments => segments::measure(options, runs)?.markdown(),
        Part::Cluster => cluster::measure(options, runs)?.markdown(),
        Part::Cache => cache::measure(runs)?.markdown(),
        Part::Forward => forward::measure()?.markdown(),
        Part::Messenger => messenger::measure(runs)?.markdown(),
        Part::Upload => upload::measure(runs)?.markdown(),
        Part::Ledger => ledger::measure(runs)?.markdown(),
        Part::Paths => paths::measure(options, runs)?.markdown(),
    })
}

/// What has to be on this computer to measure it, or all of them.
pub fn needs(part: Option<Part>, target: Target) -> Vec<&'static [Need]> {
    // Peers are needed only where something stands beside them.
    let beside: &[&'static [Need]] = match part {
        Some(
            Part::Forward
            | Part::Box
            | Part::Building
            | Part::Cluster
            | Part::Image
            | Part::Ledger
            | Part::Messenger
            | Part::Upload,
        ) => &[],
        Some(Part::Supervisors) => &[&setup::SUPERVISORS],
        Some(Part::Segments) => &[&setup::NFT, &setup::SEGMENTS],
        Some(Part::Cache) => &[&setup::NGINX, &setup::CACHE],
        Some(Part::Paths) => &[&setup::PATHS],
        None => &[
            &setup::SUPERVISORS,
            &setup::NFT,
            &setup::SEGMENTS,
            &setup::NGINX,
            &setup::CACHE,
            &setup::PATHS,
        ],
    };
    let mut needs = beside.to_vec();
    // These boot nothing.
    let boots = !matches!(
        part,
        Some(Part::Forward | Part::Messenger | Part::Cache | Part::Upload | Part::Ledger)
    );
    if boots {
        needs.extend(setup::run(target));
    }
    needs
}

/// Measures everything; `runs` is how often what takes time is done.
pub fn measure_all(options: &Options, runs: usize) -> miette::Result<BenchReport> {
    let image = image::measure(options, runs)?;
    let building = building::measure(options, runs)?;
    let supervisors = supervisors::measure(options, runs)?;
    let live = live::measure(options, runs)?;
    let segments = segments::measure(options, runs)?;
    let cluster = cluster::measure(options, runs)?;
    let cache = cache::measure(runs)?;
    let forward = forward::measure()?;
    let messenger = messenger::measure(runs)?;
    let upload = upload::measure(runs)?;
    let ledger = ledger::measure(runs)?;
    let paths = paths::measure(options, runs)?;
    let host = host::describe();
    Ok(BenchReport {
        host,
        image,
        building,
        supervisors,
        live,
        segments,
        cluster,
        cache,
        forward,
        messenger,
        upload,
        ledger,
        paths,
    })
}
