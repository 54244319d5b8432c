//! A small browser: requests as bytes, and responses as they come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use octet_web::{WebLimits, WebLinks, WebServer};

use crate::double::{BoxDouble, HANG};

/// A running server with its box, and a clock that tests move.
pub struct Site {
    pub double: BoxDouble,
    pub links: WebLinks,
    /// The name and the port.
    pub host: String,
    pub port: u16,
    later: Arc<Mutex<Duration>>,
}

#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Site {
    pub fn start(double: BoxDouble, limits: WebLimits) -> Self {
        let later = Arc::new(Mutex::new(Duration::ZERO));
        let (start, moved) = (Instant::now(), Arc::clone(&later));
        let clock = Arc::new(move || start + *moved.lock().unwrap());
        let server = WebServer::bind(0, double.connect(), limits, clock).unwrap();
        let links = server.links();
        thread::spawn(move || server.run().unwrap());
        let link = links.next().unwrap();
        let host = link.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        let port = host.split_once(".localhost:").unwrap().1.parse().unwrap();
        Self { double, links, host, port, later }
    }

    pub fn move_clock(&self, by: Duration) {
        *self.later.lock().unwrap() += by;
    }

    /// The path and query of a new link.
    pub fn link(&self) -> String {
        let link = self.links.next().unwrap();
        link.strip_prefix(&format!("http://{}", self.host)).unwrap().to_owned()
    }

    /// A browser with a session.
    pub fn browser(&self) -> Browser<'_> {
        let response = Browser { site: self, cookie: None }.get(&self.link());
        assert_eq!(response.status, 303, "{}", response.body);
        let cookie = response.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Browser { site: self, cookie: Some(cookie) }
    }

    pub fn stranger(&self) -> Browser<'_> {
        Browser { site: self, cookie: None }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream
    }

    /// Sends these bytes, and reads the response until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> Response {
        let mut stream = self.connect();
        // A server may refuse before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        parse(&answer)
    }
}

fn parse(answer: &[u8]) -> Response {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Response::default() };
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Response { status, headers: lines.map(field).collect(), body: body.to_owned() }
}

pub struct Browser<'a> {
    pub site: &'a Site,
    pub cookie: Option<String>,
}

impl Browser<'_> {
    /// The head of a request without its last line.
    pub fn head(&self, method: &str, path: &str) -> String {
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n"));
        let host = &self.site.host;
        let cookie = cookie.unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{cookie}")
    }

    pub fn get(&self, path: &str) -> Response {
        self.site.raw(format!("{}\r\n", self.head("GET", path)).as_bytes())
    }

    /// Sends a form with these additional header fields.
    pub fn post_with(&self, path: &str, fields: &str, kind: &str, body: &[u8]) -> Response {
        let head = self.head("POST", path);
        let length = body.len();
        let head =
            format!("{head}{fields}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        self.site.raw(&[head.as_bytes(), body].concat())
    }

    /// Sends a form as a browser does from a page without a referrer.
    pub fn post(&self, path: &str, form: &str) -> Response {
        let kind = "application/x-www-form-urlencoded";
        self.post_with(path, OWN_PAGE, kind, form.as_bytes())
    }

    /// The form token of a page.
    pub fn token(&self, path: &str) -> String {
        let page = self.get(path).body;
        let after = page.split("name=\"token\" value=\"").nth(1).expect("a form");
        after.split('"').next().unwrap().to_owned()
    }

    /// Opens a stream of events.
    pub fn events(&self, path: &str) -> Events {
        let mut stream = self.site.connect();
        stream.write_all(format!("{}\r\n", self.head("GET", path)).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        Events(reader)
    }
}

pub const OWN_PAGE: &str = "Origin: null\r\nSec-Fetch-Site: same-origin\r\n";

/// The events of a stream.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// The data of the next event `name`; `None` at the end of the stream.
    pub fn next(&mut self, name: &str) -> Option<String> {
        let (mut data, mut is_it, mut line) = (vec![], false, String::new());
        loop {
            line.clear();
            // A stream that is cut off ends, too.
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end() {
                "" if is_it && !data.is_empty() => return Some(data.join("\n")),
                text => {
                    let event = text.strip_prefix("event: ");
                    is_it = event.map_or(is_it, |event| event == name);
                    let empty = (text == "data:").then_some("");
                    let text = text.strip_prefix("data: ").or(empty);
                    data.extend(text.filter(|_| is_it).map(str::to_owned));
                }
            }
        }
    }
}
