//! A cache of answers in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::RData;

use super::answer::{CachedAnswer, LONGEST_TTL};
use super::query::DnsQuestion;

/// The approximate cost of an entry in addition to the message, in bytes: map and queue.
const OVERHEAD: usize = 256;

/// Stores answers as messages, whose size is known and small. Entries are evicted by CLOCK: an
/// entry that was used since the last visit stays for another round.
#[derive(Debug)]
pub struct AnswerCache {
    limit: usize,
    bytes: usize,
    entries: HashMap<Rc<DnsQuestion>, Entry>,
    /// Each question of `entries` once, in the order of visits.
    queue: VecDeque<Rc<DnsQuestion>>,
}

#[derive(Debug)]
struct Entry {
    message: Box<[u8]>,
    came: Duration,
    ttl: u32,
    asked: bool,
}

impl AnswerCache {
    /// An empty cache with room for `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, entries: HashMap::new(), queue: VecDeque::new() }
    }

    /// The answer to `question` if it is valid at `now`, with the remaining TTL.
    pub fn get(&mut self, now: Duration, question: &DnsQuestion) -> Option<CachedAnswer> {
        let entry = self.entries.get_mut(question)?;
        let elapsed = now.saturating_sub(entry.came).as_secs();
        let elapsed = u32::try_from(elapsed).ok().filter(|elapsed| *elapsed < entry.ttl)?;
        entry.asked = true;
        Some(unpack(&entry.message)?.aged(elapsed, LONGEST_TTL))
    }

    /// Caches an answer that was received at `now`, for its TTL.
    pub fn put(&mut self, now: Duration, question: &DnsQuestion, answer: &CachedAnswer) {
        let Some(ttl) = answer.ttl() else { return };
        let Some(message) = pack(answer) else { return };
        let cost = cost(question, &message);
        if cost > self.limit {
            return;
        }
        let entry = Entry { message, came: now, ttl, asked: false };
        self.bytes += cost;
        let question = Rc::new(question.clone());
        if let Some(old) = self.entries.insert(Rc::clone(&question), entry) {
            self.bytes -= self::cost(&question, &old.message);
        } else {
            self.queue.push_back(question);
        }
        self.make_room();
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn make_room(&mut self) {
        while self.bytes > self.limit
            && let Some(question) = self.queue.pop_front()
        {
            match self.entries.get_mut(&question) {
                Some(entry) if entry.asked => {
                    entry.asked = false;
                    self.queue.push_back(question);
                }
                _ => {
                    if let Some(entry) = self.entries.remove(&question) {
                        self.bytes -= cost(&question, &entry.message);
                    }
                }
            }
        }
    }
}

fn cost(question: &DnsQuestion, message: &[u8]) -> usize {
    question.name.len() + message.len() + OVERHEAD
}

fn pack(answer: &CachedAnswer) -> Option<Box<[u8]>> {
    let mut message = Message::response(0, OpCode::Query);
    message.metadata.response_code = answer.code;
    message.answers.clone_from(&answer.records);
    message.authorities.extend(answer.soa.clone());
    message.to_vec().ok().map(Vec::into_boxed_slice)
}

fn unpack(bytes: &[u8]) -> Option<CachedAnswer> {
    let message = Message::from_vec(bytes).ok()?;
    let soa = message.authorities.into_iter().find(|it| matches!(it.data, RData::SOA(_)));
    let mut answer = CachedAnswer::with_code(message.metadata.response_code);
    (answer.records, answer.soa) = (message.answers, soa);
    Some(answer)
}

#[cfg(test)]
mod tests;
