//! The transport of a person on the node of a mailbox: it calls the local mailbox directly.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use octet_node::control::PublicKey;

use crate::mailbox::{Mailbox, Visit};
use octet_messages::courier::{MailboxUnreachable, Wire};
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::quic::{MailboxClient, now};
use octet_messages::request::{MailboxReply, SignedRequest};

/// The local mailbox, and the transport to others.
pub struct Local {
    mailbox: Arc<Mutex<Mailbox>>,
    visit: Visit,
    others: MailboxClient,
}

impl Local {
    pub fn new(mailbox: Arc<Mutex<Mailbox>>) -> io::Result<Self> {
        Ok(Self { mailbox, visit: visit(), others: MailboxClient::new()? })
    }

    fn is_local(&self, mailbox: &PublicKey) -> bool {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).is_own_key(mailbox)
    }
}

impl Wire for Local {
    fn request(
        &mut self,
        place: &MailboxAddress,
        request: &SignedRequest,
    ) -> Result<MailboxReply, MailboxUnreachable> {
        if !self.is_local(&place.mailbox) {
            return self.others.request(place, request);
        }
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(mailbox.handle(&mut self.visit, request.clone(), now()))
    }

    fn disconnect(&mut self, place: &MailboxAddress) {
        if self.is_local(&place.mailbox) {
            self.visit = visit();
        } else {
            self.others.disconnect(place);
        }
    }
}

fn visit() -> Visit {
    Visit::new(Ipv4Addr::LOCALHOST.into())
}
