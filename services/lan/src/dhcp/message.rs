//! DHCP messages, as far as either side reads them (RFC 2131, 2; options RFC 2132).

use std::net::Ipv4Addr;
use std::ops::Range;

use dhcproto::v4::{
    DhcpOption, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption,
};
use dhcproto::{Decodable, Decoder, Encodable};
use octet_appliance::Mac;

/// The minimum size of a message, in bytes: relays may drop shorter ones (RFC 1542, 2.1).
const SHORTEST: usize = 300;

/// The option with the client's board number: the first of the site-specific options (RFC 3942, 2).
const BOARD: u8 = 224;

const HEAD: usize = 240;

/// The options without a value: padding, and the end.
const PAD: u8 = 0;
const END: u8 = 255;

/// The magic cookie at the start of the options.
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// The options that are read: subnet mask, routers, DNS and NTP servers, requested address, lease
/// time, message type, server identifier, T1, T2, classless routes, board.
const KNOWN: [u8; 12] = [1, 3, 6, 42, 50, 51, 53, 54, 58, 59, 121, BOARD];

/// The option for overloaded fields (RFC 2132, 9.3), and these fields: `file`, by bit 0 of its
/// value, and `sname`, by bit 1. They are read in this order (RFC 2131, 4.1).
const OVERLOAD: u8 = 52;
const FIELDS: [(u8, Range<usize>); 2] = [(1, 108..236), (2, 44..108)];

