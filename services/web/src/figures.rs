//! The figures of all nodes, as the unit `face` reports them: parsed, and rendered as a drawing and a table. Unknown
//! figures are shown as unknown, never as zero.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};
use octet_control::render::{bytes, draw_box};
use octet_control::show_millionths;
use serde::Deserialize;
use serde_json::Value;

use crate::nodes::{HOME, node_name};
use crate::text::clean;

/// Boards in a row of the drawing: a phone shows half of them, and the router above the middle.
const COLUMNS: u64 = 4;

/// What `face show` and `face watch` answer.
#[derive(Debug, Clone, Deserialize)]
pub struct BoxFigures {
    pub role: Option<String>,
    /// The number of the node that has answered.
    pub number: Option<u8>,
    pub trouble: Option<String>,
    /// What a ledger has paid to this node, in millionths of a coin.
    coins_last_hour: Option<u64>,
    pub nodes: Vec<NodeFigures>,
}

/// One node; what is not known is missing.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeFigures {
    /// A box that is one board may have none.
    pub number: Option<u8>,
    condition: Option<String>,
    heard_seconds: Option<u64>,
    failed: Option<Vec<String>>,
    memory: Option<u64>,
    total: Option<u64>,
    cpu_percent: Option<u64>,
    temperature_celsius: Option<i64>,
    received_per_second: Option<u64>,
    sent_per_second: Option<u64>,
    refused: Option<String>,
}

/// One item of `face history`.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeHistory {
    number: Option<u8>,
    seconds_each: u64,
    values: Vec<Option<f64>>,
}

/// The two parts of the page that change with the figures.
#[derive(Debug, Clone)]
pub struct Fragments {
    pub drawing: String,
    pub figures: String,
}

/// Renders the answer `value`; `None` if it has not the form of figures.
pub fn render(value: &Value) -> Option<(BoxFigures, Fragments)> {
    let figures = BoxFigures::deserialize(value).ok()?;
    let fragments = Fragments {
        drawing: draw_box(value, COLUMNS).unwrap_or_default(),
        figures: table(&figures).into_string(),
    };
    Some((figures, fragments))
}

fn table(figures: &BoxFigures) -> Markup {
    let number =
        |value: Option<u64>, unit: &str| known(value.map(|value| format!("{value}{unit}")));
    let rate = |value: Option<u64>| known(value.map(|value| format!("{}/s", bytes(value))));
    html! {
        @if let Some(trouble) = &figures.trouble { p.alarm { "Trouble: " (clean(trouble)) } }
        @if let Some(coins) = figures.coins_last_hour {
            p { "Paid in the last hour: " (show_millionths(coins)) " coins" }
        }
        div.wide {
            table {
                thead { tr {
                    @for name in ["Node", "Condition", "CPU", "Temperature", "Memory used", "Received", "Sent", "Failed units", "Heard"] {
                        th scope="col" { (name) }
                    }
                } }
                tbody {
                    @for node in &figures.nodes {
                        tr {
                            th scope="row" { a href={ "/node/" (node.number.unwrap_or(HOME)) } { (name(node.number)) } }
                            td {
                                (known(node.condition.as_deref().map(|it| clean(it).into_owned())))
                                @if let Some(why) = &node.refused { ": " (clean(why)) }
                            }
                            td { (number(node.cpu_percent, " %")) }
                            td { (known(node.temperature_celsius.map(|degrees| format!("{degrees} °C")))) }
                            td { (known(memory(node))) }
                            td { (rate(node.received_per_second)) }
                            td { (rate(node.sent_per_second)) }
                            td { (known(node.failed.as_ref().map(|units| failed(units)))) }
                            td { (known(node.heard_seconds.map(|seconds| format!("{seconds} s ago")))) }
                        }
                    }
                }
            }
        }
    }
}

fn name(number: Option<u8>) -> String {
    number.map_or_else(|| "board".to_owned(), node_name)
}

