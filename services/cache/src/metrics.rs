//! Prometheus metrics (`docs/cache.md`). They contain no hash, name, node or address, so that the
//! collector does not learn who has which object.

use std::fmt::{self, Display};

use octet_node::metrics::exposition::MetricKind::{Counter, Gauge};
use octet_node::metrics::exposition::collector::Collector;
use octet_node::metrics::exposition::encoding::DescriptorEncoder;
use octet_node::metrics::exposition::{family, text};
use octet_node::metrics::server::MetricSource;

use crate::http::Gateway;
use crate::keep::{KeepCondition, KeepRow};

/// Collects the metrics.
#[derive(Debug, Clone)]
pub struct Numbers(pub Gateway);

impl MetricSource for Numbers {
    async fn text(&self) -> Option<String> {
        self.now()
    }
}

impl Numbers {
    pub fn now(&self) -> Option<String> {
        text("octet_cache", self.clone())
    }
}

impl Collector for Numbers {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let counters = &self.0.counters;
        if let Some(state) = &self.0.state {
            let (policy, (objects, bytes)) = (state.objects.policy(), state.objects.in_memory());
            let usage = policy.usage();
            family(out, "objects", Gauge, "Objects here.", one(usage.objects))?;
            let help = "Bytes as objects are charged: all, and of these what is pinned.";
            let charged = [("used", usage.used), ("pinned", usage.pinned)];
            family(out, "bytes", Gauge, help, by("state", charged))?;
            let help = "Bytes that may be used.";
            family(out, "quota_bytes", Gauge, help, one(usage.quota))?;
            let help = "Small objects in memory.";
            family(out, "memory_objects", Gauge, help, one(objects))?;
            let help = "Their bytes, with what they take besides.";
            family(out, "memory_bytes", Gauge, help, one(bytes))?;
            let help = "Objects of `[[keep]]`, by whether there are enough copies of them.";
            family(out, "kept", Gauge, help, by("state", kept(&state.keeper.rows())))?;
            let help = "Objects that the disk has damaged, and that are not repaired.";
            family(out, "damaged", Gauge, help, one(policy.damaged().len()))?;
            let help = "Objects that were damaged, by what has happened since the start.";
            let scrubber = &state.scrubber;
            let found = [("found", scrubber.found.get()), ("repaired", counters.repaired.get())];
            family(out, "damages", Counter, help, by("event", found))?;
            let help = "Bytes on the disk that were verified.";
            let verified = one(scrubber.verified_bytes.get());
            family(out, "verified_bytes", Counter, help, verified)?;
            let help = "Objects that have gone because room was needed.";
            let evicted = one(policy.evicted.get());
            family(out, "evicted", Counter, help, evicted)?;
            let help = "Bytes of objects that were given to other nodes.";
            let given = one(policy.sent_bytes.get());
            family(out, "given_bytes", Counter, help, given)?;
        }
        let help = "Requests of objects, by whether they were here.";
        let requests = [("here", counters.hits.get()), ("elsewhere", counters.misses.get())];
        family(out, "requests", Counter, help, by("found", requests))?;
        let help = "Answers from memory.";
        let from_memory = one(counters.from_memory.get());
        family(out, "memory_hits", Counter, help, from_memory)?;
        let help = "Objects that were fetched from other nodes.";
        family(out, "fetched", Counter, help, one(counters.fetched.get()))?;
        let help = "Answers over HTTP, by their code.";
        let answers = by("code", counters.responses());
        family(out, "http_answers", Counter, help, answers)?;
        let help = "Bytes of objects that were given out over HTTP.";
        let bytes = one(counters.http_bytes.get());
        family(out, "http_bytes", Counter, help, bytes)?;
        let help = "Requests to web origins, by how they were answered.";
        let origins = by("cache", counters.origins.all());
        family(out, "origin_requests", Counter, help, origins)?;
        let help = "Connections that were turned away.";
        let refused =
            [("http", counters.http_refused.get()), ("nodes", counters.peers_refused.get())];
        family(out, "refused", Counter, help, by("door", refused))
    }
}

/// The number of rows in each condition.
fn kept(rows: &[KeepRow]) -> [(&'static str, usize); 3] {
    KeepCondition::ALL.map(|condition| {
        let count = rows.iter().filter(|row| row.condition == condition).count();
        (condition.name(), count)
    })
}

/// The samples of a family, with their labels.
type Samples<V> = Vec<(Vec<(&'static str, String)>, V)>;

fn one<V>(value: V) -> Samples<V> {
    vec![(vec![], value)]
}

fn by<L: Display, V>(label: &'static str, samples: impl IntoIterator<Item = (L, V)>) -> Samples<V> {
    samples.into_iter().map(|(of, value)| (vec![(label, of.to_string())], value)).collect()
}
