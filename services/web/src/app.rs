//! What all requests share.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::events::FigureEvents;
use crate::guard::RequestSession;
use crate::install::Installation;
use crate::nodes::Nodes;
use crate::permitted::PermittedVerbs;
use crate::session::{Sessions, Token};

/// Gives the time; it never goes back.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

pub struct App {
    pub nodes: Nodes,
    pub events: FigureEvents,
    pub installation: Installation,
    pub permitted: PermittedVerbs,
    /// The name and port in each request's `Host`.
    pub host: String,
    sessions: Mutex<Sessions>,
    clock: Clock,
}

impl App {
    pub fn new(host: String, nodes: Nodes, clock: Clock) -> Self {
        Self {
            nodes,
            events: FigureEvents::default(),
            installation: Installation::default(),
            permitted: PermittedVerbs::default(),
            host,
            sessions: Mutex::default(),
            clock,
        }
    }

    /// A new link; the one before is not valid any more.
    pub fn link(&self) -> io::Result<String> {
        let token = Token::random()?;
        let link = format!("http://{}/enter?{}", self.host, token.as_str());
        self.sessions().set_link(token, (self.clock)());
        Ok(link)
    }

    /// Begins a session; returns its cookie, or `None` if the link is not valid.
    pub fn enter(&self, token: &str) -> io::Result<Option<Token>> {
        let cookie = Token::random()?;
        let valid = self.sessions().enter(token, cookie.clone(), Token::random()?, (self.clock)());
        Ok(valid.then_some(cookie))
    }

    /// The open session with this cookie; its idle time starts again.
    pub fn session(&self, cookie: &str) -> Option<RequestSession> {
        let form = self.sessions().request(cookie, (self.clock)())?;
        Some(RequestSession { cookie: cookie.to_owned(), form })
    }

    /// Whether the session is open; its idle time goes on.
    pub fn is_open(&self, session: &RequestSession) -> bool {
        self.sessions().is_open(&session.cookie, (self.clock)())
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
