//! docs/BENCHMARKS.md

use super::building::Building;
use super::cache::CacheRuns;
use super::cluster::ClusterRuns;
use super::forward::ForwardRuns;
use super::image::Images;
use super::ledger::LedgerRuns;
use super::live::LiveRuns;
use super::messenger::Messenger;
use super::page::table;
use super::paths::PathRuns;
use super::segments::SegmentRuns;
use super::supervisors::Supervisors;
use super::upload::Upload;

pub struct BenchReport {
    pub host: Vec<(&'static str, String)>,
    pub image: Images,
    pub building: Building,
    /// PID 1 beside others.
    pub supervisors: Supervisors,
    pub live: LiveRuns,
    pub segments: SegmentRuns,
    pub cluster: ClusterRuns,
    pub cache: CacheRuns,
    pub forward: ForwardRuns,
    pub messenger: Messenger,
    /// A file that is sent.
    pub upload: Upload,
    pub ledger: LedgerRuns,
    pub paths: PathRuns,
}

impl BenchReport {
    pub fn markdown(&self) -> String {
        let mut page = String::from(HEAD);
        let host = self.host.iter().map(|(name, value)| [(*name).to_owned(), value.clone()]);
        table(&mut page, ["machine", ""], host);
        for section in [
            self.image.markdown(),
            self.building.markdown(),
            self.supervisors.markdown(),
            self.live.markdown(),
            self.segments.markdown(),
            self.cluster.markdown(),
            self.cache.markdown(),
            self.forward.markdown(),
            self.messenger.markdown(),
            self.upload.markdown(),
            self.ledger.markdown(),
            self.paths.markdown(),
        ] {
            page.push('\n');
            page += &section;
        }
        page
    }
}

const HEAD: &str = "\
# Benchmarks

Written by `cargo image bench`; do not edit. With `--only PART` it measures one section, of which each says how, and at
which commit it was measured.

";
