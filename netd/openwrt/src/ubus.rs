//! The router's bus (`ubus`), called by JSON-RPC 2.0 at `/ubus` of its web server.
//!
//! A session that has ended, one that never existed and a method that the ACL does not grant all
//! give the same answer (-32002): a new login tells which it was. Calls that only read are retried
//! where that can help; calls that change something are sent once, and the caller decides what to
//! do about a lost answer.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::https::{Https, HttpsError};

const PATH: &str = "/ubus";

/// The session of a client that is not logged in.
const NOBODY: &str = "00000000000000000000000000000000";

/// Maximum size of a request in bytes: the router accepts 65536.
const LONGEST: usize = 60_000;

/// Maximum number of calls in a request: for each `uci add` rpcd reads the file again, with
/// everything staged for it (its `uci.c`), so the time grows with the square of the number of
/// calls, and a slow router might exceed the timeout.
const CALLS: usize = 50;

/// Time after which the router rolls an unconfirmed change back, in seconds: the same as LuCI's.
pub const ROLLBACK: u64 = 90;

/// Maximum overhead of a call in bytes, besides its arguments.
const CALL: usize = 100;

/// The method that runs a program.
const PROGRAM: &str = "file exec";

/// How often a call that only reads is tried.
const TRIES: usize = 3;

const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A call of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct UbusCall {
    /// The object, such as `uci`.
    pub object: &'static str,
    pub method: &'static str,
    /// The arguments: a JSON object.
    pub args: Value,
}

impl UbusCall {
    /// A method of `uci`.
    pub fn uci(method: &'static str, args: Value) -> Self {
        Self { object: "uci", method, args }
    }
}

impl fmt::Display for UbusCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.method)?;
        match self.args["config"].as_str() {
            Some(config) => write!(f, " {config}"),
            None => Ok(()),
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum UbusError {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("the router rejects the user `{0}` with this password")]
    Login(String),
    /// The session has ended, and what was staged in it is lost.
    #[error("the session has ended")]
    Session,
    /// The ACL does not grant the method.
    #[error("this login may not do `{0}` on the router")]
    Denied(String),
    /// A change waits to be confirmed: one that this login has applied, by another or an earlier
    /// `octetctl`, if the field says so, and otherwise one of another login.
    #[error(
        "a change that {} has applied waits to be confirmed: what the router has now may be undone, and is not looked at",
        .0.as_ref().map_or("another login, as that of its web pages,".to_owned(), |login| format!("the login `{login}`"))
    )]
    Waiting(Option<String>),
    /// The ACL does not grant the file, or a change waits to be confirmed.
    #[error("the router refuses `{0}`")]
    Refused(String),
    /// The router has no such object, method, file or section.
    #[error("the router knows nothing of `{0}`")]
    NotFound(String),
    /// The call has no data (ubus status `NO_DATA`).
    #[error("the router has nothing to do for `{0}`")]
    NoData(String),
    /// The router rejects the arguments.
    #[error("the router does not understand `{0}`")]
    Invalid(String),
    /// UCI cannot parse what the owner has written (`UCI_ERR_PARSE`).
    #[error("the router cannot parse its own file `/etc/config/{0}`")]
    Unparsed(String),
    /// rpcd truncates the output of a program (`RPC_FILE_MAX_SIZE`).
    #[error("the rules in force are longer than what the router's `rpcd` passes on: 256 KiB")]
    TooLong,
    /// The router answers with another status.
    #[error("the router answers {1} to `{0}`")]
    Status(String, i64),
    /// The answer is not JSON-RPC.
    #[error("what answers is no JSON-RPC: {0}")]
    NoRpc(String),
    /// The content of the answer cannot be read.
    #[error("what the router says of itself cannot be read: {0}")]
    Unread(String),
}

impl UbusError {
    pub fn help(&self) -> String {
        let help = match self {
            Self::Https(HttpsError::OtherCertificate { .. }) => {
                "if the router was reset or replaced, look at it with `octetctl openwrt adopt ADDRESS`, and compare"
            }
            Self::Https(HttpsError::NoTls(..)) => {
                "name the router's port of HTTPS, which is 443 where the address has none; \
                 its web server has one once `luci-ssl` is installed"
            }
            Self::Https(_) => {
                "see that the router is on, and that its web server answers at this address"
            }
            Self::Waiting(Some(_)) => {
                return format!(
                    "ask again in {ROLLBACK} s: the router has undone it by then, unless an `octetctl` that still runs, or somebody else with this login, confirms it"
                );
            }
            Self::Waiting(None) => {
                return format!(
                    "ask again when whoever has applied it has confirmed it, or the router has undone it: after {ROLLBACK} s, unless another time was asked for"
                );
            }
            Self::Login(_) => "`octetctl openwrt adopt ADDRESS` says how a login is made",
            Self::Denied(_) | Self::Refused(_) => {
                "`octetctl openwrt adopt ADDRESS` says which ACL it needs; if another change waits to be confirmed, wait"
            }
            Self::NotFound(_) => {
                "see that `rpcd`, `rpcd-mod-file` and `uhttpd-mod-ubus` are installed there"
            }
            Self::NoRpc(_) => {
                "see that the address is that of a router with OpenWrt, and `uhttpd-mod-ubus` is installed"
            }
            Self::TooLong => {
                "take fewer `[[policy]]` lines, or such as let more at once: each is a rule for each pair of zones and each range of ports"
            }
            Self::Unparsed(config) => {
                return format!("`uci show {config}` says there which line it is: mend it");
            }
            Self::Session
            | Self::NoData(_)
            | Self::Invalid(_)
            | Self::Status(..)
            | Self::Unread(_) => "ask again; the router's log says more (`logread`)",
        };
        help.to_owned()
    }

