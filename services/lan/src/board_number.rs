//! The board number of this node.

use octet_appliance::Cluster;

use crate::dhcp::ServerMessage;

/// The board number in the lease `answer`: the one that the router has assigned, or, if it runs
/// OpenWrt (`openwrt_cluster` is the box then), the one that follows from the address. `None` if the address
/// is no board's.
///
/// The address is as trustworthy as an assigned number: the router serves each port the address of
/// its own board only, and packets to other addresses do not arrive.
pub fn board_number(answer: &ServerMessage, openwrt_cluster: Option<&Cluster>) -> Option<u8> {
    match openwrt_cluster {
        Some(cluster) => cluster.board_at(answer.address.into()),
        None => answer.board,
    }
}

#[cfg(test)]
mod tests {
    use octet_appliance::Mac;
    use serde_json::json;

    use super::*;
    use crate::dhcp::{ClientMessageType, ClientRequest, ReplyType, ServerReply};

    /// A lease of `address`, with the board number that the router has assigned.
    fn answer(address: [u8; 4], board: Option<u8>) -> ServerMessage {
        let mac = Mac::new([2, 0, 0, 0, 0, 7]).unwrap();
        let question =
            ClientRequest::parse(&ClientMessageType::Discover(None).bytes(1, mac)).unwrap();
        let [a, b, c, _] = address;
        let reply = ServerReply {
            kind: ReplyType::Ack,
            server: [a, b, c, 1].into(),
            address: Some(address.into()),
            lease_seconds: 3600,
            renewal_times: None,
            domain: "octet.internal".to_owned(),
            board,
        };
        ServerMessage::parse(&reply.bytes(&question)).unwrap()
    }

    #[test]
    fn by_the_router_or_by_the_address() {
        let silent: Cluster =
            serde_json::from_value(json!({ "boards": 4, "router": "openwrt" })).unwrap();
        assert_eq!(board_number(&answer([10, 20, 3, 2], Some(3)), None), Some(3));
        assert_eq!(board_number(&answer([10, 20, 3, 2], None), None), None);
        let by_address = |address| board_number(&answer(address, None), Some(&silent));
        for board in 1..=4 {
            assert_eq!(by_address([10, 20, board, 2]), Some(board));
        }
        // Another host, a board outside of the box's range, the owner's devices, and another
        // network.
        for address in [[10, 20, 3, 3], [10, 20, 5, 2], [10, 20, 250, 2], [192, 168, 3, 2]] {
            assert_eq!(by_address(address), None, "{address:?}");
        }
    }
}
