//! The membership map, appointments and records, as other nodes and operators send them.

use octet_node::map::{Map, SignedMap};
use octet_node::record::SeatRecord;
use octet_node::statement::SignedAppointment;

/// Bytes are refused, or are the canonical encoding of an appointment or a record. An accepted map
/// is signed by its coordinator, is valid, and is the same after it was encoded again.
pub fn map(bytes: &[u8]) {
    if let Ok(statement) = SignedAppointment::from_bytes(bytes) {
        assert_eq!(statement.to_bytes(), bytes);
        assert_eq!(SignedAppointment::try_from(String::from(statement)), Ok(statement));
    }
    if let Ok(record) = SeatRecord::from_bytes(bytes) {
        assert_eq!(record.to_bytes(), bytes);
        assert_eq!(SeatRecord::try_from(String::from(record)), Ok(record));
    }
    if let Ok(signed) = serde_json::from_slice::<SignedMap>(bytes) {
        let map = signed.map();
        assert_eq!(map.check(), Ok(()));
        assert!(map.member_by_key(&map.coordinator).is_some());
        assert_eq!(serde_json::from_str::<Map>(signed.text()).ok().as_ref(), Some(map));
        let json = serde_json::to_vec(&signed).expect("a map is JSON");
        assert_eq!(serde_json::from_slice::<SignedMap>(&json).ok(), Some(signed));
    }
    if let Ok(map) = serde_json::from_slice::<Map>(bytes)
        && map.check().is_ok()
    {
        for member in &map.members {
            assert_eq!(map.member(member.number), Some(member));
            assert!(!map.revoked.contains(&member.node));
        }
    }
}
