//! What this unit can be asked.

mod named;
mod token;

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::poll_fn;
use iroh::Endpoint;
use iroh_blobs::Hash;
use octet_node::control::file::MAX_WANT;
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{
    ArgKind, Arguments, Capability, ColumnKind, DESCRIBE, Failure, FailureCode, Request, Verb,
};
use octet_node::serve::threads::{Limits, serve};
use octet_node::settings::Which;
use octet_node::{Callers, PID_1, Peer};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::fetch::Missing;
use crate::http::{Gateway, Here, parse};
use crate::objects::{Listed, StoreError};
use crate::policy::Kind;
use crate::settings;

/// How many clients there may be, how many of them are kept for operators, and how many one user may be.
const LIMITS: Limits = Limits { all: 16, for_operators: 8, of_one: 4 };

/// How many lines `ls` gives at once.
const LINES: u64 = 500;

/// How many parts of a file wait for the disk.
const AHEAD: usize = 4;

/// All of them.
pub fn verbs() -> Vec<Verb> {
    use Capability::{Operate, Read};
    let hash = |verb: Verb| verb.required("hash", ArgKind::Text, "the object's hash, 64 digits");
    let own = vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        Verb::new("add", Operate, "Keeps a file as an object, and says its hash")
            .required("file", ArgKind::File, "what the object is to hold")
            .optional("loose", ArgKind::Flag, "it may go when room is needed; otherwise it is pinned")
            .shown(ColumnKind::Bytes, &["size"]),
        hash(Verb::new(
            "get",
            Operate,
            "Has an object here, fetched from another node of the box if need be; its bytes are had over HTTP",
        ))
        .shown(ColumnKind::Bytes, &["size"]),
        Verb::new("ls", Read, "Lists the objects that are here, in the order of their hashes")
            .optional("after", ArgKind::Option, "only those after this hash")
            .optional("most", ArgKind::Integer, "so many at most; 500 if nothing is said, and never more")
            .shown(ColumnKind::Bytes, &["size"]),
        hash(Verb::new("pin", Operate, "Has an object that is here stay, whatever room is needed")),
        hash(Verb::new("unpin", Operate, "Lets an object go when room is needed and it is its turn")),
        hash(Verb::new("remove", Operate, "Removes an object from this node; by HTTP it is gone then")),
        Verb::new("publish", Operate, "Has a path below this node's key stand for an object from now on")
            .required("path", ArgKind::Text, "the path, such as site/index.html")
            .required("hash", ArgKind::Text, "the object's hash, 64 digits")
            .optional("ttl", ArgKind::Integer, "for so many seconds; 30 days if nothing is said"),
        Verb::new("resolve", Read, "Says for which object a name stands, asking other nodes of the box")
            .required("name", ArgKind::Text, "the node's key, `/`, and the path"),
        Verb::new("token", Operate, "Makes a token with which objects can be put here over HTTP")
            .required("bytes", ArgKind::Text, "how large one object may be at most: a number and K, M or G")
            .optional("ttl", ArgKind::Integer, "for so many seconds; a day if nothing is said")
            .optional("revoke", ArgKind::Flag, "all tokens that were made before end"),
        Verb::new("stats", Read, "Shows the room that is left, what was served, and what other nodes gave")
            .shown(ColumnKind::Bytes, &["free", "quota", "used", "pinned", "HTTP bytes", "bytes in memory"]),
    ];
    own.into_iter().chain(settings::verbs()).collect()
}

/// What answers.
pub struct Desk {
    /// The objects.
    pub gateway: Gateway,
    /// By what other nodes are served.
    pub endpoint: watch::Receiver<Option<Endpoint>>,
    /// Where what waits for the disk and for others is done.
    pub runtime: Handle,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
}

