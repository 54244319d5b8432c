//! The persisted state of paths, which the kernel keeps forwarding while the daemon restarts.
//!
//! Each path is persisted under its own name, before the kernel or a neighbour is changed. After a restart,
//! what is persisted but missing in the kernel is installed, and what is in the kernel but not persisted is
//! removed. Only established paths are persisted; pending requests start anew.
//!
//! All numbers are big-endian; the first byte is the version (3).

use super::end::PathEnd;
use super::relay::{NextHop, Transit};
use super::source::{PathState, ShownSource, SourcePath, SourceState};
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
pub(super) fn transit_name((LinkNumber(link), Id(id)): (LinkNumber, Id)) -> String {
    format!("s-{link}-{id:016x}")
}

/// What the name of a persisted private path ends with. Its key is not persisted, so the next daemon ends it.
const PRIVATE: &str = "-private";

/// The name of a persisted path of this node.
pub(super) fn path_name(number: PathNumber, source: &ShownSource) -> String {
    format!("p-{number}{}", if source.is_private() { PRIVATE } else { "" })
}

fn transit_key(name: &str) -> Option<(LinkNumber, Id)> {
    let (link, id) = name.strip_prefix("s-")?.split_once('-')?;
    Some((LinkNumber(link.parse().ok()?), Id(u64::from_str_radix(id, 16).ok()?)))
}

fn path_number(name: &str) -> Option<(PathNumber, ShownSource)> {
    let number = name.strip_prefix("p-")?;
    let (number, source) = match number.strip_suffix(PRIVATE) {
        Some(number) => (number, ShownSource::Lost),
        None => (number, ShownSource::Node),
    };
    Some((PathNumber(number.parse().ok()?), source))
}

/// Version, session (74), the neighbour's label (4), reverse label (4), since (8), until (8), lifetime (2),
/// rate (4), whether it ever had a rate limit (1), then 1 and the next hop's link (2), id (8), its label (4)
/// and the forward label (4); or 2, the number of the end (2), and the path end.
pub(super) fn encode_transit(transit: &Transit) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(transit.session.to_bytes());
    bytes.extend(transit.in_label.get().to_be_bytes());
    bytes.extend(transit.reverse_label.get().to_be_bytes());
    bytes.extend(transit.since.to_be_bytes());
    bytes.extend(transit.expires.to_be_bytes());
    bytes.extend(transit.grant.lifetime.to_be_bytes());
    bytes.extend(transit.grant.rate.to_be_bytes());
    bytes.push(transit.is_rate_limited.into());
    match &transit.next_hop {
        NextHop::Hop { key: (LinkNumber(link), Id(id)), reverse_label, out_label, .. } => {
            bytes.push(1);
            bytes.extend(link.to_be_bytes());
            bytes.extend(id.to_be_bytes());
            bytes.extend(reverse_label.get().to_be_bytes());
            bytes.extend(out_label.map_or(0, Label::get).to_be_bytes());
        }
        NextHop::End(PathNumber(number), end) => {
            bytes.push(2);
            bytes.extend(number.to_be_bytes());
            encode_end(end, &mut bytes);
        }
    }
    bytes
}

fn decode_transit(bytes: &[u8]) -> Option<Transit> {
    let mut fields = Fields(bytes);
    if fields.u8()? != VERSION {
        return None;
    }
    let session = HopSession::from_bytes(&fields.array::<SESSION>()?)?;
    let (in_label, reverse_label) = (Label::new(fields.u32()?)?, Label::new(fields.u32()?)?);
    let (since, expires) = (fields.u64()?, fields.u64()?);
    let grant = HopGrant { lifetime: fields.u16()?, rate: fields.u32()? };
    let is_rate_limited = match fields.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let next_hop = match fields.u8()? {
        1 => {
            let key = (LinkNumber(fields.u16()?), Id(fields.u64()?));
            let reverse_label = Label::new(fields.u32()?)?;
            let out_label = Some(Label::new(fields.u32()?)?);
            NextHop::Hop { key, reverse_label, out_label, pending: None }
        }
        2 => NextHop::End(PathNumber(fields.u16()?), decode_end(&mut fields)?),
        _ => return None,
    };
    let transit = Transit {
        session,
        in_label,
        reverse_label,
        since,
        expires,
        grant,
        is_rate_limited,
        next_hop,
    };
    fields.0.is_empty().then_some(transit)
}

/// Number (4), side (1), secret (32), key (32), and the peer's address (16), zeros if it is not known.
fn encode_end(path_end: &PathEnd, bytes: &mut Vec<u8>) {
    bytes.extend(path_end.number.to_be_bytes());
    bytes.push(path_end.is_source.into());
    bytes.extend(path_end.secret);
    bytes.extend(path_end.key);
    bytes.extend(path_end.node.map_or([0; 16], |node| node.octets()));
}

