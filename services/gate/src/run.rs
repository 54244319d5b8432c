//! Signed commands, from whichever service delivers them.

use std::sync::{Arc, PoisonError};

use octet_node::command::{Command, CommandBody};
use octet_node::control::operator::OperatorKey;
use octet_node::control::{ArgKind, DESCRIBE, Failure, FailureCode, ReplyBody, Request};
use octet_node::hello::GATE;
use octet_node::say;
use tokio::task::spawn_blocking;

use crate::gate::{CallerName, Gate, count, owns, shown};
use crate::ids::{CommandSigner, RefusedCommand};
use crate::units::UnitRequest;

/// The verb that takes them.
pub const RUN: &str = "run";

/// A command in progress.
pub struct RunningCommand {
    asked: UnitRequest,
    operator: OperatorKey,
    order: CommandBody,
    from: String,
}

impl Gate {
    /// Checks that the command `text`, delivered by `from`, is signed, for this box, authorized, in
    /// time and new; records it durably; and starts it.
    ///
    /// # Errors
    /// A check failed; nothing was done.
    pub async fn begin(&self, text: &str, from: &str) -> Result<RunningCommand, Failure> {
        let begun = self.try_begin(text, from).await;
        if let Err(failure) = &begun {
            count(&self.counts.refused);
            // A command with a valid signature is logged with its signer below.
            say!("a signed command from {from}: refused: {failure}");
        }
        begun
    }

    async fn try_begin(&self, text: &str, from: &str) -> Result<RunningCommand, Failure> {
        let command = Command::try_from(text.to_owned())
            .map_err(|error| refused(&error.to_string(), "have the operator sign it again"))?;
        let order = command.body();
        let node = self.node.get();
        if node != Some(order.target) {
            let help = "bring it to the box that it names";
            return Err(refused(&format!("the command is for {}", order.target), help));
        }
        let Some(operator) = self.operator(&order.operator) else {
            let message = format!("{} is not an operator of this box", order.operator);
            return Err(refused(
                &message,
                "an owner adds it to `[operator] keys` in appliance.toml",
            ));
        };
        let (unit, verb) = (&order.unit, &order.verb);
        if unit.as_str() == GATE && verb == RUN {
            return Err(refused("a command cannot bring another", "sign the one that is meant"));
        }
        self.authorize(&operator, unit, verb).await?;
        let described = self.units.verb(unit, verb).await?;
        if described.args.iter().any(|arg| arg.kind == ArgKind::File) {
            let message = format!("`{verb}` takes a file, which a signed command cannot carry");
            return Err(refused(&message, "connect to the gate"));
        }
        described.check(order.args.clone())?;
        self.remember(&operator, order).await?;
        let who = CallerName { operator: &operator, from };
        who.audit(unit, verb, &shown(&order.args), "allowed, signed");
        count(&self.counts.commands);
        let (unit, verb, args) = (Some(unit.clone()), verb.clone(), order.args.clone());
        let request = Request { id: 1, unit, verb, args, by: None };
        let asked = self.units.request(&operator, request).await?;
        Ok(RunningCommand {
            asked,
            operator: operator.clone(),
            order: order.clone(),
            from: from.to_owned(),
        })
    }

    /// Records on disk that this command of `operator` runs, if it is in time and new. `describe`
    /// changes nothing and may run repeatedly, so it is not recorded.
    async fn remember(&self, operator: &OperatorKey, order: &CommandBody) -> Result<(), Failure> {
        let Some(now) = self.trusted.borrow().now() else {
            let help = "an owner states it: `octetctl gate trust-time TIME`";
            return Err(refused("the time is not trusted, so nothing can be in time", help));
        };
        let (id, expires, ids) = (order.id, order.expires, Arc::clone(&self.ids));
        let by = CommandSigner { key: operator.key, own: owns(operator) };
        let changes = order.verb != DESCRIBE;
        // A thread waits for the disk, so that no other task does.
        let ran = spawn_blocking(move || {
            let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            match changes {
                true => ids.run(by, id, expires, now, |_| Ok(())),
                false => ids.in_time(expires, now),
            }
        });
        ran.await
            .unwrap_or_else(|error| Err(RefusedCommand::Store(error.to_string())))
            .map_err(refusal)
    }
}

impl RunningCommand {
    /// The next part of the command's answer.
    pub async fn next(&mut self) -> ReplyBody {
        let body = self.asked.answers.next().await;
        let outcome = match &body {
            ReplyBody::End(_) => "done".to_owned(),
            ReplyBody::Error(failure) => format!("failed: {failure}"),
            _ => return body,
        };
        let who = CallerName { operator: &self.operator, from: &self.from };
        let args = shown(&self.order.args);
        who.audit(&self.order.unit, &self.order.verb, &args, &outcome);
        body
    }
}

fn refusal(problem: RefusedCommand) -> Failure {
    let help = match problem {
        RefusedCommand::Replayed => "sign a new one",
        RefusedCommand::Expired | RefusedCommand::TooFarAhead => {
            "sign it anew, for at most 24 hours; `octetctl gate show` tells the box's time"
        }
        RefusedCommand::Full | RefusedCommand::TooMany(_) | RefusedCommand::Store(_) => {
            "connect to the gate instead"
        }
    };
    let code = match problem {
        RefusedCommand::Full | RefusedCommand::TooMany(_) => FailureCode::Busy,
        _ => FailureCode::Denied,
    };
    Failure::new(code, problem.to_string(), help)
}

fn refused(message: &str, help: &str) -> Failure {
    Failure::new(FailureCode::Denied, message, help)
}
