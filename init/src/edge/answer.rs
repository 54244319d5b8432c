//! Requests to PID 1, and its answers.

use std::os::fd::AsFd;

use octet_control::{
    Arguments, ClientMessage, Failure, FailureCode, PLOT, ReplyBody, Request, UNITS, UnitName, Verb,
};
use serde_json::{Value, json};

use super::callers::{self, Caller};
use super::managed::Managed;
use super::report::Detail;
use super::{Edge, PORT_UNIT, report, verbs};
use crate::spawn;
use crate::supervisor::{ShutdownGoal, SupervisorEvent, UnitId};

impl Edge {
    /// Answers all requests of a client.
    pub(super) fn serve_client(&mut self, token: u32) {
        let Some(messages) = self.clients.receive(token) else {
            return;
        };
        for message in messages {
            // Data chunks belong to calls that request them; PID 1 has no such verb.
            let ClientMessage::Request(request) = message else { continue };
            let Some(caller) = self.clients.get(token).map(|client| client.caller) else {
                return;
            };
            let id = request.id;
            let answer = self.answer(token, request, caller);
            let Some(client) = self.clients.get(token) else {
                return;
            };
            match answer {
                Ok(Answer::Immediate(value)) => client.reply(id, ReplyBody::End(value)),
                Ok(Answer::Watch) => {}
                Ok(Answer::Step(event)) => {
                    client.reply(id, ReplyBody::End(Value::Null));
                    self.clients.send(token);
                    self.step(event);
                }
                Err(failure) => client.reply(id, ReplyBody::Error(failure)),
            }
        }
        self.clients.send(token);
    }

    /// Sends the state to every watcher that has read the last one.
    pub(super) fn push_to_watchers(&mut self) {
        for token in self.clients.due_watchers() {
            let status = report::status(self, Detail::States);
            if let Some(client) = self.clients.get(token)
                && let Some(id) = client.take_watch()
            {
                client.reply(id, ReplyBody::Item(status));
                self.clients.send(token);
            }
        }
    }

    fn answer(
        &mut self,
        token: u32,
        mut request: Request,
        caller: Caller,
    ) -> Result<Answer, Failure> {
        if let Some(unit) = request.take_unit() {
            return Err(relay_denied(caller, &unit));
        }
        let verbs = verbs::verbs(self.trial.is_some());
        callers::check(caller, &request.verb, &self.unit_files())?;
        let verb = Verb::find(&verbs, &request.verb)?;
        let args = verb.check(request.args.clone())?;
        Ok(match verb.name.as_str() {
            // Of the box another unit answers.
            "status" if args.flag(PLOT) => {
                let help = "`status --box --plot` draws the box, `boot --plot` this boot";
                let message = "`--plot` of `status` needs `--box`";
                return Err(Failure::new(FailureCode::BadArgument, message, help));
            }
            "status" => Answer::Immediate(report::status(self, Detail::Usage)),
            UNITS => Answer::Immediate(report::units(self)),
            "watch" => {
                if let Some(client) = self.clients.get(token) {
                    client.watch(request.id);
                }
                Answer::Watch
            }
            "boot" if args.flag(PLOT) => Answer::Immediate(report::drawing(self)),
            "boot" => Answer::Immediate(report::boot(self)),
            "board" => {
                self.assign_board_number(&args)?;
                Answer::Immediate(Value::Null)
            }
            "place" => {
                self.place(&args)?;
                Answer::Immediate(Value::Null)
            }
            "start" => Answer::Step(SupervisorEvent::Start(self.placed_unit_argument(&args)?)),
            "stop" => Answer::Step(SupervisorEvent::Stop(self.unit_argument(&args)?)),
            "restart" => Answer::Step(SupervisorEvent::Restart(self.placed_unit_argument(&args)?)),
            "reload" => {
                self.reload(&args)?;
                Answer::Immediate(Value::Null)
            }
            "signal" => {
                self.signal(&args)?;
                Answer::Immediate(Value::Null)
            }
            "poweroff" => Answer::Step(SupervisorEvent::Shutdown(ShutdownGoal::PowerOff)),
            "reboot" => Answer::Step(SupervisorEvent::Shutdown(ShutdownGoal::Reboot)),
            _ => Answer::Immediate(json!(verbs)), // describe: the list above has no other
        })
    }

    /// The unit that the argument `unit` names.
    fn unit_argument(&self, args: &Arguments) -> Result<UnitId, Failure> {
        self.find(args.text("unit").unwrap_or_default())
    }

    /// As `unit_argument`, if the unit is placed on this node.
    fn placed_unit_argument(&self, args: &Arguments) -> Result<UnitId, Failure> {
        let unit = self.unit_argument(args)?;
        self.check_placed_here(unit).map(|()| unit)
    }

    fn find(&self, name: &str) -> Result<UnitId, Failure> {
        let known = self.units.iter().map(Managed::name);
        known.clone().position(|known| known == name).map(UnitId).ok_or_else(|| {
            Failure::new(
                FailureCode::NotFound,
                format!("there is no unit `{name}`"),
                format!("the units are: {}", known.collect::<Vec<_>>().join(", ")),
            )
        })
    }

    fn reload(&mut self, args: &Arguments) -> Result<(), Failure> {
        let unit = self.unit_argument(args)?;
        let Some(signal) = self.units[unit.0].unit.reload else {
            let message =
                format!("unit `{}` cannot read its settings again", self.units[unit.0].name());
            let help = "restart it; a unit that can says so with `reload` in its unit.toml";
            return Err(Failure::new(FailureCode::Failed, message, help));
        };
        self.send(unit, signal)
    }

    fn signal(&mut self, args: &Arguments) -> Result<(), Failure> {
        let unit = self.unit_argument(args)?;
        let signal = octet_appliance::Signal::from_name(args.text("signal").unwrap_or_default())
            .ok_or_else(|| {
                let help = "the signals are TERM, INT, QUIT, HUP and KILL";
                Failure::new(FailureCode::BadArgument, "there is no such signal", help)
            })?;
        self.send(unit, signal)
    }

    fn send(&mut self, unit: UnitId, signal: octet_appliance::Signal) -> Result<(), Failure> {
        let unit = &self.units[unit.0];
        let Some(process) = &unit.process else {
            let message = format!("unit `{}` has no process now", unit.name());
            return Err(Failure::new(FailureCode::Failed, message, "`status` shows what runs"));
        };
        spawn::signal_through(process.pidfd.as_fd(), signal);
        Ok(())
    }
}

/// The error of `caller`'s request to call another `unit`: PID 1 must not block on a unit.
fn relay_denied(caller: Caller, unit: &UnitName) -> Failure {
    match caller {
        Caller::Port => Failure::new(
            FailureCode::Failed,
            format!(
                "unit `{unit}` cannot be asked now: the unit `{PORT_UNIT}` does not run, which does it"
            ),
            format!("`status` shows why; `start {PORT_UNIT}` starts it"),
        ),
        _ => Failure::new(
            FailureCode::Denied,
            "PID 1 asks no other unit",
            format!("connect to the socket of `{unit}` itself"),
        ),
    }
}

/// How a request is answered.
enum Answer {
    Immediate(Value),
    /// With an empty reply; then this event follows.
    Step(SupervisorEvent),
    /// With every later change.
    Watch,
}
