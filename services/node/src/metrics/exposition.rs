//! Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).

use std::fmt::{Display, Write as _};

/// What the text is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a number does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, but for a new start.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// The text, family by family.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Adds a family of samples, each with its labels and its value. `help` is one line.
    pub fn family<L: Display, V: Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, L)>, V)>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(help, false));
        for (labels, value) in samples {
            let label = |(name, value): &(&str, L)| {
                format!("{name}=\"{}\"", escaped(&value.to_string(), true))
            };
            let labels: Vec<_> = labels.iter().map(label).collect();
            let labels = match &labels[..] {
                [] => String::new(),
                labels => format!("{{{}}}", labels.join(",")),
            };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    /// The whole.
    pub fn text(self) -> String {
        self.0
    }
}

/// What would end a line, or a label's value, in the format's own words.
fn escaped(text: &str, is_label: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_label { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_it_is_written() {
        let mut out = Exposition::default();
        let none: [(Vec<(&str, &str)>, u8); 0] = [];
        out.family(
            "a_total",
            Kind::Counter,
            "One\nline.",
            [(vec![("b", "c"), ("d", "e\\f\"g\nh")], 7), (vec![("b", "i")], 8)],
        );
        out.family("j", Kind::Gauge, "A \"number\".", [(Vec::<(&str, &str)>::new(), 0.25)]);
        out.family("k", Kind::Gauge, "None.", none);
        let expected = "# HELP a_total One\\nline.\n# TYPE a_total counter\n\
                        a_total{b=\"c\",d=\"e\\\\f\\\"g\\nh\"} 7\n\
                        a_total{b=\"i\"} 8\n\
                        # HELP j A \"number\".\n# TYPE j gauge\nj 0.25\n\
                        # HELP k None.\n# TYPE k gauge\n";
        assert_eq!(out.text(), expected);
    }
}
