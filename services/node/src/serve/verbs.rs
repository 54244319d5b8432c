//! A service's verbs, with their handlers and typed arguments.
//!
//! The arguments of a verb are declared once: `describe` lists them, requests are validated against them, and
//! the handler receives them typed. The kind of handler depends on the server: a blocking function
//! ([`threads`](super::threads)) or a future (`tasks`).

use octet_control::file::FileArg;
use octet_control::{
    Arg, ArgKind, Arguments, By, DESCRIBE, Failure, FailureCode, Permission, PublicKey, Request,
    Signed, Verb,
};

/// Converts validated arguments to their types.
pub(super) type ParseArgs<T> = Box<dyn Fn(&Arguments) -> Result<T, Failure> + Send + Sync>;

/// The next sequence number to sign.
type Next<S> = Box<dyn Fn(&S) -> u64 + Send + Sync>;

/// All verbs of a service with the state `S`, each with a handler `A`; `describe`, which lists them, is
/// included.
pub struct Verbs<S, A> {
    all: Vec<Entry<S, A>>,
}

struct Entry<S, A> {
    verb: Verb,
    signed: Option<Next<S>>,
    /// `None` for `describe`.
    answer: Option<A>,
}

/// A request of a client `P` with valid arguments.
pub struct Call<'a, P> {
    pub peer: &'a mut P,
    /// The effective caller: PID 1's user for operators.
    pub uid: u32,
    pub id: u64,
    pub verb: String,
    pub args: Arguments,
    /// The operator, if it is an operator's request.
    pub by: Option<By>,
}

/// The arguments of a verb, with their types.
pub struct VerbArgs<T> {
    pub(super) args: Vec<Arg>,
    pub(super) read: ParseArgs<T>,
}

impl<S, A> Default for Verbs<S, A> {
    /// Only `describe`.
    fn default() -> Self {
        let verb =
            Verb::new(DESCRIBE, Permission::Read, "Lists these verbs, for programs").internal();
        Self { all: vec![Entry { verb, signed: None, answer: None }] }
    }
}

impl<S, A> Verbs<S, A> {
    /// Adds `verb`, which takes `args` and has the handler `answer`.
    pub(super) fn add(mut self, mut verb: Verb, args: Vec<Arg>, answer: A) -> Self {
        verb.args.extend(args);
        self.all.push(Entry { verb, signed: None, answer: Some(answer) });
        self
    }

    /// Marks calls of the last added verb as signed by their caller, with the sequence number that `next`
    /// gives.
    #[must_use]
    pub fn signed(mut self, next: impl Fn(&S) -> u64 + Send + Sync + 'static) -> Self {
        if let Some(last) = self.all.last_mut() {
            last.verb = last.verb.clone().signed(0);
            last.signed = Some(Box::new(next));
        }
        self
    }

    /// The list for `describe`.
    pub fn list(&self, state: &S) -> Vec<Verb> {
        let described = |entry: &Entry<S, A>| {
            let sequence = entry.signed.as_ref().map(|next| next(state));
            let signed = sequence.map(|sequence| Signed { sequence });
            Verb { signed, ..entry.verb.clone() }
        };
        self.all.iter().map(described).collect()
    }

    /// Validates `request` of `peer`, a process of user `uid`. Returns the call and its handler, which is
    /// `None` for `describe`.
    ///
    /// # Errors
    /// The verb is unknown, or its arguments are invalid.
    pub(super) fn call<'a, P>(
        &self,
        peer: &'a mut P,
        uid: u32,
        request: Request,
    ) -> Result<(Call<'a, P>, Option<&A>), Failure> {
        let Request { id, verb, args, by, .. } = request;
        let entry = self.all.iter().find(|entry| entry.verb.name == verb);
        let entry = entry.ok_or_else(|| Verb::unknown(&verb))?;
        let args = entry.verb.check(args)?;
        Ok((Call { peer, uid, id, verb, args, by }, entry.answer.as_ref()))
    }
}

impl<T: 'static> VerbArgs<T> {
    fn one(
        name: &'static str,
        kind: ArgKind,
        required: bool,
        help: &str,
        read: impl Fn(&Arguments) -> T + Send + Sync + 'static,
    ) -> Self {
        let arg = Arg { name: name.to_owned(), help: help.to_owned(), kind, required, short: None };
        Self { args: vec![arg], read: Box::new(move |args| Ok(read(args))) }
    }

    /// These arguments, followed by `next`.
    #[must_use]
    pub fn and<U: 'static>(self, next: VerbArgs<U>) -> VerbArgs<(T, U)> {
        let (first, second) = (self.read, next.read);
        let args = [self.args, next.args].concat();
        VerbArgs { args, read: Box::new(move |args| Ok((first(args)?, second(args)?))) }
    }

    /// Converts the arguments with `parse`; its failure is the answer.
    #[must_use]
    pub fn parse<U>(
        self,
        parse: impl Fn(T) -> Result<U, Failure> + Send + Sync + 'static,
    ) -> VerbArgs<U> {
        let read = self.read;
        VerbArgs { args: self.args, read: Box::new(move |args| parse(read(args)?)) }
    }
}

pub fn nothing() -> VerbArgs<()> {
    VerbArgs { args: vec![], read: Box::new(|_| Ok(())) }
}

/// A required text; positional on a command line.
pub fn text(name: &'static str, help: &str) -> VerbArgs<String> {
    let read = move |args: &Arguments| args.text(name).unwrap_or_default().to_owned();
    VerbArgs::one(name, ArgKind::Text, true, help, read)
}

/// A required public key; positional on a command line.
pub fn public_key(name: &'static str, help: &str) -> VerbArgs<PublicKey> {
    text(name, help).parse(|text| {
        text.parse().map_err(|_| {
            let message = format!("`{text}` is not a key");
            let help = "write a public key, which begins with did:key:";
            Failure::new(FailureCode::BadArgument, message, help)
        })
    })
}

