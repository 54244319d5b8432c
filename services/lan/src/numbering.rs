//! Which board of the box this is.

use octet_appliance::Cluster;

use crate::dhcp::ServerMessage;

/// The number of the board that `answer` is for: as the router says, or by the address that it gives, if it is none of
/// ours (`silent` is the box then). `None` if that address is no board's.
///
/// The address is as good as the router's word: a port gets that of its own board and no other, and what is sent to
/// another one does not come to it.
pub fn number(answer: &ServerMessage, silent: Option<&Cluster>) -> Option<u8> {
    match silent {
        Some(cluster) => cluster.board_at(answer.address.into()),
        None => answer.board,
    }
}

#[cfg(test)]
mod tests {
    use octet_appliance::Mac;
    use serde_json::json;

    use super::*;
    use crate::dhcp::{Ask, ClientRequest, ReplyType, ServerReply};

    /// What a client is told that gets `address`, with the number that a router of ours says.
    fn answer(address: [u8; 4], board: Option<u8>) -> ServerMessage {
        let mac = Mac::new([2, 0, 0, 0, 0, 7]).unwrap();
        let question = ClientRequest::parse(&Ask::Discover(None).bytes(1, mac)).unwrap();
        let [a, b, c, _] = address;
        let reply = ServerReply {
            kind: ReplyType::Ack,
            server: [a, b, c, 1].into(),
            address: Some(address.into()),
            seconds: 3600,
            again: None,
            domain: "octet.internal".to_owned(),
            board,
        };
        ServerMessage::parse(&reply.bytes(&question)).unwrap()
    }

    #[test]
    fn by_the_router_or_by_the_address() {
        let silent: Cluster =
            serde_json::from_value(json!({ "boards": 4, "router": "openwrt" })).unwrap();
        assert_eq!(number(&answer([10, 20, 3, 2], Some(3)), None), Some(3));
        assert_eq!(number(&answer([10, 20, 3, 2], None), None), None);
        let by_address = |address| number(&answer(address, None), Some(&silent));
        for board in 1..=4 {
            assert_eq!(by_address([10, 20, board, 2]), Some(board));
        }
        // Another host, a board that the box has not, the owner's devices, and somebody else's network.
        for address in [[10, 20, 3, 3], [10, 20, 5, 2], [10, 20, 250, 2], [192, 168, 3, 2]] {
            assert_eq!(by_address(address), None, "{address:?}");
        }
    }
}
