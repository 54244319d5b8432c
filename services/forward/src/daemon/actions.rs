//! Carries out the engine's actions, in order.

use super::Daemon;
use super::accounting::Due;
use crate::engine::{EngineAction, KernelEntry, LinkNumber, PathEnd, PathNumber};
use crate::kernel::meter::{Direction, GateChange, Meter};
use crate::kernel::private::PrivateEnd;
use crate::kernel::{KernelError, paths};
use crate::label::Label;
use crate::private_source;
use octet_node::say;

/// The meter that counts packets by this entry.
pub(super) fn meter_of(entry: &KernelEntry) -> Option<Meter> {
    match entry {
        KernelEntry::Accept(link, label) => Some(meter(Direction::In, *link, *label)),
        KernelEntry::RateLimit(link, label, _) => Some(meter(Direction::Above, *link, *label)),
        KernelEntry::Swap { to, link, .. } => Some(meter(Direction::Out, *link, *to)),
        KernelEntry::Push { label, link, .. } => Some(meter(Direction::Out, *link, *label)),
        KernelEntry::Pop(_) | KernelEntry::End(..) => None,
    }
}

fn meter(direction: Direction, link: LinkNumber, label: Label) -> Meter {
    Meter { device: link.device(), direction, label }
}

impl Daemon {
    /// Carries out all actions. Failures are logged; a requester whose answer fails times out and retries.
    pub(super) async fn apply(&mut self, actions: Vec<EngineAction>) {
        let mut due = Due::default();
        for action in actions {
            // Pending gate changes are committed in one batch, before any message depends on them.
            if let EngineAction::Send(..) | EngineAction::Introduce(_) = action
                && let Err(error) = self.commit(std::mem::take(&mut due)).await
            {
                say!("{error}");
                return;
            }
            if let Err(error) = self.apply_one(action, &mut due).await {
                say!("{error}");
                return;
            }
        }
        if let Err(error) = self.commit(due).await {
            say!("{error}");
        }
    }

    /// Carries out a batch.
    pub(super) async fn commit(&mut self, due: Due) -> Result<(), KernelError> {
        self.accounting.commit(due, &self.kernel, &self.state).await
    }

    async fn apply_one(&mut self, action: EngineAction, due: &mut Due) -> Result<(), KernelError> {
        match action {
            EngineAction::Keep(name, bytes) => self.state.persist(&name, &bytes),
            EngineAction::Forget(name) => {
                due.forgotten.push(name);
                Ok(())
            }
            EngineAction::Ended(carried) => {
                due.ended.push(carried);
                Ok(())
            }
            EngineAction::Send(link, message) => {
                self.links.send(link, &message).await;
                Ok(())
            }
            EngineAction::Install(entry) => self.install(entry, due).await,
            EngineAction::Remove(entry) => self.remove(entry, due).await,
            EngineAction::Introduce(number) => {
                self.introduce(number).await;
                Ok(())
            }
        }
    }

    async fn install(&mut self, entry: KernelEntry, due: &mut Due) -> Result<(), KernelError> {
        // Counting resumes at the previous daemon's count.
        if let Some(meter) = meter_of(&entry) {
            let begins = self.accounting.initial_count(&meter);
            due.gates.push(match &entry {
                KernelEntry::RateLimit(_, _, rate) => GateChange::Limit(meter, *rate, begins),
                _ => GateChange::Allow { is_charged: self.is_charged(&entry), meter, begins },
            });
        }
        match entry {
            KernelEntry::Accept(..) | KernelEntry::RateLimit(..) => Ok(()),
            KernelEntry::Swap { from, to, link } => {
                self.kernel.swap(from, to, &link.device()).await
            }
            KernelEntry::Pop(label) => self.kernel.pop(label).await,
            KernelEntry::Push { addresses: (from, to), label, ttl, link } => {
                self.kernel.push((to, from), (label, ttl), &link.device()).await
            }
            KernelEntry::End(number, path_end) => self.install_end(number, &path_end).await,
        }
    }

    /// Whether the neighbour at the entry's link asked for its path.
    fn is_charged(&self, entry: &KernelEntry) -> bool {
        match entry {
            KernelEntry::Accept(link, label)
            | KernelEntry::Swap { to: label, link, .. }
            | KernelEntry::Push { label, link, .. } => self.engine.is_charged(*link, *label),
            KernelEntry::RateLimit(..) | KernelEntry::Pop(_) | KernelEntry::End(..) => false,
        }
    }

    async fn remove(&mut self, entry: KernelEntry, due: &mut Due) -> Result<(), KernelError> {
        due.gates.extend(meter_of(&entry).map(GateChange::Remove));
        match entry {
            // Its route is a swap or a pop.
            KernelEntry::Accept(_, label) => self.kernel.remove_label(label).await,
            // The route between the end's addresses is the push.
            KernelEntry::End(number, path_end) => {
                let private = self.path_ends.private.remove(&number);
                let name = private.map_or_else(|| number.device(), |it| it.device());
                self.path_ends.forget(number);
                self.routes.active_paths.retain(|_, path| *path != number);
                self.kernel.close_end(&name, path_end.outer(), private).await
            }
            KernelEntry::RateLimit(..)
            | KernelEntry::Swap { .. }
            | KernelEntry::Pop(_)
            | KernelEntry::Push { .. } => Ok(()),
        }
    }

    async fn install_end(
        &mut self,
        number: PathNumber,
        path_end: &PathEnd,
    ) -> Result<(), KernelError> {
        let Some(own) = self.engine.shown_as(number, self.identity.as_ref()) else {
            return Ok(());
        };
        let own = private_source::address(own);
        let private = self.engine.destination(number).filter(|_| self.engine.is_private(number));
        let private = private.map(|to| (PrivateEnd { number, own }, to.ip()));
        let ((near, far), port) = (path_end.outer(), path_end.port());
        let end = paths::KernelPathEnd {
            name: private.map_or_else(|| number.device(), |(private, _)| private.device()),
            secret: path_end.secret,
            key: path_end.key,
            near: (near, port),
            far: (far, port),
            inner: path_end.inner(),
            nodes: (own, path_end.node),
            private,
        };
        // A path end's parameters never change, except that its peer becomes known.
        if self.path_ends.devices.contains_key(&number)
            && self.kernel.set_endpoint(&end).await.is_ok()
        {
            return Ok(());
        }
        // It is removed, too, if only a part of it can be made.
        self.path_ends.private.extend(private.map(|(private, _)| (number, private)));
        let index = self.kernel.open_end(&end).await?;
        self.path_ends.devices.insert(number, index);
        Ok(())
    }
}
