//! What has been decided is done, in its order.

use super::Daemon;
use super::records::Due;
use crate::engine::{Action, Link, PathNumber, Stretch};
use crate::kernel::meter::{Direction, Gate, Meter};
use crate::kernel::{KernelError, paths};
use crate::label::Label;
use octet_node::address::Address;
use octet_node::say;

/// What is counted where this is done.
pub(super) fn counted(action: &Action) -> Option<Meter> {
    match action {
        Action::Let(link, label) => Some(meter(Direction::In, *link, *label)),
        Action::Bound(link, label, _) => Some(meter(Direction::Above, *link, *label)),
        Action::Swap { to, by, .. } => Some(meter(Direction::Out, *by, *to)),
        Action::Push { with, by, .. } => Some(meter(Direction::Out, *by, *with)),
        _ => None,
    }
}

fn meter(direction: Direction, link: Link, label: Label) -> Meter {
    Meter { device: link.device(), direction, label }
}

impl Daemon {
    /// Does all of it. What fails is told; whoever waits for an answer waits in vain then, and begins anew.
    pub(super) async fn act(&mut self, actions: Vec<Action>) {
        let mut due = Due::default();
        for action in actions {
            // What may come is changed for all at once, and before anybody hears of it.
            if let Action::Send(..) | Action::Introduce(_) = action
                && let Err(error) = self.settle(std::mem::take(&mut due)).await
            {
                say!("{error}");
                return;
            }
            if let Err(error) = self.carry_out(action, &mut due).await {
                say!("{error}");
                return;
            }
        }
        if let Err(error) = self.settle(due).await {
            say!("{error}");
        }
    }

    async fn carry_out(&mut self, action: Action, due: &mut Due) -> Result<(), KernelError> {
        // From where the daemon before has left it.
        if let Some(meter) = counted(&action) {
            let begins = self.counts.get(&meter).copied().unwrap_or_default();
            due.gates.push(match &action {
                Action::Bound(_, _, rate) => Gate::Bound(meter, *rate, begins),
                _ => Gate::Let(meter, begins),
            });
        }
        match action {
            Action::Keep(name, bytes) => self.remember(&name, &bytes),
            Action::Forget(name) => {
                due.forgotten.push(name);
                Ok(())
            }
            Action::Ended(carried) => {
                due.ended.push(carried);
                Ok(())
            }
            Action::Send(link, message) => {
                self.say(link, &message).await;
                Ok(())
            }
            Action::Let(..) | Action::Bound(..) => Ok(()),
            Action::Unbound(link, label) => {
                due.gates.push(Gate::Forbid(meter(Direction::Above, link, label)));
                Ok(())
            }
            Action::Forbid(link, label) => {
                due.gates.push(Gate::Forbid(meter(Direction::In, link, label)));
                self.kernel.unlabel(label).await
            }
            Action::Uncount(link, label) => {
                due.gates.push(Gate::Forbid(meter(Direction::Out, link, label)));
                Ok(())
            }
            Action::Swap { from, to, by } => self.kernel.swap(from, to, &by.device()).await,
            Action::Pop(label) => self.kernel.pop(label).await,
            Action::Push { between: (from, to), with, ttl, by } => {
                self.kernel.push((to, from), (with, ttl), &by.device()).await
            }
            Action::End(number, stretch) => self.end(number, &stretch).await,
            Action::NoEnd(number, between) => {
                self.devices.remove(&number);
                self.outdated.remove(&number);
                self.mtus.remove(&number);
                self.uses.retain(|_, path| *path != number);
                self.kernel.no_end(&number.device(), between).await
            }
            Action::Introduce(number) => {
                self.introduce(number).await;
                Ok(())
            }
        }
    }

    async fn end(&mut self, number: PathNumber, stretch: &Stretch) -> Result<(), KernelError> {
        let Some(node) = self.node() else { return Ok(()) };
        let ((near, far), port) = (stretch.outer(), stretch.port());
        let end = paths::End {
            name: number.device(),
            secret: stretch.secret,
            key: stretch.key,
            near: (near, port),
            far: (far, port),
            inner: stretch.inner(),
            nodes: (Address::of(&node).ip(), stretch.node),
        };
        // Nothing of one that this daemon has made ever becomes another, but that the other node is known.
        if self.devices.contains_key(&number) && self.kernel.far(&end).await.is_ok() {
            return Ok(());
        }
        let index = self.kernel.end(&end).await?;
        self.devices.insert(number, index);
        Ok(())
    }
}
