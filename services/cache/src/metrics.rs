//! What this node keeps and gives, in numbers for Prometheus (`docs/cache.md`). No hash, name, node or address is among
//! them: whoever collects does not learn who has what.

use std::fmt::Display;

use octet_node::metrics::exposition::{Exposition, Kind};
use octet_node::metrics::server::Source;

use crate::http::Gateway;

/// Says what the numbers are now.
#[derive(Debug, Clone)]
pub struct Numbers(pub Gateway);

impl Source for Numbers {
    async fn text(&self) -> Option<String> {
        Some(self.now())
    }
}

impl Numbers {
    /// The text of that.
    pub fn now(&self) -> String {
        let mut out = Exposition::default();
        let counters = &self.0.counters;
        if let Some(here) = &self.0.here {
            let (policy, (objects, bytes)) = (here.objects.policy(), here.objects.in_memory());
            let usage = policy.usage();
            out.family("octet_cache_objects", Kind::Gauge, "Objects here.", one(usage.objects));
            let help = "Bytes as objects are charged: all, and of these what is pinned.";
            let charged = [("used", usage.used), ("pinned", usage.pinned)];
            out.family("octet_cache_bytes", Kind::Gauge, help, by("state", charged));
            let help = "Bytes that may be used.";
            out.family("octet_cache_quota_bytes", Kind::Gauge, help, one(usage.quota));
            let help = "Small objects in memory.";
            out.family("octet_cache_memory_objects", Kind::Gauge, help, one(objects));
            let help = "Their bytes, with what they take besides.";
            out.family("octet_cache_memory_bytes", Kind::Gauge, help, one(bytes));
            let help = "Objects that have gone because room was needed.";
            let evicted = one(policy.evicted.get());
            out.family("octet_cache_evicted_total", Kind::Counter, help, evicted);
            let help = "Bytes of objects that were given to other nodes.";
            let given = one(policy.given.get());
            out.family("octet_cache_given_bytes_total", Kind::Counter, help, given);
        }
        let help = "Requests of objects, by whether they were here.";
        let requests = [("here", counters.hits.get()), ("elsewhere", counters.misses.get())];
        out.family("octet_cache_requests_total", Kind::Counter, help, by("found", requests));
        let help = "Answers from memory.";
        let from_memory = one(counters.from_memory.get());
        out.family("octet_cache_memory_hits_total", Kind::Counter, help, from_memory);
        let help = "Objects that were fetched from other nodes.";
        out.family("octet_cache_fetched_total", Kind::Counter, help, one(counters.fetched.get()));
        let help = "Answers over HTTP, by their code.";
        let answers = by("code", counters.answers());
        out.family("octet_cache_http_answers_total", Kind::Counter, help, answers);
        let help = "Bytes of objects that were given out over HTTP.";
        let bytes = one(counters.http_bytes.get());
        out.family("octet_cache_http_bytes_total", Kind::Counter, help, bytes);
        let help = "Connections that were turned away.";
        let refused =
            [("http", counters.http_refused.get()), ("nodes", counters.peers_refused.get())];
        out.family("octet_cache_refused_total", Kind::Counter, help, by("door", refused));
        out.text()
    }
}

/// The samples of a family, each with its label.
type Samples<V> = Vec<(Vec<(&'static str, String)>, V)>;

fn one<V>(value: V) -> Samples<V> {
    vec![(vec![], value)]
}

fn by<L: Display, V>(label: &'static str, samples: impl IntoIterator<Item = (L, V)>) -> Samples<V> {
    samples.into_iter().map(|(of, value)| (vec![(label, of.to_string())], value)).collect()
}
