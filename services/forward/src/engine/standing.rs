//! What the kernel is to have, as far as it is decided.

use super::relay::To;
use super::source::Way;
use super::{Action, Engine};

impl Engine {
    /// All that makes the paths that stand, as if they were set up anew.
    pub fn standing(&self) -> Vec<Action> {
        let mut actions = vec![];
        for (key, segment) in &self.segments {
            match &segment.to {
                To::Hop { key: next, back, onward, .. } => {
                    actions.push(Action::Let(next.0, *back));
                    actions.extend(segment.bound(next.0, *back));
                    actions.push(Action::Swap { from: *back, to: segment.back, by: key.0 });
                    if let Some(to) = *onward {
                        actions.push(Action::Let(key.0, segment.there));
                        actions.extend(segment.bound(key.0, segment.there));
                        actions.push(Action::Swap { from: segment.there, to, by: next.0 });
                    }
                }
                To::End(number, stretch) => {
                    actions.push(Action::End(*number, stretch.clone()));
                    let (between, with, ttl) = (stretch.outer(), segment.back, stretch.ttl());
                    actions.push(Action::Push { between, with, ttl, by: key.0 });
                    actions.push(Action::Let(key.0, segment.there));
                    actions.extend(segment.bound(key.0, segment.there));
                    actions.push(Action::Pop(segment.there));
                }
            }
        }
        for (number, path) in &self.paths {
            actions.push(Action::Let(path.link, path.back));
            actions.push(Action::Pop(path.back));
            if let Way::Stands { there, .. } = &path.way {
                actions.push(Action::End(*number, path.stretch.clone()));
                let (between, with, ttl) = (path.stretch.outer(), *there, path.stretch.ttl());
                actions.push(Action::Push { between, with, ttl, by: path.link });
            }
        }
        actions
    }
}