/// An optional text; positional on a command line.
pub fn optional_text(name: &'static str, help: &str) -> VerbArgs<Option<String>> {
    let read = move |args: &Arguments| args.text(name).map(str::to_owned);
    VerbArgs::one(name, ArgKind::Text, false, help, read)
}

/// An optional text; `--name VALUE` on a command line.
pub fn option(name: &'static str, help: &str) -> VerbArgs<Option<String>> {
    let read = move |args: &Arguments| args.text(name).map(str::to_owned);
    VerbArgs::one(name, ArgKind::Option, false, help, read)
}

/// A required integer; `--name N` on a command line.
pub fn integer(name: &'static str, help: &str) -> VerbArgs<u64> {
    let read = move |args: &Arguments| args.integer(name).unwrap_or_default();
    VerbArgs::one(name, ArgKind::Integer, true, help, read)
}

/// An optional integer; `--name N` on a command line.
pub fn optional_integer(name: &'static str, help: &str) -> VerbArgs<Option<u64>> {
    VerbArgs::one(name, ArgKind::Integer, false, help, move |args| args.integer(name))
}

/// A flag; `--name` on a command line.
pub fn flag(name: &'static str, help: &str) -> VerbArgs<bool> {
    VerbArgs::one(name, ArgKind::Flag, false, help, move |args| args.flag(name))
}

/// A required file, whose content is read from the [`Call`]'s peer. On a command line its path, positional.
pub fn file(name: &'static str, help: &str) -> VerbArgs<FileArg> {
    let none = FileArg { size: None, sha256: None };
    let read = move |args: &Arguments| args.file(name).unwrap_or_else(|| none.clone());
    VerbArgs::one(name, ArgKind::File, true, help, read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;
    use crate::serve::threads::Verbs;
    use octet_control::FailureCode;
    use octet_control::settings::{APPLY, CHECK};
    use serde_json::{Map, Value, json};
    use std::os::unix::net::UnixStream;

    fn verbs() -> Verbs<u64> {
        let even = |number: u64| {
            let odd = || Failure::new(FailureCode::BadArgument, format!("{number} is odd"), "");
            number.is_multiple_of(2).then_some(number).ok_or_else(odd)
        };
        Verbs::default()
            .with(
                Verb::new("add", Permission::Operate, "Adds"),
                integer("to", "an even number").parse(even).and(flag("twice", "two times")),
                |state: &u64, call, (to, twice)| {
                    Ok(json!([to + state * if twice { 2 } else { 1 }, call.uid]))
                },
            )
            .signed(|state| state + 1)
            .with(
                Verb::new("say", Permission::Read, "Says"),
                text("what", "").and(option("how", "")).and(optional_text("why", "")),
                |_, call, ((what, how), why)| Ok(json!([call.verb, what, how, why])),
            )
            .with_settings(
                |_| Ok(()),
                |state| Err(Failure::new(FailureCode::Failed, state.to_string(), "")),
            )
    }

    fn ask(verb: &str, args: Value) -> Result<Value, Failure> {
        let args: Map<String, Value> = serde_json::from_value(args).unwrap();
        let request = Request { id: 7, unit: None, verb: verb.to_owned(), args, by: None };
        let mut peer = Peer::new(UnixStream::pair().unwrap().0);
        verbs().answer(&20, &mut peer, 901, request)
    }

    #[test]
    fn a_verb_is_answered_with_what_it_says_that_it_takes() {
        assert_eq!(ask("add", json!({ "to": 2 })).unwrap(), json!([22, 901]));
        assert_eq!(ask("add", json!({ "to": 2, "twice": true })).unwrap(), json!([42, 901]));
        let said = ask("say", json!({ "what": "a", "how": "b" })).unwrap();
        assert_eq!(said, json!(["say", "a", "b", null]));
        assert_eq!(ask(CHECK, json!({})).unwrap(), Value::Null);
        assert_eq!(ask(APPLY, json!({})).unwrap_err().message, "20");
        for (verb, args, code) in [
            ("add", json!({ "to": 3 }), FailureCode::BadArgument),
            ("add", json!({}), FailureCode::BadArgument),
            ("add", json!({ "to": "2" }), FailureCode::BadArgument),
            ("say", json!({ "what": "a", "who": "b" }), FailureCode::BadArgument),
            ("describe", json!({ "who": "b" }), FailureCode::BadArgument),
            ("subtract", json!({}), FailureCode::NotFound),
        ] {
            assert_eq!(ask(verb, args.clone()).unwrap_err().code, code, "{verb} {args}");
        }
    }

    #[test]
    fn describe_lists_all_in_their_order() {
        let list: Vec<Verb> = serde_json::from_value(ask(DESCRIBE, json!({})).unwrap()).unwrap();
        let names: Vec<&str> = list.iter().map(|verb| verb.name.as_str()).collect();
        assert_eq!(names, [DESCRIBE, "add", "say", CHECK, APPLY]);
        let args = |verb: &Verb| -> Vec<(String, ArgKind, bool)> {
            verb.args.iter().map(|arg| (arg.name.clone(), arg.kind, arg.required)).collect()
        };
        let as_before = Verb::new("add", Permission::Operate, "Adds")
            .required("to", ArgKind::Integer, "an even number")
            .optional("twice", ArgKind::Flag, "two times")
            .signed(21);
        assert_eq!(list[1], as_before);
        assert_eq!(
            args(&list[2]),
            [
                ("what".to_owned(), ArgKind::Text, true),
                ("how".to_owned(), ArgKind::Option, false),
                ("why".to_owned(), ArgKind::Text, false),
            ]
        );
    }
}
