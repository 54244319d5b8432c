//! The verbs of this unit.

mod folders;
mod keep;
mod names;
mod neighbours;
mod origins;
mod private;
mod scrub;
mod token;

use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::{io, iter};

use bytes::Bytes;
use futures_util::stream::poll_fn;
use iroh::Endpoint;
use iroh_blobs::Hash;
use octet_node::Callers;
use octet_node::control::file::{FOLDER, MAX_WANTS};
use octet_node::control::{ColumnKind, Failure, FailureCode, Permission, Verb};
use octet_node::serve::threads::{Call, ConnectionLimits, Verbs, serve};
use octet_node::serve::verbs::{file, flag, nothing, option, optional_integer, text};
use octet_node::settings::Which;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::fetch::Missing;
use crate::http::{CacheState, Gateway, parse};
use crate::metrics::Numbers;
use crate::objects::{ListedObject, ObjectError};
use crate::policy::{ObjectKind, PinnedBy};
use crate::private::PrivatePaths;
use crate::settings::CacheSettings;

/// The maximum number of connections, those reserved for operators, and the maximum per user.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 16, for_operators: 8, of_one: 4 };

/// The maximum number of lines per answer of `ls`.
const LINES: u64 = 500;

/// The number of parts of a file that are queued for the disk.
const QUEUE_LENGTH: usize = 4;

/// The number of parts that are requested ahead, in addition to the next one.
const AHEAD_PER_CALL: usize = MAX_WANTS - 1;

/// The maximum of such parts of all files together: the gate buffers what is not written to disk
/// yet, and its memory is sufficient for two such files.
pub const MAX_AHEAD: usize = 2 * AHEAD_PER_CALL;

