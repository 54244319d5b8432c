//! Draws the nodes of a box (SVG): the router above, the boards at its ports below, each with what its last report says.
//! It has no script and asks for nothing; dark or light is the viewer's choice.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

use super::bytes;
use super::drawing::escape;

/// Boards in a row, as ports of a switch.
const COLUMNS: u64 = 8;

/// Sizes of a node's card, the gap between cards, and the margin, in pixels.
const WIDTH: u64 = 140;
const HEIGHT: u64 = 110;
const GAP: u64 = 10;
const MARGIN: u64 = 24;

/// Height of the uplink above the router, and of the wires above a row of boards.
const UPLINK: u64 = 40;
const WIRES: u64 = 28;

/// Characters that a line of a card has room for, in the wide letters of common fonts.
const LINE: usize = 24;

/// The number of the router in `status --box`.
const ROUTER: u64 = 0;

/// What `status --box` says.
#[derive(Deserialize)]
pub struct BoxStatus {
    nodes: Vec<Node>,
}

/// One node; what is not known is missing.
#[derive(Deserialize)]
struct Node {
    /// A box that is one board may have none.
    number: Option<u64>,
    state: Option<String>,
    /// A node that answers for itself has no connection.
    connected: Option<bool>,
    /// What `face` says of it in place of the state.
    condition: Option<String>,
    last_seen: Option<String>,
    link: Option<String>,
    received: Option<u64>,
    sent: Option<u64>,
    received_per_second: Option<u64>,
    sent_per_second: Option<u64>,
    #[serde(rename = "box")]
    box_state: Option<String>,
    failed: Option<Vec<String>>,
    memory: Option<u64>,
    total: Option<u64>,
    cpu_percent: Option<u64>,
    temperature_celsius: Option<i64>,
    refused: Option<String>,
}

/// Draws `status` as a picture of its own, with its styles; `None` if it is not that of a box.
pub fn draw(status: &Value) -> Option<String> {
    let xmlns = " xmlns=\"http://www.w3.org/2000/svg\"";
    drawing(status, COLUMNS, xmlns, &format!("<style>{BOX_STYLE}</style>\n"))
}

/// Draws `status` as a part of a page, with at most so many boards in a row. The page's stylesheet has to have
/// [`BOX_STYLE`]: a page that forbids inline styles can show it. `None` if it is not the status of a box.
pub fn draw_box(status: &Value, columns: u64) -> Option<String> {
    drawing(status, columns, "", "")
}

fn drawing(status: &Value, most: u64, xmlns: &str, style: &str) -> Option<String> {
    let BoxStatus { nodes } = BoxStatus::deserialize(status).ok()?;
    let (router, boards): (Vec<_>, Vec<_>) =
        nodes.iter().partition(|node| node.number == Some(ROUTER));
    let count = boards.len() as u64;
    let most = most.max(2);
    let columns = count.clamp(2, most);
    let rows = count.div_ceil(most);
    let width = 2 * MARGIN + columns * (WIDTH + GAP) - GAP;
    let top = MARGIN + UPLINK;
    let first_row = top + HEIGHT + WIRES;
    let height = first_row + rows * (HEIGHT + WIRES) - WIRES + MARGIN;
    let middle = width / 2;
    let mut svg = format!(
        "<svg{xmlns} viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n{style}\
         <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n\
         <line class=\"wire\" x1=\"{middle}\" y1=\"{MARGIN}\" x2=\"{middle}\" y2=\"{top}\"/>\
         <text class=\"small\" x=\"{}\" y=\"{}\">uplink</text>\n",
        middle + 6,
        MARGIN + 14
    );
    // Writing to a string cannot fail, here and below.
    let center = |column: u64| MARGIN + column * (WIDTH + GAP) + WIDTH / 2;
    for row in 0..rows {
        let bus = first_row + row * (HEIGHT + WIRES) - WIRES / 2;
        let last = center((count - row * most).min(most) - 1);
        // Further rows are reached at the left edge.
        let left = if rows > 1 { MARGIN / 2 } else { center(0).min(middle) };
        let (right, from) = match row {
            0 => (last.max(middle), format!("M{middle} {}V{bus}", top + HEIGHT)),
            _ => (last, format!("M{left} {}V{bus}", bus - HEIGHT - WIRES)),
        };
        let _ = writeln!(svg, "<path class=\"wire\" d=\"{from}M{left} {bus}H{right}\"/>");
    }
    card(&mut svg, (middle - WIDTH / 2, top), "router", router.first().copied());
    for (index, board) in boards.iter().enumerate() {
        let (row, column) = (index as u64 / most, index as u64 % most);
        let (x, y) = (MARGIN + column * (WIDTH + GAP), first_row + row * (HEIGHT + WIRES));
        let (center, bus) = (center(column), y - WIRES / 2);
        let link = match board.link.as_deref() {
            Some("up") => "wire",
            Some(_) => "wire down",
            None => "wire unknown",
        };
        let width = board.wire_width().filter(|_| link == "wire");
        let width = width.map(|width| format!(" w{width}")).unwrap_or_default();
        let _ = writeln!(svg, "<path class=\"{link}{width}\" d=\"M{center} {bus}V{y}\"/>");
        let name =
            board.number.map_or_else(|| "board".to_owned(), |number| format!("board {number}"));
        card(&mut svg, (x, y), &name, Some(board));
    }
    Some(svg + "</svg>\n")
}