    /// Whether the router may have executed the request without a received answer.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Https(HttpsError::Lost(..)) | Self::NoRpc(_))
    }

    /// Whether a new login may help.
    pub fn is_end_of_session(&self) -> bool {
        matches!(self, Self::Session)
    }

    /// Whether a retry may help.
    pub fn may_pass(&self) -> bool {
        self.is_lost() || matches!(self, Self::Https(HttpsError::Unreachable(..)))
    }
}

/// The result of one call.
pub type CallResult = Result<Value, UbusError>;

#[derive(Clone)]
pub struct Login {
    pub name: String,
    /// The password, which is never printed.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.name)
    }
}

/// Waits for a duration.
pub type Wait = Box<dyn FnMut(Duration)>;

/// A client for a router's bus.
pub struct Ubus {
    https: Https,
    login: Login,
    session: Option<String>,
    wait: Wait,
}

impl Ubus {
    /// A client on `https`, with the login `login`; `wait` is used for delays.
    pub fn new(https: Https, login: Login, wait: Wait) -> Self {
        Self { https, login, session: None, wait }
    }

    pub fn wait(&mut self, time: Duration) {
        (self.wait)(time);
    }

    /// Makes the next request use a new connection.
    pub fn end_connection(&mut self) {
        self.https.end_connection();
    }

    /// The session, if there is one.
    pub fn session(&self) -> Option<String> {
        self.session.clone()
    }

    /// Forgets the session; what is staged in it is lost.
    pub fn end_session(&mut self) {
        self.session = None;
    }

    /// The error that a change waits to be confirmed, and whose it is: rpcd gives a login of the
    /// user whose change waits the session of that change, and otherwise a new one.
    pub fn waiting(&mut self) -> UbusError {
        let mut sessions = [None, None];
        for session in &mut sessions {
            self.end_session();
            *session = self.log_in().ok();
        }
        let [first, second] = sessions;
        let is_same = first.is_some() && first == second;
        UbusError::Waiting(is_same.then(|| self.login.name.clone()))
    }

    /// Calls methods that only read, and returns their results.
    ///
    /// # Errors
    /// One of the calls failed.
    pub fn read(&mut self, calls: &[UbusCall]) -> Result<Vec<Value>, UbusError> {
        self.read_each(calls)?.into_iter().collect()
    }

    /// As [`read`](Self::read), with a result for each call.
    ///
    /// # Errors
    /// There is no answer, or the ACL does not grant one of the calls.
    pub fn read_each(&mut self, calls: &[UbusCall]) -> Result<Vec<CallResult>, UbusError> {
        let (mut tries, mut is_renewed) = (0, false);
        let has_ended = |it: &CallResult| matches!(it, Err(UbusError::Session));
        loop {
            let asked = self.ask(calls).and_then(|answers| match answers.iter().any(has_ended) {
                true => Err(UbusError::Session),
                false => Ok(answers),
            });
            match asked {
                // After a new login, the ACL must be the cause.
                Err(UbusError::Session) if is_renewed => return Err(self.denied(calls)),
                Err(UbusError::Session) => (self.session, is_renewed) = (None, true),
                Err(error) if error.may_pass() && tries + 1 < TRIES => {
                    tries += 1;
                    self.wait(RETRY_DELAY);
                }
                outcome => return outcome,
            }
        }
    }

    /// Finds which of `calls` the ACL does not grant, by sending each one alone.
    fn denied(&mut self, calls: &[UbusCall]) -> UbusError {
        for call in calls {
            let answers = self.ask(std::slice::from_ref(call));
            if matches!(answers.as_deref(), Ok([Err(UbusError::Session)])) {
                return UbusError::Denied(call.to_string());
            }
        }
        UbusError::Session
    }

    /// Sends any calls once, and returns their results; all of them are executed, even if the first
    /// ones fail.
    ///
    /// # Errors
    /// There is no answer. The calls may have been executed all the same ([`UbusError::is_lost`]).
    pub fn ask(&mut self, calls: &[UbusCall]) -> Result<Vec<CallResult>, UbusError> {
        let session = match self.session.clone() {
            Some(session) => session,
            None => self.log_in()?,
        };
        let mut all = vec![];
        for batch in batches(&session, calls) {
            all.extend(self.send(&batch)?);
        }
        Ok(all)
    }

