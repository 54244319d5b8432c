//! Which line decides about one kind of traffic.

use octet_appliance::{PortRange, Traffic, Zone};

use crate::plan::{Plan, Source};

/// What becomes of a new flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A line lets it.
    Let {
        /// Which.
        by: Source,
        /// What the line says, or what stands in the documents.
        text: String,
    },
    /// It is a link to another box.
    Neighbour {
        /// Which, counted from 0 among the router's.
        index: usize,
        /// What comes of its line.
        text: String,
    },
    /// The uplink's port leads to a board.
    Published {
        /// The board's number.
        board: u8,
        /// Its port.
        port: u16,
    },
    /// No line lets it.
    Denied,
}

impl Plan {
    /// What becomes of a new flow of `traffic` to `port` from one zone to another.
    pub fn explain(&self, from: Zone, to: Zone, traffic: Traffic, port: u16) -> Answer {
        let published = self.published.iter().find(|it| {
            let at_router = (from, to) == (Zone::Uplink, Zone::Router);
            at_router && Traffic::from(it.port.protocol) == traffic && it.port.number == port
        });
        if let Some(published) = published {
            return Answer::Published { board: published.board, port: published.target.number };
        }
        let lets = self.lets.get(&(from, to, traffic)).into_iter().flatten();
        let has = |ports: PortRange| (ports.first..=ports.last).contains(&port);
        if let Some(found) = { lets }.find(|it| has(it.ports)) {
            let text = match found.by {
                Source::Policy(index) => self.lines[index].text.clone(),
                Source::BuiltIn(_) => "docs/segments.md lists it".to_owned(),
            };
            return Answer::Let { by: found.by, text };
        }
        match self.neighbour((from, to, traffic), port, None) {
            Some(index) => Answer::Neighbour { index, text: self.neighbours[index].to_string() },
            None => Answer::Denied,
        }
    }
}
