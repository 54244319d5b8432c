//! What runs on this board beside the base units. PID 1 is told: what the settings place here, or nothing
//! while the map says that the board is drained.

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

/// How long PID 1 may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before PID 1 is asked again that could not be.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why it was not done.
enum NotDone {
    /// It is refused, and would be again.
    Refused(String),
    /// It may go another time.
    Broken(String),
}

/// Keeps PID 1 told, for good.
pub async fn keep(node: Rc<ClusterNode>) -> io::Result<()> {
    let (mut told, mut settings) = (node.told.clone(), node.settings.subscribe());
    let mut update = node.update.subscribe();
    let (mut done, mut problem) = (None, String::new());
    loop {
        let number = told.borrow_and_update().number;
        let wanted = {
            let settings = settings.borrow_and_update();
            // A box that is one board runs what its image says.
            let boards = settings.cluster.as_ref().map(|_| &settings.boards[..]);
            boards.and_then(|boards| wanted(number, boards, &update.borrow_and_update()))
        };
        let mut again = false;
        if let Some(units) = wanted.filter(|units| done.as_ref() != Some(units)) {
            let outcome = place(node.sockets.clone(), units.clone()).await;
            again = matches!(outcome, Err(NotDone::Broken(_)));
            match outcome {
                Ok(()) => {
                    say!("placed here: {}", if units.is_empty() { "nothing" } else { &units });
                    problem.clear();
                }
                // The same again is not said again.
                Err(NotDone::Refused(why) | NotDone::Broken(why)) if why == problem => {}
                Err(NotDone::Refused(why) | NotDone::Broken(why)) => {
                    say!("PID 1 does not take what is to run here: {why}");
                    problem = why;
                }
            }
            if !again {
                done = Some(units);
            }
        }
        let changed = async {
            tokio::select! {
                changed = told.changed() => changed,
                changed = settings.changed() => changed,
                changed = update.changed() => changed,
            }
        };
        let changed = if again { timeout(RETRY_DELAY, changed).await } else { Ok(changed.await) };
        // That the time is over is no end.
        changed.unwrap_or(Ok(())).map_err(io::Error::other)?;
    }
}

/// The units that are to run on board `number` as PID 1 takes them; `None` where that is not for this unit
/// to say.
fn wanted(number: Option<u8>, boards: &[Board], update: &Update) -> Option<String> {
    let number = number.filter(|number| *number > 0)?;
    let map = update.map.as_ref().map(SignedMap::map);
    let drained = map.and_then(|map| map.member(number)).is_some_and(|member| member.drained);
    let own = boards.iter().filter(|board| board.number == number && !drained);
    let units: Vec<&str> = own.flat_map(|board| &board.services).map(UnitName::as_str).collect();
    Some(units.join(","))
}

/// Has PID 1, which listens in the folder `sockets`, run `units` and no others. A thread waits for it.
async fn place(sockets: PathBuf, units: String) -> Result<(), NotDone> {
    let ask = move || -> Result<Value, CallError> {
        let mut client = Client::connect(&sockets.join(format!("{INIT}.sock")))?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        let args: Map<String, Value> = Map::from_iter([("units".to_owned(), units.into())]);
        client.call(PLACE, args)
    };
    let asked = spawn_blocking(ask).await.map_err(|error| NotDone::Broken(error.to_string()))?;
    asked.map(drop).map_err(|error| match error {
        CallError::Failure(failure)
            if !matches!(failure.code, FailureCode::Busy | FailureCode::Failed) =>
        {
            NotDone::Refused(failure.to_string())
        }
        error => NotDone::Broken(error.to_string()),
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
        let of = |number, update: &Update| wanted(number, &boards, update);
        assert_eq!(of(Some(3), &none).unwrap(), "cache,messenger");
        assert_eq!(of(Some(3), &map(false)).unwrap(), "cache,messenger");
        assert_eq!(of(Some(3), &map(true)).unwrap(), "");
        assert_eq!(of(Some(2), &map(true)).unwrap(), "web");
        // A board of which nothing is said runs nothing; the router and who does not know are left alone.
        assert_eq!(of(Some(4), &none).unwrap(), "");
        assert_eq!((of(Some(0), &none), of(None, &none)), (None, None));
    }
}