    /// Begins a session; it has nothing staged from another one.
    ///
    /// # Errors
    /// The router refuses the login, or does not answer.
    fn log_in(&mut self) -> Result<String, UbusError> {
        let Login { name, password } = &self.login;
        let args = json!({ "username": name, "password": password });
        let call = UbusCall { object: "session", method: "login", args };
        let batch = batches(NOBODY, &[call]).remove(0);
        let answer = self.send(&batch)?.remove(0).map_err(|error| match error {
            UbusError::Refused(_) => UbusError::Login(self.login.name.clone()),
            other => other,
        })?;
        let session = answer["ubus_rpc_session"].as_str();
        let session =
            session.ok_or_else(|| UbusError::NoRpc("a login without a session".into()))?;
        self.session = Some(session.to_owned());
        Ok(session.to_owned())
    }

    fn send(&mut self, batch: &Batch) -> Result<Vec<CallResult>, UbusError> {
        let (status, body) = self.https.post(PATH, batch.body.clone().into_bytes())?;
        let no_rpc = |what: &str| {
            let said: String = String::from_utf8_lossy(&body).chars().take(60).collect();
            UbusError::NoRpc(format!("{what} (HTTP {status}): {said}"))
        };
        let answers: Value = serde_json::from_slice(&body).map_err(|_| no_rpc("it is no JSON"))?;
        let answers = answers.as_array().filter(|it| it.len() == batch.calls.len());
        let answers = answers.ok_or_else(|| no_rpc("there is not one answer to each call"))?;
        let mut all = vec![];
        for (index, (answer, call)) in answers.iter().zip(&batch.calls).enumerate() {
            if answer["id"].as_u64() != u64::try_from(index).ok() {
                return Err(no_rpc("it answers something else"));
            }
            all.push(read(answer, call).ok_or_else(|| no_rpc("it has no result"))?);
        }
        Ok(all)
    }
}

/// The result in an answer to `call`; `None` if it is not an answer.
fn read(answer: &Value, call: &str) -> Option<CallResult> {
    if let Some(code) = answer["error"]["code"].as_i64() {
        return Some(Err(match code {
            -32002 => UbusError::Session,
            -32000 => UbusError::NotFound(call.to_owned()),
            -32602 => UbusError::Invalid(call.to_owned()),
            code => UbusError::Status(call.to_owned(), code),
        }));
    }
    let result = answer["result"].as_array()?;
    Some(match result.first()?.as_i64()? {
        0 => Ok(result.get(1).cloned().unwrap_or_default()),
        2 => Err(UbusError::Invalid(call.to_owned())),
        3 | 4 => Err(UbusError::NotFound(call.to_owned())),
        5 => Err(UbusError::NoData(call.to_owned())),
        6 => Err(UbusError::Refused(call.to_owned())),
        8 if call == PROGRAM => Err(UbusError::TooLong),
        9 if call.starts_with("uci get ") => {
            Err(UbusError::Unparsed(call.replacen("uci get ", "", 1)))
        }
        other => Err(UbusError::Status(call.to_owned(), other)),
    })
}

/// A request with several calls.
struct Batch {
    calls: Vec<String>,
    body: String,
}

/// Splits calls into as few requests as possible, each within the limits.
fn batches(session: &str, calls: &[UbusCall]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = vec![];
    for call in calls {
        let params = json!([session, call.object, call.method, call.args]).to_string();
        let json = |id: usize| {
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"call\",\"params\":{params}}}")
        };
        match batches.last_mut() {
            Some(batch)
                if batch.calls.len() < CALLS
                    && batch.body.len() + params.len() + CALL < LONGEST =>
            {
                batch.body.truncate(batch.body.len() - 1);
                batch.body += &format!(",{}]", json(batch.calls.len()));
                batch.calls.push(call.to_string());
            }
            _ => {
                let body = format!("[{}]", json(0));
                batches.push(Batch { calls: vec![call.to_string()], body });
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_short_and_have_few_calls() {
        let args = |length: usize| json!({ "config": "firewall", "name": "x".repeat(length) });
        let call = |length| UbusCall { object: "uci", method: "add", args: args(length) };
        for (length, count) in [(10, 1), (10, 50), (10, 51), (10, 500), (20_000, 7), (59_000, 3)] {
            let calls: Vec<_> = (0..count).map(|_| call(length)).collect();
            let batches = batches(NOBODY, &calls);
            let sizes: Vec<_> = batches.iter().map(|batch| batch.calls.len()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), count);
            assert!(sizes.iter().all(|size| *size <= CALLS), "{sizes:?}");
            for batch in &batches {
                assert!(batch.body.len() < 65_536);
                let sent: Vec<Value> = serde_json::from_str(&batch.body).unwrap();
                assert_eq!(sent.len(), batch.calls.len());
            }
        }
    }
}