/// The maximum number of addresses that are read from one option.
const MAX_SERVERS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientMessageType {
    /// A discover, with the preferred address.
    Discover(Option<Ipv4Addr>),
    /// A request for an offered address.
    Request { address: Ipv4Addr, server: Ipv4Addr },
    /// A renewal of the current address.
    Renew(Ipv4Addr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyType {
    Offer,
    Ack,
    Nak,
}

/// A server's message; only the fields in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMessage {
    pub kind: ReplyType,
    pub xid: u32,
    pub mac: Mac,
    pub address: Ipv4Addr,
    pub server: Option<Ipv4Addr>,
    pub mask: Option<Ipv4Addr>,
    /// The default gateway.
    pub router: Option<Ipv4Addr>,
    /// The lease time in seconds.
    pub lease_seconds: Option<u32>,
    /// T1 and T2 in seconds (RFC 2131, 4.4.5).
    pub renewal_times: (Option<u32>, Option<u32>),
    /// The DNS servers.
    pub dns_servers: Vec<Ipv4Addr>,
    pub ntp_servers: Vec<Ipv4Addr>,
    /// The client's board number.
    pub board: Option<u8>,
}

/// A client's message, as the server parses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRequest {
    pub kind: RequestType,
    pub xid: u32,
    pub mac: Mac,
    /// The client's current address (`ciaddr`).
    pub ciaddr: Option<Ipv4Addr>,
    /// The requested address.
    pub requested_address: Option<Ipv4Addr>,
    /// The server that the client has selected.
    pub server: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestType {
    Discover,
    Request,
    /// The client has an address, and requests other options only.
    Inform,
    Release,
    /// The address is in use by another device.
    Decline,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReply {
    pub kind: ReplyType,
    pub server: Ipv4Addr,
    /// The assigned address; `None` with [`ReplyType::Nak`], and for a client that has an address.
    pub address: Option<Ipv4Addr>,
    /// The lease time in seconds.
    pub lease_seconds: u32,
    /// T1 and T2 in seconds, if they are earlier than the client's defaults.
    pub renewal_times: Option<(u32, u32)>,
    /// The domain of the box's names.
    pub domain: String,
    /// The client's board number.
    pub board: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A broadcast on the link: the client has no address yet, or knows no server.
    Broadcast,
    Unicast(Ipv4Addr),
}

/// Why a message is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDhcpMessage(pub &'static str);

impl ClientMessageType {
    /// The message of client `mac` with transaction ID `xid`.
    pub fn bytes(self, xid: u32, mac: Mac) -> Vec<u8> {
        let none = Ipv4Addr::UNSPECIFIED;
        let has = if let Self::Renew(address) = self { address } else { none };
        let mut message = Message::new_with_id(xid, has, none, none, none, &mac.bytes());
        // A client without an address can only receive broadcasts.
        let everybody = !matches!(self, Self::Renew(_));
        message.set_flags(if everybody {
            Flags::default().set_broadcast()
        } else {
            Flags::default()
        });
        let discovers = matches!(self, Self::Discover(_));
        let kind = if discovers { MessageType::Discover } else { MessageType::Request };
        let wanted = [
            OptionCode::SubnetMask,
            OptionCode::Router,
            OptionCode::DomainNameServer,
            OptionCode::NtpServers,
            OptionCode::AddressLeaseTime,
            OptionCode::Renewal,
            OptionCode::Rebinding,
            OptionCode::ClasslessStaticRoute,
            OptionCode::from(BOARD),
        ];
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ClientIdentifier([&[1], &mac.bytes()[..]].concat()));
        options.insert(DhcpOption::MaxMessageSize(1472));
        options.insert(DhcpOption::ParameterRequestList(wanted.to_vec()));
        match self {
            Self::Discover(None) | Self::Renew(_) => {}
            Self::Discover(Some(wish)) => {
                options.insert(DhcpOption::RequestedIpAddress(wish));
            }
            Self::Request { address, server } => {
                options.insert(DhcpOption::RequestedIpAddress(address));
                options.insert(DhcpOption::ServerIdentifier(server));
            }
        }
        encode(&message)
    }
}

impl ServerMessage {
    /// Parses a message that was received at the client's port.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidDhcpMessage> {
        let (message, mac) = decode(bytes, Opcode::BootReply)?;
        let kind = match message.opts().msg_type() {
            Some(MessageType::Offer) => ReplyType::Offer,
            Some(MessageType::Ack) => ReplyType::Ack,
            Some(MessageType::Nak) => ReplyType::Nak,
            _ => return Err(InvalidDhcpMessage("it is no server's answer")),
        };
        let mut answer = Self {
            kind,
            xid: message.xid(),
            mac,
            address: message.yiaddr(),
            server: None,
            mask: None,
            router: None,
            lease_seconds: None,
            renewal_times: (None, None),
            dns_servers: vec![],
            ntp_servers: vec![],
            board: None,
        };
        let some = |all: &[Ipv4Addr]| all.iter().copied().take(MAX_SERVERS).collect();
        // If there are classless routes, the option for routers is ignored (RFC 3442).
        let mut by_route = None;
        for (_, option) in message.opts().iter() {
            match option {
                DhcpOption::ClasslessStaticRoute(routes) => {
                    let default = routes.iter().find(|(to, _)| to.prefix_len() == 0);
                    by_route = Some(default.map(|(_, router)| *router));
                }
                DhcpOption::ServerIdentifier(server) => answer.server = Some(*server),
                DhcpOption::SubnetMask(mask) => answer.mask = Some(*mask),
                DhcpOption::Router(routers) => answer.router = routers.first().copied(),
                DhcpOption::AddressLeaseTime(seconds) => answer.lease_seconds = Some(*seconds),
                DhcpOption::Renewal(seconds) => answer.renewal_times.0 = Some(*seconds),
                DhcpOption::Rebinding(seconds) => answer.renewal_times.1 = Some(*seconds),
                DhcpOption::DomainNameServer(servers) => answer.dns_servers = some(servers),
                DhcpOption::NtpServers(servers) => answer.ntp_servers = some(servers),
                DhcpOption::Unknown(other) if u8::from(other.code()) == BOARD => {
                    answer.board = match other.data() {
                        [number @ 1..=32] => Some(*number),
                        _ => return Err(InvalidDhcpMessage("it names a board that no box has")),
                    };
                }
                _ => {}
            }
        }
        if let Some(router) = by_route {
            answer.router = router;
        }
        Ok(answer)
    }
}

impl ClientRequest {
    /// Parses a message that was received at the server's port.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidDhcpMessage> {
        let (message, mac) = decode(bytes, Opcode::BootRequest)?;
        if !message.giaddr().is_unspecified() {
            return Err(InvalidDhcpMessage(
                "it was handed on by a relay, and there is none in a box",
            ));
        }
        let kind = match message.opts().msg_type() {
            Some(MessageType::Discover) => RequestType::Discover,
            Some(MessageType::Request) => RequestType::Request,
            Some(MessageType::Inform) => RequestType::Inform,
            Some(MessageType::Release) => RequestType::Release,
            Some(MessageType::Decline) => RequestType::Decline,
            _ => return Err(InvalidDhcpMessage("it is no client's question")),
        };
        let mut question = Self {
            kind,
            xid: message.xid(),
            mac,
            ciaddr: Some(message.ciaddr()).filter(|address| !address.is_unspecified()),
            requested_address: None,
            server: None,
        };
        for (_, option) in message.opts().iter() {
            match option {
                DhcpOption::RequestedIpAddress(address) => {
                    question.requested_address = Some(*address);
                }
                DhcpOption::ServerIdentifier(server) => question.server = Some(*server),
                _ => {}
            }
        }
        Ok(question)
    }
}

