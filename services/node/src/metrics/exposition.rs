//! The OpenMetrics 1.0 text format
//! (<https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md#text-format>).

use std::fmt::{self, Display};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

pub use prometheus_client::collector;
pub use prometheus_client::encoding;

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A counter: it increases until the service restarts. Its name gets the suffix `_total`.
    Counter,
    /// A gauge.
    Gauge,
}

/// The text of all metrics in `numbers`, with `prefix` and `_` before each name; `None` if there are none.
pub fn text(prefix: &str, numbers: impl Collector) -> Option<String> {
    let mut registry = Registry::with_prefix(prefix);
    registry.register_collector(Box::new(numbers));
    let mut text = String::new();
    encode(&mut text, &registry).ok().map(|()| text)
}

/// Adds a family of samples, each with its labels and its value. `help` is one line.
///
/// # Errors
/// Writing the text fails.
pub fn family<L: Display, V: EncodeCounterValue + EncodeGaugeValue>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    kind: MetricKind,
    help: &str,
    samples: impl IntoIterator<Item = (Vec<(&'static str, L)>, V)>,
) -> fmt::Result {
    let of = match kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
    };
    let mut family = to.encode_descriptor(name, help, None, of)?;
    for (labels, value) in samples {
        let labels = labels.iter().map(|(name, value)| (*name, escaped(&value.to_string())));
        // An empty label list would be written as well.
        match &labels.collect::<Vec<_>>()[..] {
            [] => sample(&mut family, kind, &value)?,
            labels => sample(&mut family.encode_family(&labels)?, kind, &value)?,
        }
    }
    Ok(())
}

fn sample<V: EncodeCounterValue + EncodeGaugeValue>(
    to: &mut MetricEncoder<'_>,
    kind: MetricKind,
    value: &V,
) -> fmt::Result {
    match kind {
        MetricKind::Counter => to.encode_counter::<NoLabelSet, _, u64>(value, None),
        MetricKind::Gauge => to.encode_gauge(value),
    }
}

/// A label's value, escaped because the library does not escape it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Three;

    impl Collector for Three {
        fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
            let none: [(Vec<(&str, &str)>, u32); 0] = [];
            let labelled = [(vec![("b", "c"), ("d", "e\\f\"g\nh")], 7), (vec![("b", "i")], 8_u64)];
            family(&mut to, "a", MetricKind::Counter, "One.", labelled)?;
            let alone = [(Vec::<(&str, &str)>::new(), 0.25)];
            family(&mut to, "j", MetricKind::Gauge, "A \"number\".", alone)?;
            family(&mut to, "k", MetricKind::Gauge, "None.", none)
        }
    }

    #[test]
    fn as_it_is_written() {
        let expected = "# HELP x_a One.\n# TYPE x_a counter\n\
                        x_a_total{b=\"c\",d=\"e\\\\f\\\"g\\nh\"} 7\n\
                        x_a_total{b=\"i\"} 8\n\
                        # HELP x_j A \"number\".\n# TYPE x_j gauge\nx_j 0.25\n\
                        # HELP x_k None.\n# TYPE x_k gauge\n# EOF\n";
        assert_eq!(text("x", Three).unwrap(), expected);
    }
}