/// The styles of the drawing.
pub const BOX_STYLE: &str = "\
    .page{fill:#fff}text{fill:#222}.small{font-size:10px;fill:#555}.title{font-weight:bold}.alarm{fill:#b00}\
    .card{fill:#f6f6f6;stroke-width:2}.ready{stroke:#2a7}.other{stroke:#c80}.lost{stroke:#999;stroke-dasharray:5}\
    .wire{stroke:#555;stroke-width:2;fill:none}.down{stroke:#bbb;stroke-dasharray:2 4}.unknown{stroke:#bbb}\
    .w3{stroke-width:3}.w4{stroke-width:4}.w5{stroke-width:5}.w6{stroke-width:6}.w7{stroke-width:7}.w8{stroke-width:8}\
    @media(prefers-color-scheme:dark){.page{fill:#181818}text{fill:#eee}.small{fill:#aaa}.card{fill:#262626}\
    .alarm{fill:#f77}.wire{stroke:#aaa}.down,.unknown{stroke:#555}}";

/// Draws the card of a node; without one it is a router of which nothing is reported.
fn card(svg: &mut String, (x, y): (u64, u64), name: &str, node: Option<&Node>) {
    let lines = node.map_or_else(|| vec![("small", "not a node of the box".to_owned())], lines);
    let state = match node {
        Some(node) if node.is_here() && node.box_state.as_deref() == Some("ready") => "ready",
        Some(node) if node.is_here() => "other",
        _ => "lost",
    };
    let _ = writeln!(
        svg,
        "<g><title>{name}</title><rect class=\"card {state}\" x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" rx=\"6\"/><text class=\"title\" x=\"{}\" y=\"{}\">{name}</text>",
        x + 8,
        y + 18
    );
    for (number, (class, line)) in lines.iter().enumerate() {
        let shown: String = line.chars().take(LINE).collect();
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
            x + 8,
            y + 34 + 14 * number as u64,
            escape(&shown)
        );
    }
    svg.push_str("</g>\n");
}

impl Node {
    /// Whether its report is of now. Without a link its connection is only not closed yet.
    fn is_here(&self) -> bool {
        self.connected.unwrap_or(self.box_state.is_some()) && !self.has_no_link()
    }

    fn has_no_link(&self) -> bool {
        self.link.as_deref() == Some("down")
    }

    /// The width of its wire: it grows with the decimal places of the bytes per second.
    fn wire_width(&self) -> Option<u32> {
        let rate = self.received_per_second?.saturating_add(self.sent_per_second?);
        // 2 pixels up to 1 kB/s, 8 from 1 GB/s on.
        Some(2 + rate.checked_ilog10().map_or(0, |places| places.saturating_sub(2)).min(6))
    }
}

/// What a card says, at most five lines, each with its class. A report of a node that is gone is not shown as if it were
/// of now.
fn lines(node: &Node) -> Vec<(&'static str, String)> {
    if !node.is_here() {
        let of_link = (node.has_no_link() && node.connected == Some(true)).then_some("no link");
        let state = node.condition.as_deref().or(of_link).or(node.state.as_deref());
        let state = state.unwrap_or("unknown");
        let minute = |at: &String| at.get(..16).unwrap_or(at).replace('T', " ");
        let seen = node.last_seen.as_ref().map(|at| format!("seen {}", minute(at)));
        let refused = node.refused.as_ref().map(|why| ("small alarm", why.clone()));
        let mut lines = vec![("small", state.to_owned())];
        lines.extend(seen.map(|seen| ("small", seen)));
        lines.extend(refused);
        return lines;
    }
    let mut lines = vec![("state", node.box_state.clone().unwrap_or_else(|| "no report".into()))];
    let cpu = node.cpu_percent.map(|percent| format!("CPU {percent} %"));
    let warm = node.temperature_celsius.map(|degrees| format!("{degrees} °C"));
    let load: Vec<String> = cpu.into_iter().chain(warm).collect();
    if !load.is_empty() {
        lines.push(("small", load.join(", ")));
    }
    if let (Some(free), Some(total)) = (node.memory, node.total) {
        lines.push(("small", format!("{} of {} free", short(free), short(total))));
    }
    match (&node.failed, &node.refused) {
        (Some(failed), _) if !failed.is_empty() => {
            lines.push(("small alarm", format!("failed: {}", failed.join(", "))));
        }
        (_, Some(why)) => lines.push(("small alarm", why.clone())),
        _ => {
            let rates = node.received_per_second.zip(node.sent_per_second);
            let each = if rates.is_some() { "/s" } else { "" };
            // A line of both would be wider than the card.
            if let Some((received, sent)) = rates.or(node.received.zip(node.sent)) {
                lines.push(("small", format!("↓ {}{each}", short(received))));
                lines.push(("small", format!("↑ {}{each}", short(sent))));
            }
        }
    }
    lines
}