pub fn verbs() -> Verbs<CacheVerbs> {
    use Permission::{Operate, Own, Read};

    let object = || text("hash", "The object's hash: 64 hexadecimal digits").parse(hash);
    let bytes = |verb: Verb, fields: &[&str]| verb.columns(ColumnKind::Bytes, fields);
    let expires = |verb: Verb| verb.columns(ColumnKind::Date, &["expires"]);
    Verbs::default()
        .with(
            bytes(Verb::new("add", Operate, "Stores a file as an object, or all files of a folder, and prints the hash"), &["size"]),
            file("file", "The content, or a folder")
                .and(flag("loose", "Do not pin it: it may be evicted when space is needed"))
                .and(flag(FOLDER, "The file is a tar archive, and its files become a folder (set by itself for a folder)")),
            |desk: &CacheVerbs, call, ((file, is_loose), is_folder)| {
                if is_folder {
                    return desk.add_folder(call, file.size, !is_loose);
                }
                let kind = if is_loose { ObjectKind::Loose } else { ObjectKind::Pinned };
                desk.add(call, file.size, kind).map(show)
            },
        )
        .with(
            bytes(
                Verb::new(
                    "get",
                    Operate,
                    "Makes sure that an object is stored here, and fetches it from another node if not (HTTP serves its content)",
                ),
                &["size"],
            ),
            object()
                .and(flag("folder", "It is a folder: store all of its objects"))
                .and(option("private", "Ask this node only, as `forward path-add` names it, over a path by which it does not learn who asks"))
                .and(option("via", "The relays of that path in order, separated by commas; default: 2 or more, chosen at random")),
            |desk, _, (((hash, is_folder), private), via)| {
                desk.get(hash, is_folder, private, via)
            },
        )
        .with(
            bytes(
                Verb::new("ls", Read, "Lists the objects that are stored here, sorted by hash"),
                &["size"],
            ),
            option("after", "Only those after this hash")
                .parse(|after| after.map(hash).transpose())
                .and(optional_integer(
                    "most",
                    "How many at most; 500 at most, which is the default",
                )),
            |desk, _, (after, most)| desk.list(after, most),
        )
        .with(
            Verb::new("pin", Operate, "Pins an object: it is never evicted"),
            object().and(flag("folder", "It is a folder: pin all of its objects, which have to be here")),
            |desk, _, (hash, is_folder)| match is_folder {
                true => desk.pin_folder(hash),
                false => desk.pin(hash, true),
            },
        )
        .with(
            Verb::new("unpin", Operate, "Unpins an object or a folder: it may be evicted when space is needed"),
            object(),
            |desk, _, hash| desk.pin(hash, false),
        )
        .with(
            Verb::new("public", Operate, "Allows web pages of other sites to read an object (CORS)"),
            object().and(flag("off", "Forbid it again")),
            |desk, _, (hash, is_off)| {
                let changed = desk.state()?.objects.set_public(hash, !is_off);
                let is_here = desk.runtime.block_on(changed).map_err(|error| store_failure(&error))?;
                if !is_here && !is_off {
                    return Err(no_disk());
                }
                Ok(json!({ "hash": hash.to_hex().to_string(), "public": !is_off }))
            },
        )
        .with(
            Verb::new("remove", Operate, "Removes an object from this node"),
            object(),
            |desk, _, hash| {
                keep::check_removal(desk.state()?, &hash)?;
                desk.unpin_folder(hash)?;
                let removed = desk.runtime.block_on(desk.state()?.fetcher.remove(hash));
                let was_here = removed.map_err(|error| store_failure(&error))?;
                Ok(json!({ "hash": hash.to_hex().to_string(), "removed": was_here }))
            },
        )
        .with(
            Verb::new("keep-status", Read, "Shows which boards have the objects of `[[keep]]`, and what is at risk"),
            flag("at-risk", "Only those with too few copies"),
            // Without a disk nothing is kept.
            |desk, _, is_at_risk| {
                let state = desk.gateway.state.as_ref();
                Ok(state.map_or_else(|| json!([]), |state| keep::status(&state.keeper, is_at_risk)))
            },
        )
        .with(
            bytes(scrub::verb("scrub", Operate, "Starts to verify all objects on the disk now, and shows what `scrub-status` does"), &["bytes"]),
            nothing(),
            |desk, _, ()| {
                let state = desk.state()?;
                state.scrubber.start();
                Ok(scrub::status(state, desk.gateway.counters.repaired.get()))
            },
        )
        .with(
            bytes(scrub::verb("scrub-status", Read, "Shows how far the objects on the disk are verified, and which are damaged"), &["bytes"]),
            nothing(),
            |desk, _, ()| Ok(scrub::status(desk.state()?, desk.gateway.counters.repaired.get())),
        )
        .with(
            Verb::new("purge", Operate, "Forgets what all boards have stored of a web origin, or of one of its URLs"),
            text("what", "The origin's name, or a URL below http://NAME.APPLIANCE.internal:8080"),
            |desk, _, what| origins::purge(desk.state()?, &desk.runtime, &what),
        )
        .with(
            expires(Verb::new(
                "publish",
                Operate,
                "Publishes an object under a path of this node's key",
            )),
            text("path", "The path, for example site/index.html").parse(names::path).and(object()).and(
                optional_integer("ttl", "Time to live in seconds; default 30 days")
                    .parse(names::time_to_live),
            ).and(flag("once", "Do not renew it: it expires")),
            |desk, _, (((path, hash), ttl), is_once)| {
                let desk = (desk.state()?, &desk.runtime, &*desk.gateway.counters);
                names::publish(desk, path, hash, ttl, !is_once)
            },
        )
        .with(
            expires(Verb::new("names", Read, "Lists the names below this node's key")),
            nothing(),
            |desk, _, ()| names::list(desk.state()?, &desk.runtime),
        )
        .with(
            expires(Verb::new(
                "resolve",
                Read,
                "Resolves a name to an object's hash, and asks the other nodes of the box",
            )),
            text("name", "The node's key, `/`, and the path").parse(names::name),
            |desk, _, (key, path)| names::resolve(desk.state()?, &desk.runtime, key, path),
        )
        .with(
            expires(Verb::new(
                "token",
                Operate,
                "Creates a token that permits uploads over HTTP",
            )),
            text("bytes", "The largest object that it permits: a number and K, M or G")
                .parse(token::parse_bytes)
                .and(
                    optional_integer("ttl", "Time to live in seconds; default one day")
                        .parse(token::time_to_live),
                )
                .and(flag("revoke", "Revoke all tokens that were created before")),
            |desk, _, ((most, seconds), revoke)| token::create(desk.state()?, most, seconds, revoke),
        )
        .with(
            bytes(
                Verb::new("traffic", Read, "Shows the bytes of objects that each neighbour of another box gave, and was given"),
                &["bought", "served", "limit"],
            ),
            nothing(),
            |desk, _, ()| {
                // Without a disk nothing is given.
                let state = desk.gateway.state.as_ref();
                Ok(state.map_or_else(|| json!([]), |state| neighbours::traffic(&state.neighbours)))
            },
        )
        .with(
            Verb::new("account-limit", Own, "Sets how far the bytes served to a neighbour may grow").internal(),
            neighbours::node_key().and(optional_integer("served", "In bytes; default: without limit")),
            |desk, _, (node, limit)| neighbours::limit(&desk.state()?.neighbours, node, limit),
        )
        .with(
            bytes(
                Verb::new("stats", Read, "Shows free space, what was served, and what other nodes sent"),
                &["free", "quota", "used", "pinned", "http_bytes", "bytes_in_memory"],
            ),
            nothing(),
            |desk, _, ()| desk.stats(),
        )
        .with_metrics(|desk: &CacheVerbs| Numbers(desk.gateway.clone()).now())
        .with_settings(
            |desk| Ok(CacheSettings::read(&desk.sockets, Which::Next).map(drop)?),
            CacheVerbs::apply,
        )
}