/// Serves the `callers` that connect to `listener`, for good.
///
/// # Errors
/// The socket is gone.
pub fn keep(listener: &UnixListener, callers: &Callers, desk: Desk) -> io::Result<Infallible> {
    serve(listener, callers, LIMITS, PID_1, move |peer, _, request| desk.answer(peer, request))
}

impl Desk {
    fn answer(&self, peer: &mut Peer, request: Request) -> Result<Value, Failure> {
        let verbs = verbs();
        let verb = Verb::find(&verbs, &request.verb)?;
        let args = verb.check(request.args)?;
        if verb.name == DESCRIBE {
            return Ok(json!(verbs));
        }
        if verb.name == CHECK {
            settings::quota(&self.sockets, Which::Next)?;
            return Ok(json!({}));
        }
        let here = self.gateway.here.as_ref();
        if verb.name == APPLY {
            let quota = settings::quota(&self.sockets, Which::InForce)?;
            // Without a disk there is nothing that it could be about.
            if let Some(here) = here {
                let set = self.runtime.block_on(here.objects.set_quota(quota));
                set.map_err(|error| store(&error))?;
            }
            return Ok(json!({}));
        }
        let here = here.ok_or_else(|| {
            let help = "`boot` says how the data partition is; ask another node meanwhile";
            Failure::new(FailureCode::Failed, "this node has no disk to keep objects on", help)
        })?;
        match verb.name.as_str() {
            "add" => self.add(here, peer, request.id, &args).map(show),
            "get" => {
                let hash = hash(&args, "hash")?.ok_or_else(no_hash)?;
                let found = self.runtime.block_on(here.find(hash, &self.gateway.counters));
                let size = found.map_err(|missing| missing_as(&missing))?.size;
                Ok(show(Listed { hash, size }))
            }
            "ls" => {
                let most = args.integer("most").unwrap_or(LINES).min(LINES) as usize;
                let list = here.objects.list(hash(&args, "after")?, most);
                let found = self.runtime.block_on(list).map_err(|error| store(&error))?;
                Ok(found.into_iter().map(|it| show_with_pin(here, it)).collect())
            }
            "pin" | "unpin" => self.pin(here, &args, verb.name == "pin"),
            "publish" => named::publish(here, &self.runtime, &args),
            "resolve" => named::resolve(here, &self.runtime, &args),
            "token" => token::make(here, &args),
            "remove" => {
                let hash = hash(&args, "hash")?.ok_or_else(no_hash)?;
                let removed = self.runtime.block_on(here.objects.remove(hash));
                let was_here = removed.map_err(|error| store(&error))?;
                Ok(json!({ "hash": hash.to_hex().to_string(), "was here": was_here }))
            }
            _ => self.stats(here), // stats: the list has no other
        }
    }

    fn add(
        &self,
        here: &Here,
        peer: &mut Peer,
        id: u64,
        args: &Arguments,
    ) -> Result<Listed, Failure> {
        let size = args.file("file").and_then(|file| file.size);
        let (parts, mut came) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
        let objects = Arc::clone(&here.objects);
        let came = poll_fn(move |context| came.poll_recv(context));
        let kind = if args.flag("loose") { Kind::Loose } else { Kind::Pinned };
        let adding = self.runtime.spawn(async move { objects.add(size, came, kind).await });
        let mut at = 0;
        loop {
            let part = match peer.read_part(id, at, MAX_WANT) {
                Ok(part) => part,
                Err(failure) => {
                    let cut = io::Error::other("the file did not come to its end");
                    let _ = parts.blocking_send(Err(cut));
                    return Err(failure);
                }
            };
            let (count, is_last) = (part.len() as u64, part.len() < MAX_WANT as usize);
            at += count;
            // The store takes no more: why is what it answers.
            if parts.blocking_send(Ok(part.into())).is_err() || is_last {
                break;
            }
        }
        drop(parts);
        let added = self.runtime.block_on(adding).map_err(|error| {
            Failure::new(FailureCode::Failed, error.to_string(), "add it again")
        })?;
        added.map_err(|error| store(&error))
    }

