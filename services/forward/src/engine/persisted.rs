//! The persisted state of paths, which the kernel keeps forwarding while the daemon restarts.
//!
//! Each path is persisted under its own name, before the kernel or a neighbour is changed. After a restart,
//! what is persisted but missing in the kernel is installed, and what is in the kernel but not persisted is
//! removed. Only established paths are persisted; pending requests start anew.
//!
//! All numbers are big-endian; the first byte is the version (3).

use super::end::PathEnd;
use super::relay::{NextHop, Transit};
use super::source::{PathState, SourcePath, SourceState};
use super::{Engine, EngineAction, LinkNumber, PathNumber};
use crate::control::Id;
use crate::label::Label;
use crate::onion::{HOPS, HopChanges, HopGrant, HopSession, SESSION};
use octet_node::address::NodeAddress;
use octet_node::bytes::Fields;

/// The version of both encodings, their first byte.
const VERSION: u8 = 3;

/// The name of the last assigned number (2 bytes).
pub const LAST_NUMBER: &str = "last-number";

/// The name of a persisted transit path.
pub(super) fn segment_name((LinkNumber(link), Id(id)): (LinkNumber, Id)) -> String {
    format!("s-{link}-{id:016x}")
}

/// The name of a persisted path of this node.
pub(super) fn path_name(number: PathNumber) -> String {
    format!("p-{number}")
}

fn segment_key(name: &str) -> Option<(LinkNumber, Id)> {
    let (link, id) = name.strip_prefix("s-")?.split_once('-')?;
    Some((LinkNumber(link.parse().ok()?), Id(u64::from_str_radix(id, 16).ok()?)))
}

fn path_number(name: &str) -> Option<PathNumber> {
    name.strip_prefix("p-")?.parse().ok().map(PathNumber)
}

/// Version, session (74), the neighbour's label (4), reverse label (4), since (8), until (8), lifetime (2),
/// rate (4), whether it ever had a rate limit (1), then 1 and the next hop's link (2), id (8), its label (4)
/// and the forward label (4); or 2, the number of the end (2), and the path end.
pub(super) fn segment(segment: &Transit) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(segment.session.to_bytes());
    bytes.extend(segment.there.get().to_be_bytes());
    bytes.extend(segment.back.get().to_be_bytes());
    bytes.extend(segment.since.to_be_bytes());
    bytes.extend(segment.until.to_be_bytes());
    bytes.extend(segment.grant.lifetime.to_be_bytes());
    bytes.extend(segment.grant.rate.to_be_bytes());
    bytes.push(segment.is_bounded.into());
    match &segment.to {
        NextHop::Hop { key: (LinkNumber(link), Id(id)), back, onward, .. } => {
            bytes.push(1);
            bytes.extend(link.to_be_bytes());
            bytes.extend(id.to_be_bytes());
            bytes.extend(back.get().to_be_bytes());
            bytes.extend(onward.map_or(0, Label::get).to_be_bytes());
        }
        NextHop::End(PathNumber(number), end) => {
            bytes.push(2);
            bytes.extend(number.to_be_bytes());
            stretch(end, &mut bytes);
        }
    }
    bytes
}

fn read_segment(bytes: &[u8]) -> Option<Transit> {
    let mut fields = Fields(bytes);
    if fields.u8()? != VERSION {
        return None;
    }
    let session = HopSession::from_bytes(&fields.array::<SESSION>()?)?;
    let (there, back) = (Label::new(fields.u32()?)?, Label::new(fields.u32()?)?);
    let (since, until) = (fields.u64()?, fields.u64()?);
    let grant = HopGrant { lifetime: fields.u16()?, rate: fields.u32()? };
    let is_bounded = match fields.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let to = match fields.u8()? {
        1 => {
            let key = (LinkNumber(fields.u16()?), Id(fields.u64()?));
            let back = Label::new(fields.u32()?)?;
            let onward = Some(Label::new(fields.u32()?)?);
            NextHop::Hop { key, back, onward, asked: None }
        }
        2 => NextHop::End(PathNumber(fields.u16()?), read_stretch(&mut fields)?),
        _ => return None,
    };
    let segment = Transit { session, there, back, since, until, grant, is_bounded, to };
    fields.0.is_empty().then_some(segment)
}

/// Number (4), side (1), secret (32), key (32), and the peer's address (16), zeros if it is not known.
fn stretch(stretch: &PathEnd, bytes: &mut Vec<u8>) {
    bytes.extend(stretch.number.to_be_bytes());
    bytes.push(stretch.is_source.into());
    bytes.extend(stretch.secret);
    bytes.extend(stretch.key);
    bytes.extend(stretch.node.map_or([0; 16], |node| node.octets()));
}

