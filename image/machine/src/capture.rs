//! What a guest or a child says, read as it comes.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How much is kept in memory, in bytes. The file has all of it.
const MAX_BUFFERED: usize = 1 << 20;

/// Called with each piece of text as it comes.
pub type Listener = Box<dyn FnMut(&[u8]) + Send>;

/// The text of one stream, read by a thread of its own.
#[derive(Clone)]
pub struct Capture {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: Vec<u8>,
    /// Bytes that came before `text` and were dropped.
    dropped: usize,
    ended: bool,
}

impl Capture {
    /// Reads `stream` to its end, also into `file` and to `listener`.
    pub fn start(
        mut stream: impl Read + Send + 'static,
        mut file: Option<File>,
        mut listener: Option<Listener>,
    ) -> Self {
        let capture = Self { shared: Arc::default() };
        let shared = Arc::clone(&capture.shared);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let bytes = &buffer[..count];
                shared.lock().push(bytes);
                shared.changed.notify_all();
                // A full disk must not stop the guest; what is in memory is still there.
                if file.as_mut().is_some_and(|file| file.write_all(bytes).is_err()) {
                    file = None;
                }
                if let Some(listener) = &mut listener {
                    listener(bytes);
                }
            }
            shared.lock().ended = true;
            shared.changed.notify_all();
        });
        capture
    }

    /// All text that is kept, without escape sequences.
    pub fn text(&self) -> String {
        plain(&self.shared.lock().text)
    }

    /// The last `lines` lines, without escape sequences.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits until `needle` has been read, and says when that was seen; `None` if the stream ends
    /// or `deadline` comes first.
    pub fn wait_for(&self, needle: &str, deadline: Instant) -> Option<Instant> {
        self.wait_for_any(&[needle], deadline)
    }

    /// The same for the first of several.
    pub fn wait_for_any(&self, needles: &[&str], deadline: Instant) -> Option<Instant> {
        self.wait_from(0, needles, deadline).map(|_| Instant::now())
    }

    /// The same for the first of several in what came after the first `from` bytes. Returns which one it is, and
    /// how many bytes came up to its end.
    pub fn wait_from(
        &self,
        from: usize,
        needles: &[&str],
        deadline: Instant,
    ) -> Option<(usize, usize)> {
        let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or_default();
        let mut searched = from;
        let mut state = self.shared.lock();
        loop {
            let from = (searched.max(state.dropped) - state.dropped).min(state.text.len());
            let fresh = &state.text[from..];
            let end = |needle: &str| {
                let at = fresh.windows(needle.len()).position(|window| window == needle.as_bytes());
                at.map(|at| state.dropped + from + at + needle.len())
            };
            let found =
                needles.iter().enumerate().filter_map(|(which, it)| Some((which, end(it)?)));
            if let Some(first) = found.min_by_key(|(_, end)| *end) {
                return Some(first);
            }
            searched = searched.max((state.dropped + state.text.len()).saturating_sub(longest));
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the stream has ended, so that nothing is missing from its text.
    pub fn wait_end(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let state = self.shared.lock();
        drop(self.shared.changed.wait_timeout_while(state, left, |state| !state.ended));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        if self.text.len() > MAX_BUFFERED {
            let excess = self.text.len() - MAX_BUFFERED / 2;
            self.text.drain(..excess);
            self.dropped += excess;
        }
    }
}

/// Text without escape sequences and carriage returns.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    anstream::adapter::strip_str(&text).to_string().replace('\r', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(180);

    #[test]
    fn finds_text_that_comes_in_pieces() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let capture = Capture::start(reader, None, None);
        writer.write_all(b"\x1b[1mhel").unwrap();
        let waiting = capture.clone();
        let found = std::thread::spawn(move || waiting.wait_for("hello", Instant::now() + SOON));
        writer.write_all(b"lo\x1b[0m\r\nworld\r\n").unwrap();
        assert!(found.join().unwrap().is_some());
        assert!(capture.wait_for_any(&["no", "ell"], Instant::now() + SOON).is_some());
        let (which, end) = capture.wait_from(0, &["no", "el"], Instant::now() + SOON).unwrap();
        assert_eq!((which, end), (1, "\x1b[1mhel".len()));
        assert_eq!(capture.wait_from(end, &["el"], Instant::now()), None);
        drop(writer);
        capture.wait_end(Instant::now() + SOON);
        assert_eq!(capture.text(), "hello\nworld\n");
        assert_eq!(capture.tail(1), "world");
        assert_eq!(capture.wait_for("nothing", Instant::now() + SOON), None);
    }

    #[test]
    fn keeps_a_bounded_amount() {
        let capture = Capture::start(std::io::repeat(b'x').take(5 << 20), None, None);
        capture.wait_end(Instant::now() + SOON);
        let kept = capture.text().len();
        assert!((MAX_BUFFERED / 2..=MAX_BUFFERED).contains(&kept), "{kept}");
    }
}