fn decode_end(fields: &mut Fields<'_>) -> Option<PathEnd> {
    let (number, side) = (fields.u32()?, fields.u8()?);
    let (secret, key, node) = (fields.array()?, fields.array()?, fields.array::<16>()?);
    let node = if node == [0; 16] { None } else { Some(NodeAddress::try_from(node).ok()?.ip()) };
    (side <= 1).then_some(PathEnd { number, is_source: side == 1, secret, key, node })
}

/// Version, link (2), id (8), reverse label (4) and forward label (4), since (8), the next refresh (8), the
/// rate (4) and the granted rate (4), the path end, the number of hops (1) and their addresses (16 each), and
/// the keys for changes. `None` if the path is not established.
pub(super) fn encode_path(path: &SourcePath) -> Option<Vec<u8>> {
    let SourceState::Up { changes, out_label } = &path.setup else { return None };
    let mut bytes = vec![VERSION];
    bytes.extend(path.link.0.to_be_bytes());
    bytes.extend(path.id.0.to_be_bytes());
    bytes.extend(path.reverse_label.get().to_be_bytes());
    bytes.extend(out_label.get().to_be_bytes());
    bytes.extend(path.since.to_be_bytes());
    bytes.extend(path.deadline.to_be_bytes());
    bytes.extend(path.rate.to_be_bytes());
    bytes.extend(path.granted_rate.to_be_bytes());
    encode_end(&path.end, &mut bytes);
    bytes.push(path.hops.len() as u8);
    bytes.extend(path.hops.iter().flat_map(|hop| hop.octets()));
    bytes.extend(changes.to_bytes());
    Some(bytes)
}

fn decode_path(bytes: &[u8], source: ShownSource) -> Option<SourcePath> {
    let mut fields = Fields(bytes);
    if fields.u8()? != VERSION {
        return None;
    }
    let (link, id) = (LinkNumber(fields.u16()?), Id(fields.u64()?));
    let (reverse_label, out_label) = (Label::new(fields.u32()?)?, Label::new(fields.u32()?)?);
    let (since, deadline) = (fields.u64()?, fields.u64()?);
    let (rate, granted_rate) = (fields.u32()?, fields.u32()?);
    let end = decode_end(&mut fields)?;
    let count = usize::from(fields.u8()?);
    let hop = |_| NodeAddress::try_from(fields.array::<16>()?).ok();
    let hops = (0..count.min(HOPS)).map(hop).collect::<Option<Vec<_>>>()?;
    let changes = HopChanges::from_bytes(fields.0)?;
    let (state, setup) = (PathState::Up, SourceState::Up { changes, out_label });
    (hops.len() == count && count > 0).then_some(SourcePath {
        source,
        link,
        hops,
        state,
        end,
        id,
        reverse_label,
        setup,
        rate,
        granted_rate,
        since,
        deadline,
    })
}

impl Engine {
    /// Restores the path that was persisted under `name`, once all links exist. Returns whether it is still
    /// useful.
    pub fn restore(&mut self, name: &str, bytes: &[u8]) -> bool {
        let paths = self.restore_transit(name, bytes).or_else(|| self.restore_path(name, bytes));
        paths.or_else(|| self.restore_last_number(name, bytes)).is_some()
    }

    /// Persists the last assigned number.
    pub(super) fn persist_last_number(&self) -> EngineAction {
        EngineAction::Keep(LAST_NUMBER.to_owned(), self.end_numbers.last().to_be_bytes().into())
    }

    fn restore_last_number(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        let last = bytes.try_into().ok().filter(|_| name == LAST_NUMBER)?;
        self.end_numbers.continue_after(u16::from_be_bytes(last));
        Some(())
    }

    fn restore_transit(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        let (key, transit) = (transit_key(name)?, decode_transit(bytes)?);
        self.links.get(&key.0)?;
        let mut labels = vec![transit.in_label];
        match &transit.next_hop {
            NextHop::Hop { key: next, reverse_label, out_label, .. } => {
                self.links.get(&next.0)?;
                labels.push(*reverse_label);
                self.transits_by_next.insert(*next, key);
                self.used_labels.extend(out_label.map(|label| (next.0, label)));
            }
            NextHop::End(number, path_end) => self.end_numbers.reserve(*number, path_end.number),
        }
        self.used_labels.insert((key.0, transit.reverse_label));
        self.labels.reserve(&labels);
        self.transits.insert(key, transit);
        Some(())
    }

    fn restore_path(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        let (number, source) = path_number(name)?;
        let path = decode_path(bytes, source)?;
        self.links.get(&path.link)?;
        self.labels.reserve(&[path.reverse_label]);
        if let SourceState::Up { out_label, .. } = &path.setup {
            self.used_labels.insert((path.link, *out_label));
        }
        self.end_numbers.reserve(number, path.end.number);
        self.paths.insert(number, path);
        Some(())
    }
}
