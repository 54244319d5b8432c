//! Queries in flight at upstreams. Identical ones are joined.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use hickory_proto::op::ResponseCode;
use octet_node::limits::{Permit, Permits};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::Dns;
use super::answer::{CachedAnswer, reply};
use super::forward::forward;
use super::query::{DnsQuestion, Query};
use super::query_limit::QueryLimits;
use super::rates::ClientPrefix;

/// The maximum number of queries that wait for upstreams.
const LIMITS: QueryLimits = QueryLimits { all: 256, per_client: 32, reserved: 64 };

/// The queries in flight.
#[derive(Debug)]
pub(super) struct InFlightQueries {
    waiting: RefCell<HashMap<DnsQuestion, Vec<oneshot::Sender<Rc<CachedAnswer>>>>>,
    places: Permits<ClientPrefix>,
}

impl InFlightQueries {
    pub(super) fn new() -> Self {
        Self { waiting: RefCell::default(), places: Permits::default() }
    }
}

impl Dns {
    /// A permit for another query of `client`; without one, the error response.
    pub(super) fn admit(
        &self,
        client: ClientPrefix,
        query: &Query,
    ) -> Result<Permit<ClientPrefix>, Vec<u8>> {
        LIMITS.admit(&self.in_flight.places, client).ok_or_else(|| {
            self.resolver.borrow_mut().counters.busy += 1;
            reply(query, &CachedAnswer::with_code(ResponseCode::ServFail))
        })
    }

    /// The upstreams' answer to `query`. The first client of a question keeps its permit until the
    /// answer arrives, even if it has stopped waiting; others keep theirs as long as they wait.
    pub(super) async fn forward(
        self: &Rc<Self>,
        query: &Query,
        place: Permit<ClientPrefix>,
    ) -> Vec<u8> {
        let (sender, receiver) = oneshot::channel();
        let mut held = Some(place);
        match self.in_flight.waiting.borrow_mut().entry(query.question.clone()) {
            Entry::Occupied(mut flight) => {
                self.resolver.borrow_mut().counters.joined += 1;
                flight.get_mut().push(sender);
            }
            Entry::Vacant(none) => {
                self.resolver.borrow_mut().counters.forwarded += 1;
                none.insert(vec![sender]);
                let (dns, question, place) = (Rc::clone(self), query.question.clone(), held.take());
                spawn_local(async move {
                    let answer = Rc::new(forward(&dns, &question).await);
                    let waiting = dns.in_flight.waiting.borrow_mut().remove(&question);
                    drop(place);
                    for sender in waiting.unwrap_or_default() {
                        // The client may have stopped waiting.
                        let _ = sender.send(Rc::clone(&answer));
                    }
                });
            }
        }
        let answer = receiver.await;
        drop(held);
        match answer {
            Ok(answer) => reply(query, &answer),
            Err(_) => reply(query, &CachedAnswer::with_code(ResponseCode::ServFail)),
        }
    }
}
