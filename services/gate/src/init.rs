//! The way to PID 1, which knows this unit for one that brings operators.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use octet_node::control::{
    DESCRIBE, Failure, FailureCode, INIT, MAX_PAYLOAD, Reply, ReplyBody, Request, UnitName, Verb,
};
use octet_node::frames::{FOR_EVER, Frames, reply, send};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// The verb of PID 1 that names the units.
const STATUS: &str = "status";

/// How long a unit may take to describe itself.
const DESCRIBED: Duration = Duration::from_secs(10);

/// The way to PID 1, and the verbs of units that were asked for before.
pub struct Init {
    socket: PathBuf,
    verbs: RefCell<HashMap<UnitName, Rc<Vec<Verb>>>>,
}

/// What counts here of PID 1's answer.
#[derive(Deserialize)]
struct Status {
    units: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: UnitName,
}

/// A connection to PID 1.
pub struct Link {
    /// What it answers.
    pub answers: Frames<OwnedReadHalf>,
    /// What it is asked.
    pub asks: OwnedWriteHalf,
}

impl Init {
    /// PID 1 listens in the folder `sockets`.
    pub fn new(sockets: &std::path::Path) -> Self {
        Self { socket: sockets.join(format!("{INIT}.sock")), verbs: RefCell::default() }
    }

    /// A connection of its own, so that what one operator does not read holds up no other.
    ///
    /// # Errors
    /// PID 1 does not take it.
    pub async fn connect(&self) -> Result<Link, Failure> {
        let stream = UnixStream::connect(&self.socket).await;
        let (from, asks) = stream.map_err(|error| broken(&error.to_string()))?.into_split();
        Ok(Link { answers: Frames::new(from, MAX_PAYLOAD), asks })
    }

    /// The verb `name` of `unit`, as the unit describes it. What a unit can be asked does not change
    /// while the box runs, so each is asked once.
    ///
    /// # Errors
    /// The unit is not there, or does not answer, or has no such verb.
    pub async fn verb(&self, unit: &UnitName, name: &str) -> Result<Verb, Failure> {
        Verb::find(&self.verbs(unit).await?, name).cloned()
    }

    /// All verbs of `unit`, in the same way.
    ///
    /// # Errors
    /// The unit is not there, or does not answer.
    pub async fn verbs(&self, unit: &UnitName) -> Result<Rc<Vec<Verb>>, Failure> {
        // What PID 1's need depends on whether the slot is on trial.
        let is_kept = unit.as_str() != INIT;
        if is_kept && let Some(verbs) = self.verbs.borrow().get(unit) {
            return Ok(Rc::clone(verbs));
        }
        let verbs: Rc<Vec<Verb>> = Rc::new(self.ask(elsewhere(unit), DESCRIBE).await?);
        self.verbs.borrow_mut().insert(unit.clone(), Rc::clone(&verbs));
        Ok(verbs)
    }

    /// The units that there are.
    ///
    /// # Errors
    /// PID 1 does not say.
    pub async fn units(&self) -> Result<Vec<UnitName>, Failure> {
        let status: Status = self.ask(None, STATUS).await?;
        Ok(status.units.into_iter().map(|unit| unit.name).collect())
    }

    /// What a verb without arguments answers, in one piece and in time.
    async fn ask<T: DeserializeOwned>(
        &self,
        unit: Option<UnitName>,
        verb: &str,
    ) -> Result<T, Failure> {
        let asked = async {
            let mut link = self.connect().await?;
            let (verb, args) = (verb.to_owned(), Map::new());
            let request = Request { id: 1, unit, verb, args, by: None };
            send(&mut link.asks, &request).await.map_err(|error| broken(&error.to_string()))?;
            match link.answer().await?.body {
                ReplyBody::Error(failure) => Err(failure),
                ReplyBody::End(end) => {
                    serde_json::from_value(end).map_err(|error| broken(&error.to_string()))
                }
                _ => Err(broken("it answers in pieces")),
            }
        };
        let answered = timeout(DESCRIBED, asked).await;
        answered.unwrap_or_else(|_| Err(broken("it takes too long")))
    }
}

impl Link {
    /// The next thing that PID 1 says.
    ///
    /// # Errors
    /// It says nothing more.
    pub async fn answer(&mut self) -> Result<Reply, Failure> {
        let payload =
            self.answers.next(FOR_EVER).await.map_err(|error| broken(&error.to_string()))?;
        let payload = payload.ok_or_else(|| broken("it closed the connection"))?;
        reply(&payload).map_err(|error| broken(&error.to_string()))
    }
}

/// How a request names `unit`: PID 1 needs no name on its own connection.
pub fn elsewhere(unit: &UnitName) -> Option<UnitName> {
    (unit.as_str() != INIT).then(|| unit.clone())
}

fn broken(why: &str) -> Failure {
    let message = format!("the gate gets no answer from PID 1: {why}");
    Failure::new(FailureCode::Failed, message, "ask again; the console shows how the box is")
}