pub struct CacheVerbs {
    pub private: PrivatePaths,
    pub gateway: Gateway,
    /// The endpoint that serves other nodes.
    pub endpoint: watch::Receiver<Option<Endpoint>>,
    /// The runtime of the disk and network operations.
    pub runtime: Handle,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// Permits for parts that are requested ahead.
    pub ahead: Semaphore,
}

/// Serves the `callers` that connect to `listener`, forever.
pub fn listen(
    listener: &UnixListener,
    callers: &Callers,
    cache: CacheVerbs,
) -> io::Result<Infallible> {
    serve(listener, callers, LIMITS, verbs(), cache)
}

impl CacheVerbs {
    fn state(&self) -> Result<&CacheState, Failure> {
        self.gateway.state.as_ref().ok_or_else(|| {
            let help = "`boot` says how the data partition is; ask another node meanwhile";
            Failure::new(FailureCode::Failed, crate::NO_DISK, help)
        })
    }

    /// Applies the settings in force. Without a disk they have no effect.
    fn apply(&self) -> Result<(), Failure> {
        let settings = CacheSettings::read(&self.sockets, Which::InForce)?;
        let Some(state) = &self.gateway.state else { return Ok(()) };
        settings.apply(&self.sockets, &state.origins, &state.neighbours);
        state.keeper.set(&settings.keeps);
        state.folders.set_index(settings.has_folder_index);
        self.runtime
            .block_on(state.objects.set_quota(settings.quota))
            .map_err(|error| store_failure(&error))
    }

    fn list(&self, after: Option<Hash>, most: Option<u64>) -> Result<Value, Failure> {
        let (state, most) = (self.state()?, most.unwrap_or(LINES).min(LINES) as usize);
        let found = self.runtime.block_on(state.objects.list(after, most));
        let found = found.map_err(|error| store_failure(&error))?;
        Ok(found.into_iter().map(|it| show_with_marks(state, it)).collect())
    }

    /// Receives a file of `size` bytes, if the size is known.
    fn add(
        &self,
        call: &mut Call<'_>,
        size: Option<u64>,
        kind: ObjectKind,
    ) -> Result<ListedObject, Failure> {
        let state = self.state()?;
        let (parts, mut came) = mpsc::channel::<io::Result<Bytes>>(QUEUE_LENGTH);
        let objects = Arc::clone(&state.objects);
        let came = poll_fn(move |context| came.poll_recv(context));
        let adding = self.runtime.spawn(async move { objects.add(size, came, kind).await });
        // Without a permit, one part is requested per round trip.
        let more: Vec<_> =
            iter::from_fn(|| self.ahead.try_acquire().ok()).take(AHEAD_PER_CALL).collect();
        // If the store has closed the channel, its answer has the reason.
        let into_store = |part: Vec<u8>| parts.blocking_send(Ok(part.into())).is_ok();
        let read = call.peer.read_parts(call.id, size, 1 + more.len(), into_store);
        if let Err(failure) = read {
            let cut = io::Error::other("the file did not come to its end");
            let _ = parts.blocking_send(Err(cut));
            return Err(failure);
        }
        drop(parts);
        let added = self.runtime.block_on(adding).map_err(|error| {
            Failure::new(FailureCode::Failed, error.to_string(), "add it again")
        })?;
        added.map_err(|error| store_failure(&error))
    }

    /// Fetches an object, of the node `private` if there is one, or a folder with all of its files.
    fn get(
        &self,
        hash: Hash,
        is_folder: bool,
        private: Option<String>,
        via: Option<String>,
    ) -> Result<Value, Failure> {
        let wrong = |message, help| Err(Failure::new(FailureCode::BadArgument, message, help));
        let size = match (private, via) {
            (Some(_), _) if is_folder => {
                let help = "ask privately for each of its files";
                return wrong("`private` does not go with `folder`", help);
            }
            (Some(to), via) => private::get(self, self.state()?, hash, (&to, via.as_deref()))?,
            (None, Some(_)) => {
                let help = "`via` names the relays of the path to the node of `private`";
                return wrong("`via` goes with `private`", help);
            }
            (None, None) if is_folder => return self.get_folder(hash),
            (None, None) => {
                let found = self.state()?.find(hash, &self.gateway.counters);
                let found = self.runtime.block_on(found);
                found.map_err(|missing| missing_failure(&missing))?.size
            }
        };
        Ok(show(ListedObject { hash, size }))
    }

