//! A patch panel: many jacks, and cables between them that can be pulled and plugged elsewhere.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::port::{Out, Port};

/// How soon a jack notices that its port has been taken out.
const TICK: Duration = Duration::from_millis(200);

/// A place for a port, by a name of the panel's owner's.
pub trait Jack: Copy + Eq + std::hash::Hash + Send + 'static {}

impl<T: Copy + Eq + std::hash::Hash + Send + 'static> Jack for T {}

/// What becomes of a frame that goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameAction {
    Forward,
    Drop,
    /// It goes on behind the next one from the same jack, or soon, if there is none.
    Delay,
}

/// What a frame that goes by is shown to: from which jack it comes. It says what becomes of it.
type Watch<J> = Box<dyn FnMut(J, &[u8]) -> FrameAction + Send>;

struct Shared<J> {
    /// What is in each jack; its number tells a port from the one before.
    ports: HashMap<J, (u64, Arc<Out>)>,
    cables: HashMap<J, J>,
    watch: Option<Watch<J>>,
    last: u64,
}

/// The panel. A frame that comes to a jack without a cable, or whose other end is empty, is lost.
pub struct Patch<J>(Arc<Mutex<Shared<J>>>);

impl<J: Jack> Default for Patch<J> {
    fn default() -> Self {
        let (ports, cables) = (HashMap::new(), HashMap::new());
        Self(Arc::new(Mutex::new(Shared { ports, cables, watch: None, last: 0 })))
    }
}

impl<J: Jack> Patch<J> {
    /// Puts `port` into `jack`, in the place of what was there.
    pub fn insert(&self, jack: J, port: Port) {
        let (out, frames) = port.split();
        let mut shared = self.lock();
        shared.last += 1;
        let number = shared.last;
        shared.ports.insert(jack, (number, out));
        drop(shared);
        let panel = Arc::clone(&self.0);
        thread::spawn(move || carry(jack, number, &frames, &panel));
    }

    /// Takes the port out of `jack`.
    pub fn remove(&self, jack: J) {
        self.lock().ports.remove(&jack);
    }

    /// Joins two jacks by a cable. What was in one of them is pulled.
    pub fn plug(&self, one: J, other: J) {
        let mut shared = self.lock();
        for jack in [one, other] {
            shared.unplug(jack);
        }
        shared.cables.extend([(one, other), (other, one)]);
    }

    /// Pulls the cable that is in `jack`. Returns where its other end was.
    pub fn unplug(&self, jack: J) -> Option<J> {
        self.lock().unplug(jack)
    }

    /// The other end of the cable that is in `jack`.
    pub fn other_end(&self, jack: J) -> Option<J> {
        self.lock().cables.get(&jack).copied()
    }

    /// Has `frame` go by as if it had come from what is in `jack`.
    pub fn inject(&self, jack: J, frame: &[u8]) {
        let route = self.lock().route(jack, frame);
        // A guest that is gone takes nothing.
        route.map(|(route, _)| route.send(frame));
    }

    /// Has `watch` see every frame, and say what becomes of it.
    pub fn watch(&self, watch: impl FnMut(J, &[u8]) -> FrameAction + Send + 'static) {
        self.lock().watch = Some(Box::new(watch));
    }

    fn lock(&self) -> MutexGuard<'_, Shared<J>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Jack> Shared<J> {
    fn unplug(&mut self, jack: J) -> Option<J> {
        let other = self.cables.remove(&jack)?;
        self.cables.remove(&other);
        Some(other)
    }

    /// Where a frame from `jack` goes, and whether it is late.
    fn route(&mut self, jack: J, frame: &[u8]) -> Option<(Arc<Out>, bool)> {
        let fate = self.watch.as_mut().map_or(FrameAction::Forward, |watch| watch(jack, frame));
        let other = self.cables.get(&jack).filter(|_| fate != FrameAction::Drop)?;
        self.ports.get(other).map(|(_, out)| (Arc::clone(out), fate == FrameAction::Delay))
    }
}

/// Carries what comes to `jack`, as long as its port is number `number`.
fn carry<J: Jack>(jack: J, number: u64, frames: &Receiver<Vec<u8>>, panel: &Mutex<Shared<J>>) {
    let lock = || panel.lock().unwrap_or_else(PoisonError::into_inner);
    // A guest that is gone takes nothing.
    let send = |(route, frame): (Arc<Out>, Vec<u8>)| drop(route.send(&frame));
    let mut late = None;
    loop {
        match frames.recv_timeout(TICK) {
            Ok(frame) => {
                let route = lock().route(jack, &frame);
                match route {
                    Some((route, true)) => late.replace((route, frame)).into_iter().for_each(send),
                    Some((route, false)) => {
                        send((route, frame));
                        late.take().into_iter().for_each(send);
                    }
                    None => {}
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => late.take().into_iter().for_each(send),
        }
        if lock().ports.get(&jack).is_none_or(|(there, _)| *there != number) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn cables_can_be_plugged_elsewhere() {
        let panel = Patch::default();
        let ends: Vec<Port> = (0..3)
            .map(|jack| {
                let (end, port) = Port::pair().unwrap();
                panel.insert(jack, port);
                end
            })
            .collect();
        panel.plug(0, 1);
        ends[0].send(b"one").unwrap();
        assert_eq!(ends[1].receive(soon()).as_deref(), Some(&b"one"[..]));
        panel.plug(0, 2);
        assert_eq!((panel.other_end(1), panel.other_end(2)), (None, Some(0)));
        // Lost: nothing is at its other end.
        ends[1].send(b"lost").unwrap();
        ends[2].send(b"two").unwrap();
        assert_eq!(ends[0].receive(soon()).as_deref(), Some(&b"two"[..]));
        panel.watch(|jack, frame| match (jack, frame) {
            (0, b"seen") => FrameAction::Drop,
            (0, b"late") => FrameAction::Delay,
            _ => FrameAction::Forward,
        });
        ends[0].send(b"seen").unwrap();
        // A host that is too busy sends nothing in time that could overtake it.
        let deadline = soon();
        loop {
            ends[0].send(b"late").unwrap();
            ends[0].send(b"three").unwrap();
            let came = [(); 2].map(|()| ends[2].receive(soon()).unwrap());
            if came == [&b"three"[..], b"late"] {
                break;
            }
            assert_eq!(came, [&b"late"[..], b"three"]);
            assert!(Instant::now() < deadline, "late: nothing overtakes it");
        }
        ends[0].send(b"late").unwrap();
        assert_eq!(ends[2].receive(soon()).as_deref(), Some(&b"late"[..]));
        panel.inject(0, b"forged");
        assert_eq!(ends[2].receive(soon()).as_deref(), Some(&b"forged"[..]));
        // Another port in its place.
        let (end, port) = Port::pair().unwrap();
        panel.insert(2, port);
        ends[0].send(b"four").unwrap();
        assert_eq!(end.receive(soon()).as_deref(), Some(&b"four"[..]));
        assert_eq!(panel.unplug(0), Some(2));
    }
}