fn read_stretch(fields: &mut Fields<'_>) -> Option<PathEnd> {
    let (number, side) = (fields.u32()?, fields.u8()?);
    let (secret, key, node) = (fields.array()?, fields.array()?, fields.array::<16>()?);
    let node = if node == [0; 16] { None } else { Some(NodeAddress::try_from(node).ok()?.ip()) };
    (side <= 1).then_some(PathEnd { number, is_source: side == 1, secret, key, node })
}

/// Version, link (2), id (8), reverse label (4) and forward label (4), since (8), the next refresh (8), the
/// rate (4) and the granted rate (4), the path end, the number of hops (1) and their addresses (16 each), and
/// the keys for changes. `None` if the path is not established.
pub(super) fn path(path: &SourcePath) -> Option<Vec<u8>> {
    let SourceState::Stands { changes, there } = &path.way else { return None };
    let mut bytes = vec![VERSION];
    bytes.extend(path.link.0.to_be_bytes());
    bytes.extend(path.id.0.to_be_bytes());
    bytes.extend(path.back.get().to_be_bytes());
    bytes.extend(there.get().to_be_bytes());
    bytes.extend(path.since.to_be_bytes());
    bytes.extend(path.next.to_be_bytes());
    bytes.extend(path.rate.to_be_bytes());
    bytes.extend(path.granted.to_be_bytes());
    stretch(&path.stretch, &mut bytes);
    bytes.push(path.hops.len() as u8);
    bytes.extend(path.hops.iter().flat_map(|hop| hop.octets()));
    bytes.extend(changes.to_bytes());
    Some(bytes)
}

fn read_path(bytes: &[u8]) -> Option<SourcePath> {
    let mut fields = Fields(bytes);
    if fields.u8()? != VERSION {
        return None;
    }
    let (link, id) = (LinkNumber(fields.u16()?), Id(fields.u64()?));
    let (back, there) = (Label::new(fields.u32()?)?, Label::new(fields.u32()?)?);
    let (since, next) = (fields.u64()?, fields.u64()?);
    let (rate, granted) = (fields.u32()?, fields.u32()?);
    let stretch = read_stretch(&mut fields)?;
    let count = usize::from(fields.u8()?);
    let hop = |_| NodeAddress::try_from(fields.array::<16>()?).ok();
    let hops = (0..count.min(HOPS)).map(hop).collect::<Option<Vec<_>>>()?;
    let changes = HopChanges::from_bytes(fields.0)?;
    let (state, way) = (PathState::Stands, SourceState::Stands { changes, there });
    (hops.len() == count && count > 0).then_some(SourcePath {
        link,
        hops,
        state,
        stretch,
        id,
        back,
        way,
        rate,
        granted,
        since,
        next,
    })
}

impl Engine {
    /// Restores the path that was persisted under `name`, once all links exist. Returns whether it is still
    /// useful.
    pub fn take_up(&mut self, name: &str, bytes: &[u8]) -> bool {
        let paths = self.take_up_segment(name, bytes).or_else(|| self.take_up_path(name, bytes));
        paths.or_else(|| self.take_up_last_number(name, bytes)).is_some()
    }

    /// Persists the last assigned number.
    pub(super) fn keep_last_number(&self) -> EngineAction {
        EngineAction::Keep(LAST_NUMBER.to_owned(), self.ends.last().to_be_bytes().into())
    }

    fn take_up_last_number(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        let last = bytes.try_into().ok().filter(|_| name == LAST_NUMBER)?;
        self.ends.continue_after(u16::from_be_bytes(last));
        Some(())
    }

    fn take_up_segment(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        let (key, segment) = (segment_key(name)?, read_segment(bytes)?);
        self.links.get(&key.0)?;
        let mut labels = vec![segment.there];
        match &segment.to {
            NextHop::Hop { key: next, back, onward, .. } => {
                self.links.get(&next.0)?;
                labels.push(*back);
                self.onward.insert(*next, key);
                self.given.extend(onward.map(|label| (next.0, label)));
            }
            NextHop::End(number, stretch) => self.ends.keep(*number, stretch.number),
        }
        self.given.insert((key.0, segment.back));
        self.labels.keep(&labels);
        self.segments.insert(key, segment);
        Some(())
    }

    fn take_up_path(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        let (number, path) = (path_number(name)?, read_path(bytes)?);
        self.links.get(&path.link)?;
        self.labels.keep(&[path.back]);
        if let SourceState::Stands { there, .. } = &path.way {
            self.given.insert((path.link, *there));
        }
        self.ends.keep(number, path.stretch.number);
        self.paths.insert(number, path);
        Some(())
    }
}
