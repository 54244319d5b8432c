//! The HTTP server on 127.0.0.1: its routes, connections and limits.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::net::{AddressFamily, SocketType, bind, socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep, timeout};

use crate::app::{App, Clock};
use crate::guard::{INSTALL_PATH, RequestSession, SESSION_COOKIE, guard};
use crate::nodes::{BOARD_IDLE, Connect, Nodes};
use crate::pages::verbs::{VERB_PAGES, VerbPage};
use crate::pages::{
    self, ICON, ICON_PATH, MAX_FORM, Page, SCRIPT, SCRIPT_PATH, STYLE_PATH, node_number, style,
};
use crate::session::random_name;
use crate::stream;
use crate::{events, upload};

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// The pause after the kernel could not accept a connection.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// How many ports are tried, if the kernel chooses one that is taken on the other loopback address.
const PORT_TRIES: usize = 16;

/// How long a form may take.
const FORM_TIMEOUT: Duration = Duration::from_secs(30);

/// How long further input is discarded after a response (RFC 9112, section 9.6), and how much of it: a browser sends its
/// whole form before it reads the refusal.
const DISCARD_TIME: Duration = Duration::from_secs(10);
const DISCARD_BYTES: usize = 128 << 20;
const DISCARD_PIECE: usize = 16 << 10;

#[derive(Debug, Clone, Copy)]
pub struct WebLimits {
    pub connections: usize,
    /// How long the head of a request may take, from the begin of the connection or the end of the request before.
    pub head_timeout: Duration,
    /// How long sent bytes may be unread.
    pub unread_timeout: Duration,
    /// Bytes of an update.
    pub update: u64,
}

impl Default for WebLimits {
    fn default() -> Self {
        let (head_timeout, unread_timeout) = (Duration::from_secs(30), Duration::from_secs(30));
        Self { connections: 64, head_timeout, unread_timeout, update: 1 << 30 }
    }
}

/// The server, which listens and does not answer yet.
pub struct WebServer {
    app: Arc<App>,
    listener: StdListener,
    /// Keeps the port of `::1`, which browsers may try first for names of `localhost`, from other users of the machine. It
    /// does not listen.
    _other_loopback: Option<OwnedFd>,
    limits: WebLimits,
}

/// Makes links.
#[derive(Clone)]
pub struct WebLinks(Arc<App>);

impl WebLinks {
    /// A new link for one use; the one before is not valid any more.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn next(&self) -> io::Result<String> {
        self.0.link()
    }

    /// How many viewers of live figures there are.
    pub fn viewers(&self) -> usize {
        events::viewers(&self.0)
    }
}

impl WebServer {
    /// Listens at `port` of 127.0.0.1; 0 is any port.
    ///
    /// # Errors
    /// The port is taken.
    pub fn bind(port: u16, connect: Connect, limits: WebLimits, clock: Clock) -> io::Result<Self> {
        let (listener, other_loopback) = listen(port)?;
        let host = format!("{}.localhost:{}", random_name()?, listener.local_addr()?.port());
        let app = Arc::new(App::new(host, Nodes::new(connect), clock));
        Ok(Self { app, listener, _other_loopback: other_loopback, limits })
    }

    pub fn links(&self) -> WebLinks {
        WebLinks(Arc::clone(&self.app))
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// No thread can be started, or the listener is unusable.
    pub fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(self.listener)?;
        let router = router(&self.app, self.limits);
        tokio::spawn(drop_idle(Arc::clone(&self.app)));
        let free = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    octet_node::say!("cannot accept a connection: {error}");
                    sleep(RETRY_DELAY).await;
                    continue;
                }
            };
            // Too many: the connection is closed.
            let Ok(permit) = Arc::clone(&free).try_acquire_owned() else { continue };
            let (router, limits) = (router.clone(), self.limits);
            tokio::spawn(async move {
                let _permit = permit;
                serve_connection(stream, router, limits).await;
            });
        }
    }
}

/// Listens at 127.0.0.1, and holds the same port of `::1`.
fn listen(port: u16) -> io::Result<(StdListener, Option<OwnedFd>)> {
    let mut tries = if port == 0 { PORT_TRIES } else { 1 };
    loop {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port))?;
        tries -= 1;
        match hold(listener.local_addr()?.port()) {
            Ok(held) => return Ok((listener, Some(held))),
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries == 0 => return Err(error),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            // A machine without IPv6.
            Err(_) => return Ok((listener, None)),
        }
    }
}

fn hold(port: u16) -> io::Result<OwnedFd> {
    let held = socket(AddressFamily::INET6, SocketType::STREAM, None)?;
    bind(&held, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0))?;
    Ok(held)
}

async fn drop_idle(app: Arc<App>) {
    let mut tick = interval(BOARD_IDLE / 4);
    loop {
        tick.tick().await;
        app.nodes.drop_idle(Instant::now());
    }
}

