//! A small HTTP server for metrics over TCP: one request per connection, few connections, and strict timeouts.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::exposition::CONTENT_TYPE;
use super::request::{HttpError, LONGEST, ParseProgress, is_head, read};
use crate::host::MISDIRECTED;
use crate::limits::ClientLimit;

/// The maximum number of connections, and of one client.
const MAX: usize = 8;
const MAX_OF_ONE: usize = 2;

/// The timeout for a request, and for a whole connection.
const TO_ASK: Duration = Duration::from_secs(5);
const ALL: Duration = Duration::from_secs(30);

/// The end of the response head.
const END_OF_HEAD: &str = "\r\n\r\n";

/// The pause after a connection could not be accepted.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The source of the metrics; `None` if they cannot be read.
pub trait MetricSource: Clone + Send + Sync + 'static {
    fn text(&self) -> impl Future<Output = Option<String>> + Send;
}

/// Serves connections forever. When all permits are in use, connections wait; a client that has used up its own
/// is disconnected.
pub async fn serve<S: MetricSource>(listener: TcpListener, source: S) {
    serve_within(listener, source, TO_ASK).await;
}

/// The same, with another request timeout.
async fn serve_within<S: MetricSource>(listener: TcpListener, source: S, to_ask: Duration) {
    let (mut tasks, limit) = (JoinSet::new(), ClientLimit::new(MAX, MAX_OF_ONE));
    loop {
        tokio::select! {
            // Returned permits are counted before new connections are accepted.
            biased;
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept(), if tasks.len() < MAX => match accepted {
                Ok((stream, from)) => {
                    if let Some(permit) = limit.take(from.ip()) {
                        let answer = timeout(ALL, answer(stream, source.clone(), to_ask));
                        tasks.spawn(async move {
                            let _permit = permit;
                            answer.await
                        });
                    }
                }
                // Out of descriptors, or the client has disconnected.
                Err(_) => sleep(RETRY_DELAY).await,
            },
        }
    }
}