fn known(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

fn memory(node: &NodeFigures) -> Option<String> {
    let (free, total) = node.memory.zip(node.total)?;
    let used = total.saturating_sub(free);
    let percent = (used as f64 * 100.0 / (total as f64).max(1.0)).round();
    Some(format!("{} ({percent} %)", bytes(used)))
}

fn failed(units: &[String]) -> String {
    match units {
        [] => "none".to_owned(),
        units => clean(&units.join(", ")).into_owned(),
    }
}

/// Points of a line, and its size in pixels.
const POINTS: usize = 48;
const HEIGHT: f64 = 20.0;

/// The figures of the last hours, a row for each node: processor, and traffic in both directions.
pub fn history(cpu: &[NodeHistory], received: &[NodeHistory], sent: &[NodeHistory]) -> Markup {
    let traffic: Vec<NodeHistory> = received.iter().map(|one| add(one, sent)).collect();
    let most = traffic.iter().flat_map(averages).flatten().fold(1.0, f64::max);
    // All lines end now, and begin where the longest one does.
    let count = cpu.iter().chain(&traffic).map(|it| it.values.len()).max().unwrap_or(0);
    let of = |all: &[NodeHistory], number: Option<u8>, scale: f64| {
        let found = all.iter().find(|history| history.number == number);
        found.map_or_else(|| html! { "-" }, |history| line(&history.padded(count), scale))
    };
    let minutes = cpu.first().map_or(0, |it| count as u64 * it.seconds_each / 60);
    let time = match minutes {
        0 | 1 => "minute".to_owned(),
        2..120 => format!("{minutes} minutes"),
        _ => format!("{} hours", minutes / 60),
    };
    html! {
        p { "CPU is drawn from 0 to 100 %, traffic from 0 to " (bytes(most as u64)) "/s." }
        div.wide tabindex="0" {
            table {
                caption { "The last " (time) "; a gap is a time without a report" }
                thead { tr { th scope="col" { "Node" } th scope="col" { "CPU" } th scope="col" { "Traffic" } } }
                tbody {
                    @for one in cpu {
                        tr {
                            th scope="row" { (name(one.number)) }
                            td { (of(cpu, one.number, 100.0)) }
                            td { (of(&traffic, one.number, most)) }
                        }
                    }
                }
            }
        }
    }
}

impl NodeHistory {
    /// The same with `count` values: those before the first one are not known.
    fn padded(&self, count: usize) -> Self {
        let missing = count.saturating_sub(self.values.len());
        let values = std::iter::repeat_n(None, missing).chain(self.values.iter().copied());
        Self { values: values.collect(), ..self.clone() }
    }
}

fn add(one: &NodeHistory, others: &[NodeHistory]) -> NodeHistory {
    let other = others.iter().find(|other| other.number == one.number);
    let second = |index: usize| other.and_then(|it| it.values.get(index).copied().flatten());
    let values =
        one.values.iter().enumerate().map(|(index, value)| match (*value, second(index)) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        });
    NodeHistory { values: values.collect(), ..one.clone() }
}

/// The averages of the values in [`POINTS`] equal parts; `None` where there is no value.
fn averages(history: &NodeHistory) -> Vec<Option<f64>> {
    let count = history.values.len();
    let parts = count.min(POINTS);
    let average = |part: usize| {
        let values = &history.values[part * count / parts..(part + 1) * count / parts];
        let (sum, known) =
            values.iter().flatten().fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
        (known > 0.0).then(|| sum / known)
    };
    (0..parts).map(average).collect()
}