async fn serve_connection(mut stream: TcpStream, router: Router, limits: WebLimits) {
    let _ = stream.set_nodelay(true);
    // A connection ends if sent data is not read for this long (tcp(7)).
    let unread = u32::try_from(limits.unread_timeout.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(&stream, unread);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(&mut stream), TowerToHyperService::new(router));
    // The error concerns the browser only.
    let _ = served.await;
    let _ = timeout(DISCARD_TIME, discard(&mut stream)).await;
}

/// Ends sending and discards further input: closing a connection with unread input would reset it, and the browser could
/// lose the response.
async fn discard(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let (mut piece, mut discarded) = (vec![0; DISCARD_PIECE], 0);
    while discarded < DISCARD_BYTES {
        match stream.read(&mut piece).await? {
            0 => break,
            count => discarded += count,
        }
    }
    Ok(())
}

type SharedApp = State<Arc<App>>;
type OfSession = Extension<RequestSession>;

fn router(app: &Arc<App>, limits: WebLimits) -> Router {
    let mut router = Router::new()
        .route("/", get(async |State(app): SharedApp| show(app, pages::home::page).await))
        .route("/enter", get(enter))
        .route(ICON_PATH, get(async || asset("image/svg+xml", ICON.to_owned())))
        .route(STYLE_PATH, get(async || asset("text/css; charset=utf-8", style())))
        .route(
            SCRIPT_PATH,
            get(async || asset("text/javascript; charset=utf-8", SCRIPT.to_owned())),
        )
        .route("/node/{number}", get(node))
        .route("/node/{number}/unit/{unit}", get(unit))
        .route("/segments", get(segments))
        .route("/update", get(update))
        .route("/do", post(action))
        .route("/events", get(stream::figures))
        .route("/update/events", get(stream::installation));
    for page in &VERB_PAGES {
        router =
            router.route(page.path, get(async |State(app): SharedApp| verb_page(app, page).await));
    }
    let install =
        async move |State(app): SharedApp, Extension(session): OfSession, request: Request| {
            let (head, body) = request.into_parts();
            upload::take(app, session, head.headers, body, limits.update).await
        };
    router
        .route(INSTALL_PATH, post(install))
        .fallback(async || Page::not_found().into_response())
        .layer(from_fn_with_state(Arc::clone(app), guard))
        .with_state(Arc::clone(app))
}

/// Makes a page in a thread of its own, because calls to nodes block.
async fn show(app: Arc<App>, page: impl FnOnce(&App) -> Page + Send + 'static) -> Response {
    let made = tokio::task::spawn_blocking(move || page(&app)).await;
    let page = made.unwrap_or_else(|_| {
        let why = "The page cannot be made; the terminal of octetctl says why.";
        Page::refused(StatusCode::INTERNAL_SERVER_ERROR, "Failed", why)
    });
    page.into_response()
}

async fn enter(State(app): SharedApp, RawQuery(token): RawQuery) -> Response {
    match app.enter(&token.unwrap_or_default()) {
        Ok(Some(cookie)) => {
            let mut response = see_other("/");
            let cookie =
                format!("{SESSION_COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", cookie.as_str());
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Ok(None) => Page::no_link().into_response(),
        Err(error) => {
            Page::refused(StatusCode::INTERNAL_SERVER_ERROR, "Failed", &error.to_string())
                .into_response()
        }
    }
}

fn see_other(path: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(path));
    response
}

fn asset(kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let name: HeaderName = CONTENT_TYPE;
    response.headers_mut().insert(name, HeaderValue::from_static(kind));
    response
}

async fn node(
    State(app): SharedApp,
    Extension(session): OfSession,
    Path(number): Path<String>,
) -> Response {
    let Some(number) = node_number(&number) else { return Page::not_found().into_response() };
    show(app, move |app| pages::node::page(app, number, &session.form)).await
}

async fn unit(
    State(app): SharedApp,
    Extension(session): OfSession,
    Path((number, unit)): Path<(String, String)>,
) -> Response {
    let Some(number) = node_number(&number) else { return Page::not_found().into_response() };
    show(app, move |app| pages::unit::page(app, number, &unit, &session.form)).await
}

async fn segments(State(app): SharedApp, RawQuery(query): RawQuery) -> Response {
    let query = fields(query.unwrap_or_default().as_bytes());
    show(app, move |app| pages::segments::page(app, &query)).await
}

async fn verb_page(app: Arc<App>, page: &'static VerbPage) -> Response {
    show(app, move |app| pages::verbs::page(app, page)).await
}

async fn update(State(app): SharedApp, Extension(session): OfSession) -> Response {
    show(app, move |app| pages::update::page(app, &session.form)).await
}

async fn action(State(app): SharedApp, Extension(session): OfSession, body: Body) -> Response {
    let form = match timeout(FORM_TIMEOUT, axum::body::to_bytes(body, MAX_FORM)).await {
        Ok(Ok(form)) => form,
        Ok(Err(_)) => return Page::too_large().into_response(),
        Err(_) => {
            let why = "The form did not come in time. Nothing was done.";
            return Page::refused(StatusCode::REQUEST_TIMEOUT, "Too slow", why).into_response();
        }
    };
    show(app, move |app| pages::action::page(app, &fields(&form), &session.form)).await
}

/// The fields of a query or a form.
fn fields(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}
