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
use serde_json::Map;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// How long a unit may take to describe itself.
const DESCRIBED: Duration = Duration::from_secs(10);

/// The way to PID 1, and the verbs of units that were asked for before.
pub struct Init {
    socket: PathBuf,
    verbs: RefCell<HashMap<UnitName, Rc<Vec<Verb>>>>,
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
        // What PID 1's need depends on whether the slot is on trial.
        let known =
            (unit.as_str() != INIT).then(|| self.verbs.borrow().get(unit).cloned()).flatten();
        let verbs = match known {
            Some(verbs) => verbs,
            None => {
                let described = timeout(DESCRIBED, self.describe(unit)).await;
                let verbs = Rc::new(described.map_err(|_| broken("it does not describe itself"))??);
                self.verbs.borrow_mut().insert(unit.clone(), Rc::clone(&verbs));
                verbs
            }
        };
        Verb::find(&verbs, name).cloned()
    }

    async fn describe(&self, unit: &UnitName) -> Result<Vec<Verb>, Failure> {
        let mut link = self.connect().await?;
        let (verb, args) = (DESCRIBE.to_owned(), Map::new());
        let request = Request { id: 1, unit: elsewhere(unit), verb, args, by: None };
        send(&mut link.asks, &request).await.map_err(|error| broken(&error.to_string()))?;
        let answer = link.answer().await?;
        match answer.body {
            ReplyBody::Error(failure) => Err(failure),
            ReplyBody::End(verbs) => {
                serde_json::from_value(verbs).map_err(|error| broken(&error.to_string()))
            }
            _ => Err(broken("it does not describe itself")),
        }
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
