//! Dispatches a request that may be for any unit: which unit answers it, and why one cannot be
//! called.

use serde::Deserialize;
use serde_json::Value;

use crate::{CLUSTER, Failure, FailureCode, INIT, LOGGER, LOGS, PLOT, Request, STATUS, UnitName};

/// The needed part of PID 1's answer to `status`.
#[derive(Deserialize)]
struct Status {
    units: Vec<ListedUnit>,
}

#[derive(Deserialize)]
struct ListedUnit {
    name: UnitName,
    #[serde(default)]
    reason: Option<String>,
}

impl Request {
    /// Removes the called unit from the request; `None` is PID 1. Requests to PID 1 for the output
    /// of units are dispatched to `logd`, and those for the state of the box's other nodes to
    /// `cluster`.
    pub fn take_unit(&mut self) -> Option<UnitName> {
        let unit = self.unit.take().filter(|unit| unit.as_str() != INIT);
        let of_box = || self.args.get("box") == Some(&Value::Bool(true));
        match self.verb.as_str() {
            _ if unit.is_some() => unit,
            LOGS => LOGGER.parse().ok(),
            STATUS if of_box() => {
                self.args.retain(|name, _| name == PLOT);
                CLUSTER.parse().ok()
            }
            _ => None,
        }
    }
}

/// Explains why connecting to the socket of `unit` failed with `error`; `status` is PID 1's report
/// of all units.
pub fn connect_failure(unit: &str, status: &Value, error: &str) -> Failure {
    let listed = Status::deserialize(status).map(|status| status.units).unwrap_or_default();
    let help = "`status` shows where it is and how it is";
    match listed.iter().find(|it| it.name.as_str() == unit) {
        Some(ListedUnit { reason: Some(reason), .. }) => {
            Failure::new(FailureCode::Denied, format!("unit `{unit}` {reason}"), help)
        }
        None if !listed.is_empty() => {
            let names = listed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
            let help = format!("the units are: {names}");
            Failure::new(FailureCode::NotFound, format!("there is no unit `{unit}`"), help)
        }
        _ => no_answer(unit, error),
    }
}

/// The failure that `unit` does not answer, for this reason.
pub fn no_answer(unit: &str, why: &str) -> Failure {
    let message = format!("unit `{unit}` does not answer: {why}");
    Failure::new(FailureCode::Failed, message, "`status` shows how it is")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_asked_in_place_of_pid_1() {
        let asked = |unit: Option<&str>, verb: &str, args: Value| {
            let (unit, verb) = (unit.map(|unit| unit.parse().unwrap()), verb.to_owned());
            let args = args.as_object().unwrap().clone();
            let mut request = Request { id: 1, unit, verb, args, by: None };
            let unit = request.take_unit().map(|unit| unit.to_string());
            (unit, Value::from(request.args))
        };
        let unit = |name: &str| Some(name.to_owned());
        let (none, of_box) = (json!({}), json!({ "box": true }));
        assert_eq!(asked(None, "status", none.clone()), (None, none.clone()));
        assert_eq!(asked(Some("init"), "restart", none.clone()), (None, none.clone()));
        assert_eq!(asked(None, "status", of_box.clone()), (unit("cluster"), none.clone()));
        assert_eq!(asked(Some("init"), "status", of_box.clone()), (unit("cluster"), none));
        let (drawn, plot) = (json!({ "box": true, "plot": true }), json!({ "plot": true }));
        assert_eq!(asked(None, "status", drawn), (unit("cluster"), plot.clone()));
        assert_eq!(asked(None, "status", plot.clone()), (None, plot));
        assert_eq!(asked(Some("cache"), "status", of_box.clone()), (unit("cache"), of_box));
        let follow = json!({ "follow": true });
        assert_eq!(asked(Some("init"), "logs", follow.clone()), (unit("logd"), follow.clone()));
        assert_eq!(asked(Some("cache"), "logs", follow.clone()), (unit("cache"), follow));
    }

    #[test]
    fn why_a_unit_cannot_be_asked() {
        let status = json!({ "units": [
            { "name": "cache", "reason": null },
            { "name": "store", "reason": "is for other boards" },
        ]});
        let why = |unit: &str, status: &Value| {
            let failure = connect_failure(unit, status, "refused");
            (failure.code, failure.message)
        };
        let cache = (FailureCode::Failed, "unit `cache` does not answer: refused".to_owned());
        assert_eq!(why("cache", &status), cache);
        assert_eq!(why("cache", &Value::Null), cache);
        let store = (FailureCode::Denied, "unit `store` is for other boards".to_owned());
        assert_eq!(why("store", &status), store);
        let other = (FailureCode::NotFound, "there is no unit `other`".to_owned());
        assert_eq!(why("other", &status), other);
    }
}
