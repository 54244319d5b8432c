//! Links for one use, and the sessions that they begin. Pure: the time and the random tokens are passed in.

use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

/// How long a link can be used.
pub const LINK_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// How long a session lasts without a request.
pub const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);

/// Sessions at a time; of more, the oldest ends.
pub const MAX_SESSIONS: usize = 8;

/// A secret of 128 random bits, as 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn random() -> std::io::Result<Self> {
        Ok(Self(random_text::<16>("0123456789abcdef", 2)?))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares in constant time, so that the time of a refusal says nothing about the secret.
    fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

/// A random host name of 16 letters and digits: 80 bits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn random_name() -> std::io::Result<String> {
    random_text::<16>("abcdefghijklmnopqrstuvwxyz234567", 1)
}

/// `digits` characters for each of `N` random bytes, from `alphabet`, whose length is a power of two.
fn random_text<const N: usize>(alphabet: &str, digits: u32) -> std::io::Result<String> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    let alphabet = alphabet.as_bytes();
    let digit = |byte: u8, place: u32| {
        let index = usize::from(byte) >> (place * alphabet.len().ilog2());
        char::from(alphabet[index % alphabet.len()])
    };
    Ok(bytes.iter().flat_map(|&byte| (0..digits).map(move |place| digit(byte, place))).collect())
}

/// The link that is valid now, and the open sessions.
#[derive(Default)]
pub struct Sessions {
    link: Option<(Token, Instant)>,
    /// The oldest first.
    open: Vec<Session>,
}

struct Session {
    cookie: Token,
    form: Token,
    last_request: Instant,
}

impl Sessions {
    /// Makes `token` the one that is valid; one before it is not any more.
    pub fn set_link(&mut self, token: Token, now: Instant) {
        self.link = Some((token, now + LINK_LIFETIME));
    }

    /// Whether `token` is that of the link; then it is used up, and a session with the tokens `cookie` and `form` begins.
    pub fn enter(&mut self, token: &str, cookie: Token, form: Token, now: Instant) -> bool {
        let valid = self.link.as_ref().is_some_and(|(link, end)| link.is(token) && now < *end);
        if valid {
            self.link = None;
            self.end_idle(now);
            if self.open.len() >= MAX_SESSIONS {
                self.open.remove(0);
            }
            self.open.push(Session { cookie, form, last_request: now });
        }
        valid
    }

    /// The form token of the session with this cookie, whose idle time starts again; `None` if there is no such session.
    pub fn request(&mut self, cookie: &str, now: Instant) -> Option<Token> {
        self.end_idle(now);
        let session = self.open.iter_mut().find(|session| session.cookie.is(cookie))?;
        session.last_request = now;
        Some(session.form.clone())
    }

    /// Whether the session with this cookie is open. Its idle time goes on.
    pub fn is_open(&mut self, cookie: &str, now: Instant) -> bool {
        self.end_idle(now);
        self.open.iter().any(|session| session.cookie.is(cookie))
    }

    fn end_idle(&mut self, now: Instant) {
        self.open.retain(|session| now < session.last_request + SESSION_IDLE);
    }
}

/// Whether a form's token is the session's.
pub fn is_form_token(of_session: &Token, of_form: &str) -> bool {
    of_session.is(of_form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> Token {
        Token::random().unwrap()
    }

    #[test]
    fn secrets_are_long_and_differ() {
        let (one, two) = (token(), token());
        assert!(one != two && one.as_str().len() == 32, "{}", one.as_str());
        assert!(one.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
        let name = random_name().unwrap();
        assert!(
            name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{name}"
        );
        assert_ne!(name, random_name().unwrap());
    }

    #[test]
    fn a_link_is_for_one_use_in_five_minutes() {
        let (now, mut sessions) = (Instant::now(), Sessions::default());
        let link = token();
        sessions.set_link(link.clone(), now);
        assert!(!sessions.enter("guess", token(), token(), now));
        assert!(sessions.enter(link.as_str(), token(), token(), now));
        assert!(!sessions.enter(link.as_str(), token(), token(), now));
        for (after, valid) in
            [(LINK_LIFETIME - Duration::from_secs(1), true), (LINK_LIFETIME, false)]
        {
            sessions.set_link(link.clone(), now);
            assert_eq!(sessions.enter(link.as_str(), token(), token(), now + after), valid);
        }
        // A new link replaces the one before.
        let next = token();
        sessions.set_link(link.clone(), now);
        sessions.set_link(next.clone(), now);
        assert!(!sessions.enter(link.as_str(), token(), token(), now));
        assert!(sessions.enter(next.as_str(), token(), token(), now));
    }

    #[test]
    fn a_session_ends_when_it_is_idle() {
        let (start, mut sessions) = (Instant::now(), Sessions::default());
        let (link, cookie, form) = (token(), token(), token());
        sessions.set_link(link.clone(), start);
        assert!(sessions.enter(link.as_str(), cookie.clone(), form.clone(), start));
        let almost = SESSION_IDLE - Duration::from_secs(1);
        assert!(
            sessions.request(cookie.as_str(), start + almost).is_some_and(|found| found == form)
        );
        // Only looking is no activity.
        assert!(sessions.is_open(cookie.as_str(), start + almost + almost));
        assert!(!sessions.is_open(cookie.as_str(), start + almost + SESSION_IDLE));
        assert!(sessions.request(cookie.as_str(), start + almost + SESSION_IDLE).is_none());
    }

    #[test]
    fn the_oldest_of_too_many_goes() {
        let (now, mut sessions) = (Instant::now(), Sessions::default());
        let cookies: Vec<Token> = (0..=MAX_SESSIONS).map(|_| token()).collect();
        for cookie in &cookies {
            let link = token();
            sessions.set_link(link.clone(), now);
            assert!(sessions.enter(link.as_str(), cookie.clone(), token(), now));
        }
        let open: Vec<bool> = cookies.iter().map(|it| sessions.is_open(it.as_str(), now)).collect();
        assert_eq!((open[0], open[1..].iter().all(|&it| it)), (false, true));
    }

    proptest! {
        #[test]
        fn only_the_token_itself_enters(guess: String) {
            let (now, mut sessions, link) = (Instant::now(), Sessions::default(), token());
            sessions.set_link(link.clone(), now);
            prop_assert_eq!(sessions.enter(&guess, token(), token(), now), guess == link.as_str());
            prop_assert!(sessions.request(&guess, now).is_none());
        }
    }
}
