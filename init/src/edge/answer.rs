//! Requests, and what PID 1 answers.

use octet_control::{Arguments, Capability, Failure, FailureCode, ReplyBody, Request};
use serde_json::{Value, json};

use super::{Edge, process, report, verbs};
use crate::supervisor::{Event, Goal, UnitId};

/// Lines of a log that are shown when nobody says how many.
const LINES: u64 = 100;

impl Edge {
    /// Answers everything that a client has asked.
    pub(super) fn serve_client(&mut self, token: u32) {
        let Some(requests) = self.clients.receive(token) else {
            return;
        };
        for request in requests {
            let operator = self.clients.get(token).is_some_and(|client| client.operator);
            let id = request.id;
            let answer = self.answer(token, request, operator);
            let Some(client) = self.clients.get(token) else {
                return;
            };
            match answer {
                Ok(Answer::Now(value)) => client.reply(id, ReplyBody::End(value)),
                Ok(Answer::Watching) => {}
                Ok(Answer::Then(event)) => {
                    client.reply(id, ReplyBody::End(Value::Null));
                    self.clients.send(token);
                    self.step(event);
                }
                Err(failure) => client.reply(id, ReplyBody::Error(failure)),
            }
        }
        self.clients.send(token);
    }

    /// Sends the state to everyone who watches it and has read the last.
    pub(super) fn push_to_watchers(&mut self) {
        for token in self.clients.due_watchers() {
            let status = report::status(self);
            if let Some(client) = self.clients.get(token)
                && let Some(id) = client.take_watch()
            {
                client.reply(id, ReplyBody::Item(status));
                self.clients.send(token);
            }
        }
    }

    fn answer(&mut self, token: u32, request: Request, operator: bool) -> Result<Answer, Failure> {
        if let Some(unit) = request.unit.filter(|unit| unit.as_str() != octet_control::INIT) {
            return Err(Failure::new(
                FailureCode::NotFound,
                format!("unit `{unit}` cannot be reached through PID 1"),
                "ask for verbs of `init`, or leave the unit out",
            ));
        }
        let verbs = verbs::verbs();
        let Some(verb) = verbs.iter().find(|verb| verb.name == request.verb) else {
            return Err(Failure::new(
                FailureCode::NotFound,
                format!("there is no verb `{}`", request.verb),
                "`describe` lists all verbs",
            ));
        };
        if verb.capability != Capability::Read && !operator {
            return Err(Failure::new(
                FailureCode::Denied,
                format!("`{}` is for the operator", verb.name),
                "only root and the control port may do more than look",
            ));
        }
        let args = verb.check(request.args)?;
        Ok(match verb.name.as_str() {
            "status" => Answer::Now(report::status(self)),
            "watch" => {
                if let Some(client) = self.clients.get(token) {
                    client.watch(request.id);
                }
                Answer::Watching
            }
            "boot" => Answer::Now(report::boot(self)),
            "logs" => {
                let unit = self.find(&args)?;
                let count = args.integer("lines").unwrap_or(LINES);
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                Answer::Now(json!({ "lines": self.logs[unit.0].last(count) }))
            }
            "signal" => {
                self.signal(&args)?;
                Answer::Now(Value::Null)
            }
            "poweroff" => Answer::Then(Event::Shutdown(Goal::PowerOff)),
            "reboot" => Answer::Then(Event::Shutdown(Goal::Reboot)),
            _ => Answer::Now(json!(verbs)), // describe: the list above has no other
        })
    }

    /// The unit that the argument `unit` names.
    fn find(&self, args: &Arguments) -> Result<UnitId, Failure> {
        let name = args.text("unit").unwrap_or_default();
        let known = self.units.iter().map(|unit| unit.name.as_str());
        known.clone().position(|known| known == name).map(UnitId).ok_or_else(|| {
            Failure::new(
                FailureCode::NotFound,
                format!("there is no unit `{name}`"),
                format!("the units are: {}", known.collect::<Vec<_>>().join(", ")),
            )
        })
    }

    fn signal(&mut self, args: &Arguments) -> Result<(), Failure> {
        let unit = self.find(args)?;
        let signal = octet_appliance::Signal::named(args.text("signal").unwrap_or_default())
            .ok_or_else(|| {
                let help = "the signals are TERM, INT, QUIT, HUP and KILL";
                Failure::new(FailureCode::BadArgument, "there is no such signal", help)
            })?;
        let Some(pid) = self.pid_of(unit) else {
            let message = format!("unit `{}` has no process now", self.units[unit.0].name);
            return Err(Failure::new(FailureCode::Failed, message, "`status` shows what runs"));
        };
        process::signal(pid, process::number(signal));
        Ok(())
    }
}

/// How a request is answered.
enum Answer {
    /// With this.
    Now(Value),
    /// With nothing; then this happens.
    Then(Event),
    /// With every change from now on.
    Watching,
}