    fn pin(&self, hash: Hash, is_pinned: bool) -> Result<Value, Failure> {
        if !is_pinned {
            self.unpin_folder(hash)?;
        }
        let changed =
            self.runtime.block_on(self.state()?.objects.pin(hash, PinnedBy::Operator, is_pinned));
        if !changed.map_err(|error| store_failure(&error))? {
            return Err(no_disk());
        }
        Ok(json!({ "hash": hash.to_hex().to_string(), "pinned": is_pinned }))
    }

    fn stats(&self) -> Result<Value, Failure> {
        let state = self.state()?;
        let broken = |error: io::Error| store_failure(&ObjectError::Broken(error.to_string()));
        let free = state.objects.free_bytes().map_err(broken)?;
        let (objects, bytes) = state.objects.in_memory();
        let key = self.endpoint.borrow().as_ref().map(|it| it.id().to_string());
        let nodes: Vec<Value> = state
            .fetcher
            .peers()
            .into_iter()
            .map(|peer| {
                let dealt = self.gateway.counters.outcomes(peer.node);
                let (given, objects) = state.objects.policy().sent_to(peer.key.as_bytes());
                json!({
                    "board": peer.number, "gave": dealt.sent, "lacked": dealt.missing,
                    "silent": dealt.timeouts, "wrong": dealt.invalid, "given": given, "objects": objects,
                })
            })
            .collect();
        let usage = state.objects.policy().usage();
        let mut all = json!({
            "key": key, "free": free, "quota": usage.quota, "used": usage.used,
            "pinned": usage.pinned, "objects": usage.objects, "objects_in_memory": objects, "bytes_in_memory": bytes,
        });
        if let (Value::Object(all), Value::Object(counted)) =
            (&mut all, self.gateway.counters.show())
        {
            all.extend(counted);
            all.insert("nodes".to_owned(), nodes.into());
            let neighbours = neighbours::stats(&state.neighbours, &self.gateway.counters);
            all.insert("neighbours".to_owned(), neighbours.into());
        }
        Ok(all)
    }
}

fn no_disk() -> Failure {
    let help = "`add` it, or `get` it from another node";
    Failure::new(FailureCode::NotFound, "it is not on this node", help)
}

/// A row of `ls`, with the marks of what pins it and who may read it.
fn show_with_marks(state: &CacheState, listed: ListedObject) -> Value {
    let mut line = show(listed);
    if let Value::Object(line) = &mut line {
        let policy = state.objects.policy();
        line.insert("pinned".to_owned(), policy.is_pinned(&listed.hash).into());
        line.insert("folder".to_owned(), policy.is_pinned_folder(&listed.hash).into());
        line.insert("kept".to_owned(), policy.is_kept(&listed.hash).into());
        line.insert("sealed".to_owned(), state.objects.is_sealed(listed.hash).into());
        line.insert("damaged".to_owned(), policy.is_damaged(&listed.hash).into());
        line.insert("public".to_owned(), policy.is_public(&listed.hash).into());
    }
    line
}

fn show(ListedObject { hash, size }: ListedObject) -> Value {
    let hash = hash.to_hex().to_string();
    json!({ "hash": hash, "size": size, "path": format!("/b/{hash}") })
}

fn hash(text: String) -> Result<Hash, Failure> {
    parse(&text).ok_or_else(|| {
        let message = format!("`{text}` is not a hash");
        Failure::new(FailureCode::BadArgument, message, "give the 64 digits that `add` has said")
    })
}

fn store_failure(error: &ObjectError) -> Failure {
    let help = match error {
        ObjectError::Full { .. } => "`cache stats` shows how much room there is",
        ObjectError::Quota { .. } => "`cache ls` shows what is pinned",
        ObjectError::Removed => "`add` it again",
        ObjectError::Public { .. } => "`cache ls` shows what is public",
        ObjectError::Absent(_) => "`get --folder` fetches what is missing of a folder",
        ObjectError::Broken(_) | ObjectError::Mismatch(_) | ObjectError::TooLarge { .. } => {
            "`logs cache` may say more; what was there before is as it was"
        }
    };
    Failure::new(FailureCode::Failed, error.to_string(), help)
}

fn missing_failure(missing: &Missing) -> Failure {
    match missing {
        Missing::Nowhere => Failure::new(
            FailureCode::NotFound,
            "no node of this box has it",
            "`add` it at one of them",
        ),
        Missing::Busy | Missing::BusyForOne => {
            Failure::new(FailureCode::Busy, missing.to_string(), "ask again in a moment")
        }
        Missing::Store(error) => store_failure(error),
        Missing::Damaged => {
            Failure::new(FailureCode::Failed, missing.to_string(), "`cache scrub-status` shows it")
        }
        Missing::Silent(_) | Missing::Limited(_) | Missing::OnItsWay | Missing::Removed => {
            Failure::new(
                FailureCode::Failed,
                missing.to_string(),
                "`cache stats` shows who is silent",
            )
        }
    }
}
