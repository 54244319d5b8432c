//! DHCP messages, as far as either side reads them (RFC 2131, 2; options RFC 2132).

use std::net::Ipv4Addr;
use std::ops::Range;

use dhcproto::v4::{
    DhcpOption, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption,
};
use dhcproto::{Decodable, Decoder, Encodable};
use octet_appliance::Mac;

/// The shortest message that every relay hands on (RFC 1542, 2.1), in bytes.
const SHORTEST: usize = 300;

/// The option that says which board of the box the client is: the first of those that a site may use as
/// it likes (RFC 3942, 2).
const BOARD: u8 = 224;

const HEAD: usize = 240;

/// Options without a value: one that fills up, and the last one.
const PAD: u8 = 0;
const END: u8 = 255;

/// What the options begin with.
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// The options that are read: mask, routers, names, time, wish, seconds, kind, server, when to renew and to rebind,
/// routes, board.
const KNOWN: [u8; 12] = [1, 3, 6, 42, 50, 51, 53, 54, 58, 59, 121, BOARD];

/// The option that says where else there are options (RFC 2132, 9.3), and these fields: `file`, by bit 0 of its value, and
/// `sname`, by bit 1. They are read in this order (RFC 2131, 4.1).
const OVERLOAD: u8 = 52;
const FIELDS: [(u8, Range<usize>); 2] = [(1, 108..236), (2, 44..108)];

/// Addresses of one kind that are read of an answer at most.
const MAX_SERVERS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Whether anybody has an address, best this one.
    Discover(Option<Ipv4Addr>),
    /// For the address that a server has offered.
    Request { address: Ipv4Addr, server: Ipv4Addr },
    /// To go on with the address that it has.
    Renew(Ipv4Addr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyType {
    Offer,
    /// The address is the client's.
    Ack,
    Nak,
}

/// A server's answer, as far as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMessage {
    pub kind: ReplyType,
    pub xid: u32,
    pub mac: Mac,
    pub address: Ipv4Addr,
    pub server: Option<Ipv4Addr>,
    /// Which bits of the address are those of its network.
    pub mask: Option<Ipv4Addr>,
    /// Where packets to other networks go.
    pub router: Option<Ipv4Addr>,
    /// For how many seconds.
    pub seconds: Option<u32>,
    /// After how many seconds the server is to be asked anew, and after how many everybody is (T1 and T2 of RFC 2131,
    /// 4.4.5).
    pub again: (Option<u32>, Option<u32>),
    /// Who answers questions about names.
    pub names: Vec<Ipv4Addr>,
    pub time: Vec<Ipv4Addr>,
    /// Which board of the box the client is.
    pub board: Option<u8>,
}