impl ServerReply {
    /// The encoded answer to `question`. Every network of a box is a /24, and the server is its
    /// router.
    pub fn bytes(&self, question: &ClientRequest) -> Vec<u8> {
        let none = Ipv4Addr::UNSPECIFIED;
        let (has, gives) = (question.ciaddr.unwrap_or(none), self.address.unwrap_or(none));
        let mac = question.mac.bytes();
        let mut message = Message::new_with_id(question.xid, has, gives, none, none, &mac);
        message.set_opcode(Opcode::BootReply);
        if question.ciaddr.is_none() {
            message.set_flags(Flags::default().set_broadcast());
        }
        let kind = match self.kind {
            ReplyType::Offer => MessageType::Offer,
            ReplyType::Ack => MessageType::Ack,
            ReplyType::Nak => MessageType::Nak,
        };
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(self.server));
        if self.kind == ReplyType::Nak {
            return encode(&message);
        }
        if self.address.is_some() {
            options.insert(DhcpOption::AddressLeaseTime(self.lease_seconds));
            if let Some((renew, rebind)) = self.renewal_times {
                options.insert(DhcpOption::Renewal(renew));
                options.insert(DhcpOption::Rebinding(rebind));
            }
        }
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        options.insert(DhcpOption::Router(vec![self.server]));
        options.insert(DhcpOption::DomainNameServer(vec![self.server]));
        options.insert(DhcpOption::NtpServers(vec![self.server]));
        options.insert(DhcpOption::DomainName(self.domain.clone()));
        if let Some(board) = self.board {
            let option = UnknownOption::new(OptionCode::from(BOARD), vec![board]);
            options.insert(DhcpOption::Unknown(option));
        }
        encode(&message)
    }
}

/// Decodes a message for Ethernet, and the client's MAC address.
fn decode(bytes: &[u8], code: Opcode) -> Result<(Message, Mac), InvalidDhcpMessage> {
    let bytes = with_known_options(bytes).ok_or(InvalidDhcpMessage("it is no DHCP message"))?;
    let message = Message::decode(&mut Decoder::new(&bytes));
    let message = message.map_err(|_| InvalidDhcpMessage("it is no DHCP message"))?;
    // The length field is untrusted: `chaddr` has room for 16 bytes.
    if message.opcode() != code || message.htype() != HType::Eth || message.hlen() != 6 {
        return Err(InvalidDhcpMessage("it goes the other way, or not by Ethernet"));
    }
    let mac = <[u8; 6]>::try_from(message.chaddr()).ok().and_then(Mac::new);
    Ok((message, mac.ok_or(InvalidDhcpMessage("it is nobody's"))?))
}

/// The message without unused options: `dhcproto` panics at some malformed ones (0.15.0 at option
/// 80 with a length), and any device on the link can send one.
fn with_known_options(bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, options) = bytes.split_at_checked(HEAD)?;
    if !head.ends_with(&COOKIE) {
        return None;
    }
    let mut known = head.to_vec();
    let overloaded = take_known(options, &mut known)?;
    for (bit, field) in FIELDS {
        if overloaded & bit != 0 {
            take_known(&head[field], &mut known)?;
        }
    }
    known.push(END);
    Some(known)
}

/// Appends those of `options` that are in [`KNOWN`] to `known`. Returns the value of [`OVERLOAD`],
/// 0 without it.
fn take_known(mut options: &[u8], known: &mut Vec<u8>) -> Option<u8> {
    let mut overloaded = 0;
    loop {
        match options {
            // A missing end option is tolerated.
            [] | [END, ..] => return Some(overloaded),
            [PAD, rest @ ..] => options = rest,
            [number, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked((*length).into())?;
                if KNOWN.contains(number) {
                    known.extend([*number, *length]);
                    known.extend(value);
                }
                if let (OVERLOAD, [fields]) = (*number, value) {
                    overloaded = *fields;
                }
                options = rest;
            }
            [_] => return None,
        }
    }
}

fn encode(message: &Message) -> Vec<u8> {
    // Encoding fails only for values that exceed their length field, and none here does.
    let mut bytes = message.to_vec().unwrap_or_default();
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}

#[cfg(test)]
mod tests;
