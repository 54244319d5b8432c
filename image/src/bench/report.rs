//! docs/BENCHMARKS.md

use super::building::Building;
use super::cache::CacheRuns;
use super::cluster::ClusterRuns;
use super::forward::ForwardRuns;
use super::image::Images;
use super::live::LiveRuns;
use super::messenger::Messenger;
use super::page::table;
use super::paths::PathRuns;
use super::segments::SegmentRuns;
use super::supervisors::Supervisors;
use super::upload::Upload;

/// Everything that was measured.
pub struct BenchReport {
    /// On what.
    pub host: Vec<(&'static str, String)>,
    /// The image itself.
    pub image: Images,
    /// Building and flashing.
    pub building: Building,
    /// PID 1 beside others.
    pub supervisors: Supervisors,
    /// A box that runs.
    pub live: LiveRuns,
    /// A router.
    pub segments: SegmentRuns,
    /// A whole box.
    pub cluster: ClusterRuns,
    /// Objects.
    pub cache: CacheRuns,
    /// Large networks.
    pub forward: ForwardRuns,
    /// Letters.
    pub messenger: Messenger,
    /// A file that is sent.
    pub upload: Upload,
    /// What paths carry.
    pub paths: PathRuns,
}

impl BenchReport {
    /// The page.
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