/// Reads one request and answers it.
async fn answer(
    mut stream: TcpStream,
    source: impl MetricSource,
    to_ask: Duration,
) -> io::Result<()> {
    let (asked, is_head) = match timeout(to_ask, ask(&mut stream)).await {
        Ok(asked) => asked?,
        // Connections that send nothing time out without an answer.
        Err(_) => return Ok(()),
    };
    let answer = match asked {
        ParseProgress::More => return Ok(()),
        ParseProgress::Metrics => match source.text().await {
            Some(text) => response("200 OK", CONTENT_TYPE, &text),
            None => text_response(
                "503 Service Unavailable",
                "what is counted cannot be read: see the log\n",
            ),
        },
        ParseProgress::Refused(HttpError::Bad) => {
            text_response("400 Bad Request", "that is not a request\n")
        }
        ParseProgress::Refused(HttpError::Misdirected) => {
            text_response("421 Misdirected Request", &format!("{MISDIRECTED}\n"))
        }
        ParseProgress::Refused(HttpError::NotFound) => {
            text_response("404 Not Found", "there is /metrics\n")
        }
        ParseProgress::Refused(HttpError::Method) => {
            let status = "405 Method Not Allowed\r\nAllow: GET, HEAD";
            text_response(status, "it can be read, with GET or HEAD\n")
        }
    };
    let mut answer = answer.as_str();
    if is_head && let Some(end) = answer.find(END_OF_HEAD) {
        answer = &answer[..end + END_OF_HEAD.len()];
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Unread input would make the kernel reset the connection and discard the response (RFC 9112, 9.6).
    let mut rest = [0; LONGEST];
    let mut drained = 0;
    while drained < 16 * LONGEST {
        match timeout(to_ask, stream.read(&mut rest)).await {
            Ok(Ok(more @ 1..)) => drained += more,
            _ => break,
        }
    }
    Ok(())
}

/// Reads until the request is parsed, and returns whether it is a HEAD request.
async fn ask(stream: &mut TcpStream) -> io::Result<(ParseProgress, bool)> {
    let (mut bytes, mut length) = ([0; LONGEST], 0);
    loop {
        let more = stream.read(&mut bytes[length..]).await?;
        length += more;
        match read(&bytes[..length]) {
            ParseProgress::More if more > 0 => {}
            asked => return Ok((asked, is_head(&bytes))),
        }
    }
}

fn text_response(status: &str, text: &str) -> String {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(status: &str, content_type: &str, text: &str) -> String {
    let length = text.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close{END_OF_HEAD}{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts its calls.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl MetricSource for Counting {
        async fn text(&self) -> Option<String> {
            let times = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            (times != 3).then(|| format!("times {times}\n"))
        }
    }

    async fn start() -> SocketAddr {
        start_within(TO_ASK).await
    }

    async fn start_within(to_ask: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_within(listener, Counting::default(), to_ask));
        address
    }

    /// The response to these bytes: status, fields and body.
    async fn say(to: SocketAddr, bytes: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        let (line, fields) = head.split_once("\r\n").unwrap();
        let status = line.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        (status, fields.to_owned(), text.to_owned())
    }

    const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: 10.20.1.2\r\n\r\n";

    #[tokio::test]
    async fn one_request_one_answer() {
        let at = start().await;
        let (status, fields, text) = say(at, GET).await;
        assert_eq!((status, text.as_str()), (200, "times 1\n"));
        let fields: Vec<_> = fields.split("\r\n").collect();
        let expected = [
            "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8",
            "Content-Length: 8",
            "Connection: close",
        ];
        assert_eq!(fields, expected);
        // A second request on the connection is ignored, as is a body.
        assert_eq!(say(at, &[GET, GET].concat()).await.2, "times 2\n");
        assert_eq!(say(at, GET).await.0, 503);
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\nHost: 10.20.1.2\r\n\r\n"[..], 404),
            (
                &b"POST /metrics HTTP/1.1\r\nHost: 10.20.1.2\r\nContent-Length: 5\r\n\r\nhello"[..],
                405,
            ),
            (&b"GET /metrics HTTP/1.1\r\n\r\n"[..], 400),
            (&b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"[..], 421),
            (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..], 400),
        ] {
            assert_eq!(say(at, request).await.0, status);
        }
        let allowed = say(at, b"PUT /metrics HTTP/1.0\r\n\r\n").await.1;
        assert!(allowed.starts_with("Allow: GET, HEAD\r\n"), "{allowed}");
        let long = [&b"GET /metrics HTTP/1.1\r\nA: "[..], &[b'b'; 3 * LONGEST][..]].concat();
        assert_eq!(say(at, &long).await.0, 400);
        assert_eq!(say(at, GET).await.2, "times 4\n");
        // For HEAD, the length is that of the omitted body.
        let (status, fields, text) = say(at, b"HEAD /metrics HTTP/1.0\r\n\r\n").await;
        assert_eq!((status, text.as_str()), (200, ""));
        assert_eq!(fields.split("\r\n").collect::<Vec<_>>(), expected);
        let (status, _, text) = say(at, b"HEAD / HTTP/1.0\r\n\r\n").await;
        assert_eq!((status, text.as_str()), (404, ""));
    }

    /// A request that is sent byte by byte is answered as well.
    #[tokio::test]
    async fn slowly() {
        let at = start().await;
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in GET {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\ntimes 1\n"), "{answer}");
    }

    /// A silent client holds two connections at most, and frees them when it disconnects.
    #[tokio::test]
    async fn nobody_has_all_places() {
        let at = start().await;
        let [one, other] = [TcpStream::connect(at), TcpStream::connect(at)];
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        let mut third = TcpStream::connect(at).await.unwrap();
        let mut nothing = vec![];
        // The connection is closed without an answer.
        assert_eq!(third.read_to_end(&mut nothing).await.unwrap(), 0);
        drop((one, other));
        let mut answered = false;
        for _ in 0..100 {
            let mut again = TcpStream::connect(at).await.unwrap();
            let mut answer = String::new();
            let _ = again.write_all(GET).await;
            let _ = again.read_to_string(&mut answer).await;
            answered |= answer.starts_with("HTTP/1.1 200");
        }
        assert!(answered);
    }

    /// A silent connection times out.
    #[tokio::test]
    async fn silence_ends() {
        let at = start_within(Duration::from_millis(20)).await;
        let mut silent = TcpStream::connect(at).await.unwrap();
        silent.write_all(b"GET /met").await.unwrap();
        let mut answer = vec![];
        assert_eq!(silent.read_to_end(&mut answer).await.unwrap(), 0);
    }
}