/// Bytes in a few characters: of three digits nothing is behind the point.
fn short(count: u64) -> String {
    let long = bytes(count);
    match long.split_once('.').zip(long.split_once(' ')) {
        Some(((whole, _), (_, unit))) if whole.len() > 2 => format!("{whole} {unit}"),
        _ => long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(number: u64) -> Value {
        json!({ "number": number, "state": "enrolled", "connected": true, "link": "up", "box": "ready",
                "memory": 1_500_000_000, "total": 2_000_000_000_u64, "cpu_percent": 12, "temperature_celsius": 45,
                "received": 1000, "sent": 225_700 })
    }

    #[test]
    fn of_a_box() {
        let mut nodes: Vec<Value> = (0..=9).map(node).collect();
        nodes[2]["box"] = json!("degraded");
        nodes[2]["failed"] = json!(["cache<", "lan"]);
        nodes[3]["connected"] = json!(false);
        nodes[3]["last_seen"] = json!("2026-11-30T01:02:03Z");
        nodes[3]["link"] = json!("down");
        nodes[4] = json!({ "number": 4, "state": "none" });
        let svg = draw(&json!({ "nodes": nodes })).unwrap();
        let count = |text: &str| svg.matches(text).count();
        assert_eq!(count("<g><title>"), 10);
        assert_eq!(
            (count("\"card ready\""), count("\"card other\""), count("\"card lost\"")),
            (7, 1, 2)
        );
        assert_eq!((count("wire down"), count("wire unknown")), (1, 1));
        assert_eq!(count("CPU 12 %, 45 °C"), 8);
        let moved = (count(">↓ 1000 B<"), count(">↑ 220 KiB<"));
        assert_eq!((count("1.4 GiB of 1.9 GiB free"), moved), (8, (7, 7)));
        assert!(svg.contains("failed: cache&lt;, lan"), "{svg}");
        assert!(svg.contains(">seen 2026-11-30 01:02<"), "{svg}");
        assert!(!svg.contains("script") && !svg.contains("http://www.w3.org/1999"), "{svg}");
        // The same drawing as a part of a page, without styles of its own.
        let part = draw_box(&json!({ "nodes": nodes }), COLUMNS).unwrap();
        assert!(part.starts_with("<svg viewBox=") && !part.contains("style"), "{part}");
        assert_eq!(part.matches("<g><title>").count(), 10);
        // Eight in a row; the ninth begins another.
        assert_eq!(count(&format!("x=\"{MARGIN}\" y=")), 2);
        // Four in a row.
        let narrow = draw_box(&json!({ "nodes": nodes }), 4).unwrap();
        assert_eq!(narrow.matches(&format!("x=\"{MARGIN}\" y=")).count(), 3);
        assert!(narrow.starts_with("<svg viewBox=\"0 0 638 "), "{narrow}");
    }

    #[test]
    fn of_figures_wires_are_as_wide_as_they_carry() {
        let mut nodes = [node(0), node(1), node(2), node(3)];
        for (number, rate) in [(1, 300), (2, 2_000_000), (3, 5_000_000_000_u64)] {
            nodes[number]["received_per_second"] = json!(rate);
            nodes[number]["sent_per_second"] = json!(0);
        }
        nodes[3]["connected"] = json!(false);
        nodes[3]["condition"] = json!("not heard for 50 s");
        let svg = draw(&json!({ "nodes": nodes })).unwrap();
        let count = |text: &str| svg.matches(text).count();
        assert_eq!(
            (count("\"wire w2\""), count("\"wire w6\""), count("\"wire w8\"")),
            (1, 1, 1),
            "{svg}"
        );
        assert!(
            svg.contains(">↓ 1.9 MiB/s<")
                && svg.contains(">↑ 0 B/s<")
                && svg.contains(">not heard for 50 s<"),
            "{svg}"
        );
        // A cable that is pulled, before the connection is closed.
        let mut unplugged = node(1);
        unplugged["link"] = json!("down");
        assert!(draw(&json!({ "nodes": [unplugged] })).unwrap().contains(">no link<"));
        // A box that is one board: it has no number, and answers for itself.
        let mut own = node(0);
        (own["number"], own["connected"]) = (json!(null), json!(null));
        assert!(draw(&json!({ "nodes": [own] })).unwrap().contains("card ready"));
    }

    #[test]
    fn with_no_router_or_nothing_there_is_a_drawing() {
        let svg = draw(&json!({ "nodes": [node(1)] })).unwrap();
        assert!(svg.contains("not a node of the box"), "{svg}");
        assert!(draw(&json!({ "nodes": [] })).unwrap().ends_with("</svg>\n"));
        assert_eq!(draw(&json!({ "rows": [] })), None);
        let strange = json!({ "nodes": [{ "number": u64::MAX, "state": "x", "last_seen": "ü" }] });
        assert!(draw(&strange).is_some());
    }
}