    fn pin(&self, here: &Here, args: &Arguments, is_pinned: bool) -> Result<Value, Failure> {
        let hash = hash(args, "hash")?.ok_or_else(no_hash)?;
        let changed = self.runtime.block_on(here.objects.pin(hash, is_pinned));
        if !changed.map_err(|error| store(&error))? {
            let help = "`add` it, or `get` it from another node";
            return Err(Failure::new(FailureCode::NotFound, "it is not on this node", help));
        }
        Ok(json!({ "hash": hash.to_hex().to_string(), "pinned": is_pinned }))
    }

    fn stats(&self, here: &Here) -> Result<Value, Failure> {
        let broken = |error: io::Error| store(&StoreError::Broken(error.to_string()));
        let free = here.objects.free().map_err(broken)?;
        let (objects, bytes) = here.objects.in_memory();
        let key = self.endpoint.borrow().as_ref().map(|it| it.id().to_string());
        let nodes: Vec<Value> = here
            .fetcher
            .peers()
            .into_iter()
            .map(|peer| {
                let dealt = self.gateway.counters.dealings(peer.node);
                let (given, objects) = here.objects.policy().given_to(peer.key.as_bytes());
                json!({
                    "board": peer.number, "gave": dealt.gave, "lacked": dealt.lacked,
                    "silent": dealt.silent, "wrong": dealt.wrong, "given": given, "of objects": objects,
                })
            })
            .collect();
        let usage = here.objects.policy().usage();
        let mut all = json!({
            "key": key, "free": free, "quota": usage.quota, "used": usage.used,
            "pinned": usage.pinned, "objects": usage.objects, "objects in memory": objects, "bytes in memory": bytes,
        });
        if let (Value::Object(all), Value::Object(counted)) =
            (&mut all, self.gateway.counters.show())
        {
            all.extend(counted);
            all.insert("nodes".to_owned(), nodes.into());
        }
        Ok(all)
    }
}

/// A line of `ls`, with whether it stays.
fn show_with_pin(here: &Here, listed: Listed) -> Value {
    let mut line = show(listed);
    if let Value::Object(line) = &mut line {
        line.insert("pinned".to_owned(), here.objects.policy().is_pinned(&listed.hash).into());
    }
    line
}

fn show(Listed { hash, size }: Listed) -> Value {
    let hash = hash.to_hex().to_string();
    json!({ "hash": hash, "size": size, "path": format!("/b/{hash}") })
}

fn hash(args: &Arguments, name: &str) -> Result<Option<Hash>, Failure> {
    let Some(text) = args.text(name) else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| {
        let message = format!("`{text}` is no hash");
        Failure::new(FailureCode::BadArgument, message, "give the 64 digits that `add` has said")
    })
}

fn no_hash() -> Failure {
    Failure::new(
        FailureCode::BadArgument,
        "there is no hash",
        "give the 64 digits that `add` has said",
    )
}

fn store(error: &StoreError) -> Failure {
    let help = match error {
        StoreError::Full { .. } => "`cache stats` shows how much room there is",
        StoreError::Quota { .. } => "`cache ls` shows what is pinned",
        StoreError::Broken(_) => "`logs cache` may say more; what was there before is as it was",
    };
    Failure::new(FailureCode::Failed, error.to_string(), help)
}

fn missing_as(missing: &Missing) -> Failure {
    match missing {
        Missing::Nowhere => Failure::new(
            FailureCode::NotFound,
            "no node of this box has it",
            "`add` it at one of them",
        ),
        Missing::Busy => {
            Failure::new(FailureCode::Busy, missing.to_string(), "ask again in a moment")
        }
        Missing::Store(error) => store(error),
        Missing::Silent(_) | Missing::OnItsWay | Missing::Removed => Failure::new(
            FailureCode::Failed,
            missing.to_string(),
            "`cache stats` shows who is silent",
        ),
    }
}
