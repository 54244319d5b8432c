//! The desired kernel state.

use super::relay::NextHop;
use super::source::SourceState;
use super::{Engine, EngineAction};

impl Engine {
    /// All actions that install the established paths from nothing.
    pub fn standing(&self) -> Vec<EngineAction> {
        let mut actions = vec![];
        for (key, segment) in &self.segments {
            match &segment.to {
                NextHop::Hop { key: next, back, onward, .. } => {
                    actions.push(EngineAction::Let(next.0, *back));
                    actions.extend(segment.bound(next.0, *back));
                    actions.push(EngineAction::Swap { from: *back, to: segment.back, by: key.0 });
                    if let Some(to) = *onward {
                        actions.push(EngineAction::Let(key.0, segment.there));
                        actions.extend(segment.bound(key.0, segment.there));
                        actions.push(EngineAction::Swap { from: segment.there, to, by: next.0 });
                    }
                }
                NextHop::End(number, stretch) => {
                    actions.push(EngineAction::End(*number, stretch.clone()));
                    let (between, with, ttl) = (stretch.outer(), segment.back, stretch.ttl());
                    actions.push(EngineAction::Push { between, with, ttl, by: key.0 });
                    actions.push(EngineAction::Let(key.0, segment.there));
                    actions.extend(segment.bound(key.0, segment.there));
                    actions.push(EngineAction::Pop(segment.there));
                }
            }
        }
        for (number, path) in &self.paths {
            actions.push(EngineAction::Let(path.link, path.back));
            actions.push(EngineAction::Pop(path.back));
            if let SourceState::Stands { there, .. } = &path.way {
                actions.push(EngineAction::End(*number, path.stretch.clone()));
                let (between, with, ttl) = (path.stretch.outer(), *there, path.stretch.ttl());
                actions.push(EngineAction::Push { between, with, ttl, by: path.link });
            }
        }
        actions
    }
}
