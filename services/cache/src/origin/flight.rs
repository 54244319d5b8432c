//! One request to an upstream, however many clients wait for its response.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, Method, Response, StatusCode};
use octet_node::say;
use rustix::io::pwrite;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;

use super::coming::{ArrivingShare, BodyProgress, ComingResponse, parts};
use super::stored::{ResponseHead, StoredResponse};
use super::upstream::{UNVERIFIED_END, UpstreamAnswer, UpstreamFailure};
use super::{CachedOrigin, OriginFront};
use crate::objects::ObjectError;
use crate::policy::ObjectKind;

/// In what steps room is claimed, in bytes.
const STEP: u64 = 1 << 20;

/// What is known of a flight.
#[derive(Debug, Clone)]
pub enum FlightState {
    Waiting,
    /// The response arrives, and all may have it.
    Coming(Arc<ComingResponse>),
    /// The stored response was validated.
    Validated(Arc<StoredResponse>),
    /// The response is for the one who has asked, and nobody else.
    Unshared,
    /// The upstream does not answer, or with a server error.
    Failed(Arc<UpstreamFailure>),
}

/// What the leader of a flight needs.
pub struct OriginFlight {
    pub front: Arc<OriginFront>,
    pub origin: Arc<CachedOrigin>,
    pub key: String,
    pub target: String,
    /// The fields that go up.
    pub fields: HeaderMap,
    /// What is to be validated.
    pub stored: Option<StoredResponse>,
    pub state: watch::Sender<FlightState>,
    /// Gives a response that is not shared to the one who has asked first.
    pub first: oneshot::Sender<Response<Incoming>>,
    /// The number of purges when it began.
    pub purges: u64,
}

/// The file of a body that arrives. It is deleted when it is dropped.
struct ArrivingFile {
    path: PathBuf,
    file: Arc<File>,
}

