//! Starts the scheduled services of this board through PID 1: those that the settings place here,
//! or none while the map drains the board.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use octet_appliance::Board;
use octet_node::control::{CallError, Client, FailureCode, INIT, UnitName};
use octet_node::map::{SignedMap, Update};
use octet_node::say;
use serde_json::{Map, Value};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::node::ClusterNode;

/// PID 1's verb.
const PLACE: &str = "place";

/// The timeout of PID 1.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before PID 1 is called again after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a call failed.
enum PlacementError {
    /// It was refused; a retry is pointless.
    Refused(String),
    /// It may succeed later.
    Broken(String),
}

/// Keeps PID 1 up to date, forever.
pub async fn run(node: Rc<ClusterNode>) -> io::Result<()> {
    let (mut init_config, mut settings) = (node.init_config.clone(), node.settings.subscribe());
    let mut update = node.update.subscribe();
    let (mut done, mut problem) = (None, String::new());
    loop {
        let number = init_config.borrow_and_update().number;
        let wanted = {
            let settings = settings.borrow_and_update();
            // A box of one board runs what its image contains.
            let boards = settings.cluster.as_ref().map(|_| &settings.boards[..]);
            boards.and_then(|boards| desired_units(number, boards, &update.borrow_and_update()))
        };
        let mut again = false;
        if let Some(units) = wanted.filter(|units| done.as_ref() != Some(units)) {
            let outcome = send_units(node.sockets.clone(), units.clone()).await;
            again = matches!(outcome, Err(PlacementError::Broken(_)));
            match outcome {
                Ok(()) => {
                    say!("placed here: {}", if units.is_empty() { "nothing" } else { &units });
                    problem.clear();
                }
                // The same problem is logged once.
                Err(PlacementError::Refused(why) | PlacementError::Broken(why))
                    if why == problem => {}
                Err(PlacementError::Refused(why) | PlacementError::Broken(why)) => {
                    say!("PID 1 rejects the placement of units: {why}");
                    problem = why;
                }
            }
            if !again {
                done = Some(units);
            }
        }
        let changed = async {
            tokio::select! {
                changed = init_config.changed() => changed,
                changed = settings.changed() => changed,
                changed = update.changed() => changed,
            }
        };
        let changed = if again { timeout(RETRY_DELAY, changed).await } else { Ok(changed.await) };
        // A timeout only leads to a retry.
        changed.unwrap_or(Ok(())).map_err(io::Error::other)?;
    }
}

/// The units for board `number` in PID 1's format; `None` where this unit does not decide.
fn desired_units(number: Option<u8>, boards: &[Board], update: &Update) -> Option<String> {
    let number = number.filter(|number| *number > 0)?;
    let map = update.map.as_ref().map(SignedMap::map);
    let drained = map.and_then(|map| map.member(number)).is_some_and(|member| member.drained);
    let own = boards.iter().filter(|board| board.number == number && !drained);
    let units: Vec<&str> = own.flat_map(|board| &board.services).map(UnitName::as_str).collect();
    Some(units.join(","))
}

/// Makes PID 1, in the folder `sockets`, run exactly `units`. A thread waits for it.
async fn send_units(sockets: PathBuf, units: String) -> Result<(), PlacementError> {
    let ask = move || -> Result<Value, CallError> {
        let mut client = Client::connect(&sockets.join(format!("{INIT}.sock")))?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        let args: Map<String, Value> = Map::from_iter([("units".to_owned(), units.into())]);
        client.call(PLACE, args)
    };
    let asked =
        spawn_blocking(ask).await.map_err(|error| PlacementError::Broken(error.to_string()))?;
    asked.map(drop).map_err(|error| match error {
        CallError::Failure(failure)
            if !matches!(failure.code, FailureCode::Busy | FailureCode::Failed) =>
        {
            PlacementError::Refused(failure.to_string())
        }
        error => PlacementError::Broken(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::certificate::{Certificate, KeyStatement};
    use octet_node::key::PrivateKey;
    use octet_node::map::{Map as MapOf, MapVersion, Member};
    use serde_json::json;

    fn map(drained: bool) -> Update {
        let [node, board, key] = [(); 3].map(|()| PrivateKey::generate().unwrap());
        let member = |number, node, drained| Member {
            number,
            node,
            addresses: vec![],
            certificates: vec![],
            record: None,
            drained,
        };
        let members = vec![member(0, node.public(), false), member(3, board.public(), drained)];
        let map = MapOf::new(node.public(), MapVersion::default(), members, vec![]);
        let unit = "cluster".parse().unwrap();
        let statement =
            KeyStatement { node: node.public(), unit, key: key.public(), epoch: 1, issued: 1 };
        let certificate = Certificate::sign(statement, &node).unwrap();
        let map = SignedMap::sign(map, certificate, &key).unwrap();
        Update { number: Some(3), map: Some(map) }
    }

    #[test]
    fn what_the_settings_say_unless_it_is_drained() {
        let boards: Vec<Board> = serde_json::from_value(json!([
            {"number": 2, "services": ["web"]},
            {"number": 3, "services": ["cache", "messenger"]},
        ]))
        .unwrap();
        let none = Update { number: None, map: None };
        let of = |number, update: &Update| desired_units(number, &boards, update);
        assert_eq!(of(Some(3), &none).unwrap(), "cache,messenger");
        assert_eq!(of(Some(3), &map(false)).unwrap(), "cache,messenger");
        assert_eq!(of(Some(3), &map(true)).unwrap(), "");
        assert_eq!(of(Some(2), &map(true)).unwrap(), "web");
        // A board without an entry runs nothing; the router and a node of unknown number are left
        // alone.
        assert_eq!(of(Some(4), &none).unwrap(), "");
        assert_eq!((of(Some(0), &none), of(None, &none)), (None, None));
    }
}
