//! Queries in flight at upstreams. Identical ones are joined.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use hickory_proto::op::ResponseCode;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::Dns;
use super::answer::{CachedAnswer, reply};
use super::forward::ask;
use super::query_limit::{QueryLimit, QueryLimits, QueryPermit};
use super::query::{DnsQuestion, Query};
use super::rates::ClientPrefix;

/// The maximum number of queries that wait for upstreams.
const ROOM: QueryLimits = QueryLimits { all: 256, of_one: 32, kept: 64 };

/// The queries in flight.
#[derive(Debug)]
pub(super) struct Flights {
    waiting: RefCell<HashMap<DnsQuestion, Vec<oneshot::Sender<Rc<CachedAnswer>>>>>,
    places: Rc<QueryLimit>,
}

impl Flights {
    pub(super) fn new() -> Self {
        Self { waiting: RefCell::default(), places: QueryLimit::new(ROOM) }
    }
}

impl Dns {
    /// A permit for another query of `client`; without one, the error response.
    pub(super) fn place(
        &self,
        client: ClientPrefix,
        query: &Query,
    ) -> Result<QueryPermit, Vec<u8>> {
        self.flights.places.take(client).ok_or_else(|| {
            self.resolver.borrow_mut().counters.busy += 1;
            reply(query, &CachedAnswer::of(ResponseCode::ServFail))
        })
    }

    /// The upstreams' answer to `query`. The first client of a question keeps its permit until the
    /// answer arrives, even if it has stopped waiting; others keep theirs as long as they wait.
    pub(super) async fn forward(self: &Rc<Self>, query: &Query, place: QueryPermit) -> Vec<u8> {
        let (sender, receiver) = oneshot::channel();
        let mut held = Some(place);
        match self.flights.waiting.borrow_mut().entry(query.question.clone()) {
            Entry::Occupied(mut flight) => {
                self.resolver.borrow_mut().counters.joined += 1;
                flight.get_mut().push(sender);
            }
            Entry::Vacant(none) => {
                self.resolver.borrow_mut().counters.forwarded += 1;
                none.insert(vec![sender]);
                let (dns, question, place) = (Rc::clone(self), query.question.clone(), held.take());
                spawn_local(async move {
                    let answer = Rc::new(ask(&dns, &question).await);
                    let waiting = dns.flights.waiting.borrow_mut().remove(&question);
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
            Err(_) => reply(query, &CachedAnswer::of(ResponseCode::ServFail)),
        }
    }
}