/// A line of the values, whose top is `scale`; a gap where nothing is known.
fn line(history: &NodeHistory, scale: f64) -> Markup {
    let points = averages(history);
    let last = points.iter().rev().find_map(|point| *point);
    let Some(last) = last else { return html! { "-" } };
    let mut lines: Vec<Vec<(f64, f64)>> = vec![vec![]];
    for (x, point) in points.iter().enumerate() {
        match (point, lines.last_mut()) {
            (Some(value), Some(line)) => {
                let y = HEIGHT - (value / scale).clamp(0.0, 1.0) * HEIGHT;
                line.push((x as f64, y.round()));
            }
            _ => lines.push(vec![]),
        }
    }
    let title = format!("last {} % of the scale", (last * 100.0 / scale).round());
    let mut svg = format!(
        "<svg class=\"line\" viewBox=\"0 -1 {} 22\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}\">",
        points.len().saturating_sub(1).max(1)
    );
    for line in lines.iter().filter(|line| !line.is_empty()) {
        // A point alone becomes a short line: nothing is drawn of a line with one point.
        let line = match line[..] {
            [(x, y)] => &[(x - 0.5, y), (x + 0.5, y)],
            _ => &line[..],
        };
        let line: Vec<String> = line.iter().map(|(x, y)| format!("{x},{y}")).collect();
        // Writing to a string cannot fail.
        let _ = write!(svg, "<polyline points=\"{}\"/>", line.join(" "));
    }
    PreEscaped(svg + "</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_unknown_is_not_zero() {
        let mut value = json!({ "role": "coordinator", "number": 0, "trouble": "no <map>", "nodes": [
            { "number": 3, "condition": "ready", "cpu_percent": 7, "temperature_celsius": 41, "memory": 1_073_741_824_u64,
              "total": 2_147_483_648_u64, "received_per_second": 2048, "sent_per_second": 0, "failed": [], "heard_seconds": 4 },
            { "number": 4, "condition": "not heard", "failed": null, "cpu_percent": null },
        ]});
        let (figures, Fragments { figures: html, .. }) = render(&value).unwrap();
        assert_eq!((figures.number, figures.nodes.len()), (Some(0), 2));
        assert!(html.contains("no &lt;map&gt;"), "{html}");
        let ready = "<td>ready</td><td>7 %</td><td>41 °C</td><td>1.0 GiB (50 %)</td><td>2.0 KiB/s</td><td>0 B/s</td><td>none</td><td>4 s ago</td>";
        assert!(html.contains(ready), "{html}");
        let unknown = format!("<td>not heard</td>{}", "<td>-</td>".repeat(7));
        assert!(html.contains(&unknown) && !html.contains("coins"), "{html}");
        value["coins_last_hour"] = json!(250_000);
        let html = render(&value).unwrap().1.figures;
        assert!(html.contains("Paid in the last hour: 0.250000 coins"), "{html}");
        assert!(render(&json!({ "rows": [] })).is_none());
    }

    #[test]
    fn a_line_has_gaps_where_nothing_was_heard() {
        let one = |number, values: Vec<Option<f64>>| NodeHistory {
            number: Some(number),
            seconds_each: 60,
            values,
        };
        let cpu = [one(0, vec![Some(0.0), None, Some(50.0), Some(100.0)]), one(1, vec![None; 4])];
        let page = history(&cpu, &[one(0, vec![Some(1.0); 4])], &[one(0, vec![Some(3.0); 4])])
            .into_string();
        assert!(
            page.contains("<polyline points=\"-0.5,20 0.5,20\"/><polyline points=\"2,10 3,0\"/>"),
            "{page}"
        );
        assert!(page.contains("from 0 to 4 B/s"), "{page}");
        assert!(page.contains("<th scope=\"row\">board 1</th><td>-</td><td>-</td>"), "{page}");
        assert!(page.contains("The last 4 minutes;"), "{page}");
        // Two minutes of one node, and one of another: the lines end at the same place.
        let short = [one(0, vec![Some(0.0), Some(100.0)]), one(1, vec![Some(100.0)])];
        let page = history(&short, &[], &[]).into_string();
        assert!(page.contains("The last 2 minutes;"), "{page}");
        assert!(
            page.contains("points=\"0,20 1,0\"") && page.contains("points=\"0.5,0 1.5,0\""),
            "{page}"
        );
        let page = history(&[one(0, vec![Some(1.0)])], &[], &[]).into_string();
        assert!(page.contains("The last minute;"), "{page}");
        // A day is drawn with few points.
        let day = line(&one(0, (0..1440).map(|n| Some(f64::from(n % 100))).collect()), 100.0);
        assert_eq!(day.into_string().matches(',').count(), POINTS);
    }
}