impl Drop for ArrivingFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl OriginFlight {
    pub async fn run(self) {
        let mut fields = self.fields.clone();
        if let Some(stored) = &self.stored {
            fields.extend(stored.head.validators());
        }
        let fetched = self.front.fetch(&self.origin, &Method::GET, &self.target, &fields).await;
        let UpstreamAnswer { response, from } = match fetched {
            Ok(answer) => answer,
            Err(failure) => {
                self.state.send_replace(FlightState::Failed(Arc::new(failure)));
                return;
            }
        };
        match response.status() {
            StatusCode::NOT_MODIFIED => self.validated(&response),
            // RFC 5861, section 4.
            StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let (status, why) = (response.status(), "the origin answers with an error");
                let failure = UpstreamFailure { status, why: why.to_owned() };
                let _ = self.first.send(response);
                self.state.send_replace(FlightState::Failed(Arc::new(failure)));
            }
            _ => self.arriving(response, from).await,
        }
    }

    fn validated(self, response: &Response<Incoming>) {
        let updated = self.stored.as_ref().and_then(|stored| {
            let head = stored.head.updated(response.headers(), &self.fields, SystemTime::now())?;
            Some(stored.with_head(head))
        });
        let state = match updated {
            Some(updated) => {
                self.keep(&updated);
                FlightState::Validated(Arc::new(updated))
            }
            None => FlightState::Failed(Arc::new(UpstreamFailure {
                status: StatusCode::BAD_GATEWAY,
                why: "the origin says of another version that it is not modified".to_owned(),
            })),
        };
        self.state.send_replace(state);
    }

    async fn arriving(self, response: Response<Incoming>, from: Option<[u8; 32]>) {
        let now = SystemTime::now();
        let head = ResponseHead::new(response.status(), response.headers(), &self.fields, now);
        let length = response.body().size_hint().exact();
        let mut share =
            ArrivingShare::new(Arc::clone(&self.origin.arriving), self.origin.max_bytes);
        let is_stored = head.is_storable(&self.target, self.origin.defaults)
            && !response.headers().contains_key(UNVERIFIED_END)
            && share.take(length.unwrap_or(0))
            && self.front.objects.check_fits(length.unwrap_or(0)).is_ok();
        let file = if is_stored { self.front.arriving_file().await.ok() } else { None };
        let Some((path, file)) = file else {
            // A variant that was stored before is outdated now.
            if response.status().is_success() {
                self.forget();
            }
            let _ = self.first.send(response);
            self.state.send_replace(FlightState::Unshared);
            return;
        };
        let arriving = ArrivingFile { path, file };
        let (sender, progress) = watch::channel(BodyProgress::default());
        let coming = ComingResponse {
            head: head.clone(),
            length,
            file: Arc::clone(&arriving.file),
            progress,
        };
        self.state.send_replace(FlightState::Coming(Arc::new(coming)));
        let body = response.into_body();
        let mut claim = self.front.objects.policy().claim();
        let received = self.receive(body, &arriving, &sender, &mut share, &mut claim).await;
        let is_whole = received.as_ref().is_ok_and(|size| length.is_none_or(|it| it == *size));
        sender.send_modify(|progress| progress.is_whole = Some(is_whole));
        match received {
            Ok(size) if is_whole => {
                let body = parts(Arc::clone(&arriving.file), size);
                match self.front.objects.add(Some(size), body, ObjectKind::Put).await {
                    Ok(listed) => {
                        self.keep(&StoredResponse::new(head, listed.hash, size, from));
                    }
                    // An operator has removed it.
                    Err(ObjectError::Removed) => {}
                    Err(error) => say!("`{}`: a response is not stored: {error}", self.origin.name),
                }
            }
            Ok(_) => say!("`{}`: a response is cut off, and not stored", self.origin.name),
            Err(error) => {
                say!("`{}`: a response is cut off, and not stored: {error}", self.origin.name);
            }
        }
    }

    /// Writes the body as it arrives. Returns its size.
    async fn receive(
        &self,
        mut body: Incoming,
        arriving: &ArrivingFile,
        progress: &watch::Sender<BodyProgress>,
        share: &mut ArrivingShare,
        claim: &mut crate::policy::Claim,
    ) -> io::Result<u64> {
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() else { continue };
            let end = size + bytes.len() as u64;
            let step = end.next_multiple_of(STEP);
            if !share.take(end) {
                return Err(io::Error::other("more arrives from this origin than `max_bytes`"));
            }
            let claimed = self.front.objects.claim_for(claim, step).await;
            claimed.map_err(io::Error::other)?;
            write(Arc::clone(&arriving.file), bytes, size).await?;
            size = end;
            progress.send_modify(|progress| progress.written = size);
        }
        Ok(size)
    }

    /// Stores the row, unless somebody has purged meanwhile.
    fn keep(&self, stored: &StoredResponse) {
        if self.front.purges() != self.purges {
            return;
        }
        let target = &self.target;
        let is_other = |it: &StoredResponse| {
            let (now, defaults) = (SystemTime::now(), self.origin.defaults);
            it.head.usable(target, &self.fields, now, defaults) == super::stored::CacheUse::Other
        };
        self.change(|variants| {
            variants.retain(is_other);
            variants.insert(0, stored.clone());
        });
    }

    fn forget(&self) {
        if self.stored.is_some() {
            self.change(Vec::clear);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<StoredResponse>)) {
        if let Err(error) = self.front.rows.change(&self.key, change) {
            say!("`{}`: what is stored cannot be written: {error}", self.origin.name);
        }
    }
}

async fn write(file: Arc<File>, bytes: Bytes, at: u64) -> io::Result<()> {
    let write = move || {
        let mut written = 0;
        while written < bytes.len() {
            written += pwrite(&*file, &bytes[written..], at + written as u64)?;
        }
        Ok(())
    };
    spawn_blocking(write).await.map_err(io::Error::other)?
}

/// Opens a new file to write and to read.
pub fn create(path: PathBuf) -> io::Result<(PathBuf, Arc<File>)> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    Ok((path, Arc::new(file)))
}