/// What a client wants, as a server reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRequest {
    pub kind: QuestionKind,
    pub xid: u32,
    pub mac: Mac,
    /// The address that it has and uses.
    pub has: Option<Ipv4Addr>,
    /// The address that it would like.
    pub wish: Option<Ipv4Addr>,
    /// The server that it means.
    pub server: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    Discover,
    /// May it have this one?
    Request,
    /// It has an address, and asks for the rest.
    Inform,
    /// It gives the address back.
    Release,
    /// Somebody else has the address.
    Decline,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReply {
    pub kind: ReplyType,
    pub server: Ipv4Addr,
    /// The address that is given; none with [`ReplyType::Nak`], and for a client that has an address.
    pub address: Option<Ipv4Addr>,
    /// For how many seconds.
    pub seconds: u32,
    /// After how many the server is to be asked anew, and after how many everybody is, where that is earlier than
    /// clients would by themselves.
    pub again: Option<(u32, u32)>,
    /// The domain that names of the box are in.
    pub domain: String,
    /// Which board of the box the client is.
    pub board: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Everybody on the link: there is no address yet, or no known server.
    Everybody,
    One(Ipv4Addr),
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDhcpMessage(pub &'static str);

impl Ask {
    /// The message, as question `xid` of the client `mac`.
    pub fn bytes(self, xid: u32, mac: Mac) -> Vec<u8> {
        let none = Ipv4Addr::UNSPECIFIED;
        let has = if let Self::Renew(address) = self { address } else { none };
        let mut message = Message::new_with_id(xid, has, none, none, none, &mac.bytes());
        // Until there is an address, answers can only go to everybody.
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
    /// Reads what came to the client's port.
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
            seconds: None,
            again: (None, None),
            names: vec![],
            time: vec![],
            board: None,
        };
        let some = |all: &[Ipv4Addr]| all.iter().copied().take(MAX_SERVERS).collect();
        // Who reads these routes does not look at the option for routers (RFC 3442).
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
                DhcpOption::AddressLeaseTime(seconds) => answer.seconds = Some(*seconds),
                DhcpOption::Renewal(seconds) => answer.again.0 = Some(*seconds),
                DhcpOption::Rebinding(seconds) => answer.again.1 = Some(*seconds),
                DhcpOption::DomainNameServer(servers) => answer.names = some(servers),
                DhcpOption::NtpServers(servers) => answer.time = some(servers),
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
    /// Reads what came to the server's port.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidDhcpMessage> {
        let (message, mac) = decode(bytes, Opcode::BootRequest)?;
        if !message.giaddr().is_unspecified() {
            return Err(InvalidDhcpMessage(
                "it was handed on by a relay, and there is none in a box",
            ));
        }
        let kind = match message.opts().msg_type() {
            Some(MessageType::Discover) => QuestionKind::Discover,
            Some(MessageType::Request) => QuestionKind::Request,
            Some(MessageType::Inform) => QuestionKind::Inform,
            Some(MessageType::Release) => QuestionKind::Release,
            Some(MessageType::Decline) => QuestionKind::Decline,
            _ => return Err(InvalidDhcpMessage("it is no client's question")),
        };
        let mut question = Self {
            kind,
            xid: message.xid(),
            mac,
            has: Some(message.ciaddr()).filter(|address| !address.is_unspecified()),
            wish: None,
            server: None,
        };
        for (_, option) in message.opts().iter() {
            match option {
                DhcpOption::RequestedIpAddress(address) => question.wish = Some(*address),
                DhcpOption::ServerIdentifier(server) => question.server = Some(*server),
                _ => {}
            }
        }
        Ok(question)
    }
}

impl ServerReply {
    /// The message, in answer to `question`. Every network of a box has 24 bits, and the server is its
    /// router.
    pub fn bytes(&self, question: &ClientRequest) -> Vec<u8> {
        let none = Ipv4Addr::UNSPECIFIED;
        let (has, gives) = (question.has.unwrap_or(none), self.address.unwrap_or(none));
        let mac = question.mac.bytes();
        let mut message = Message::new_with_id(question.xid, has, gives, none, none, &mac);
        message.set_opcode(Opcode::BootReply);
        if question.has.is_none() {
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
            options.insert(DhcpOption::AddressLeaseTime(self.seconds));
            if let Some((renew, rebind)) = self.again {
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

/// Reads a message by Ethernet, and whose it is.
fn decode(bytes: &[u8], code: Opcode) -> Result<(Message, Mac), InvalidDhcpMessage> {
    let bytes = with_known_options(bytes).ok_or(InvalidDhcpMessage("it is no DHCP message"))?;
    let message = Message::decode(&mut Decoder::new(&bytes));
    let message = message.map_err(|_| InvalidDhcpMessage("it is no DHCP message"))?;
    // The length is a stranger's word: `chaddr` has room for 16 bytes.
    if message.opcode() != code || message.htype() != HType::Eth || message.hlen() != 6 {
        return Err(InvalidDhcpMessage("it goes the other way, or not by Ethernet"));
    }
    let mac = <[u8; 6]>::try_from(message.chaddr()).ok().and_then(Mac::new);
    Ok((message, mac.ok_or(InvalidDhcpMessage("it is nobody's"))?))
}

/// The message without the options that nobody here reads: `dhcproto` panics at some that are malformed
/// (0.15.0 at option 80 with a length), and everybody on the link can send one.
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

/// Adds the known ones of `options` to `known`. Returns the value of [`OVERLOAD`], 0 without it.
fn take_known(mut options: &[u8], known: &mut Vec<u8>) -> Option<u8> {
    let mut overloaded = 0;
    loop {
        match options {
            // Without an end there is at least nothing more.
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
    // Only lengths can fail, and none here is beyond its field.
    let mut bytes = message.to_vec().unwrap_or_default();
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}

#[cfg(test)]
mod tests;
