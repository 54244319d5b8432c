//! The object `uci`: the configuration is read, staged, applied, confirmed and rolled back.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::router::Router;
use crate::session::{Rights, Session};
use crate::ubus::{Answer, Args, INVALID, NO_DATA, NO_METHOD, NOT_FOUND, OK, REFUSED, UNKNOWN};
use crate::uci::{Package, Row, Section, is_kind, is_name};

impl Router {
    /// Calls a method of `uci`.
    pub(crate) fn uci(
        &mut self,
        (sid, rights): (&str, &Rights),
        method: &str,
        args: &Args<'_>,
    ) -> Result<Answer, Answer> {
        match method {
            "configs" => {
                let names: Vec<_> = self.files.keys().collect();
                return Ok(Answer::Result(0, Some(json!({ "configs": names }))));
            }
            "changes" if args.text("config")?.is_none() => {
                let staged = &self.sessions[sid].staged;
                return Ok(Answer::Result(0, Some(json!({ "changes": staged }))));
            }
            // This precedes the check of the arguments.
            "revert" | "commit" if self.is_pending() => return Ok(REFUSED),
            "apply" => return Ok(self.asked_to_apply(sid, args)),
            "confirm" | "rollback" => return Ok(self.asked_to_end(sid, method)),
            "get" | "changes" | "set" | "add" | "delete" | "rename" | "order" | "revert"
            | "commit" => {}
            _ => return Ok(NO_METHOD),
        }
        let config = args.must("config")?;
        let writes = !["get", "changes"].contains(&method);
        if !rights.may_uci(config, writes) {
            return Ok(REFUSED);
        }
        if !self.files.contains_key(config) {
            return Ok(NOT_FOUND);
        }
        if self.unparsed == Some(config) || self.cut.contains(config) {
            return Ok(UNKNOWN);
        }
        match method {
            "changes" => {
                let rows = self.sessions[sid].staged.get(config).cloned().unwrap_or_default();
                return Ok(Answer::Result(0, Some(json!({ "changes": rows }))));
            }
            "revert" => {
                if let Some(session) = self.sessions.get_mut(sid) {
                    session.staged.remove(config);
                }
                self.look_anew();
                return Ok(OK);
            }
            "commit" => {
                self.write(sid, &[config.to_owned()]);
                return Ok(OK);
            }
            _ => {}
        }
        let package = self.view(sid, config).ok_or(NOT_FOUND)?;
        let mut value = None;
        let rows = match method {
            "get" => return get(package, args),
            "set" => set(package, args)?,
            "add" => {
                let (name, rows) = add(package, args)?;
                value = Some(json!({ "section": name }));
                rows
            }
            "delete" => delete(package, args)?,
            "rename" => {
                let (section, name) = (args.must("section")?, args.must("name")?);
                let at = package.find(section).ok_or(NOT_FOUND)?;
                vec![vec![json!("rename"), json!(package.sections[at].name), json!(name)]]
            }
            _ => order(package.clone(), &args.array("sections").ok_or(INVALID)?)?,
        };
        self.stage(sid, config, rows);
        Ok(Answer::Result(0, value))
    }

    fn asked_to_apply(&mut self, sid: &str, args: &Args<'_>) -> Answer {
        let rollback = args.0.get("rollback").and_then(Value::as_bool).unwrap_or(false);
        match &mut self.pending {
            Some(_) if rollback => return REFUSED,
            // Nothing is applied, but the state for the rollback of the pending change is lost,
            // whoever has made it.
            Some(pending) => {
                pending.forget();
                return OK;
            }
            None => {}
        }
        let Session { staged, rights, .. } = &self.sessions[sid];
        if staged.is_empty() {
            return NO_DATA;
        }
        if !staged.keys().all(|config| rights.may_uci(config, true)) {
            return REFUSED;
        }
        let timeout = args.number("timeout").and_then(|it| u64::try_from(it).ok()).unwrap_or(60);
        self.apply(sid, rollback.then(|| Duration::from_secs(timeout)));
        OK
    }

    fn asked_to_end(&mut self, sid: &str, method: &str) -> Answer {
        match &self.pending {
            None => return NO_DATA,
            Some(pending) if pending.session != sid => return REFUSED,
            Some(_) => {}
        }
        match method {
            "confirm" => self.pending = None,
            _ => self.roll_back(),
        }
        OK
    }
}

fn get(package: &Package, args: &Args<'_>) -> Result<Answer, Answer> {
    let value = match (args.text("section")?, args.text("option")?) {
        (Some(section), Some(option)) => {
            let value = package.section(section).and_then(|it| it.json_of(option));
            value.map(|value| json!({ "value": value }))
        }
        (Some(section), None) => {
            package.section(section).map(|it| json!({ "values": it.json(None) }))
        }
        (None, _) => {
            let none = Map::new();
            let matched = args.object("match").unwrap_or(&none);
            let which = package.matching(args.text("type")?, matched);
            Some(json!({ "values": package.json(&which) }))
        }
    };
    Ok(Answer::Result(0, value))
}

/// The sections that a call selects: by name, or by matching options.
fn about(package: &Package, args: &Args<'_>) -> Result<Vec<usize>, Answer> {
    match args.text("section")? {
        Some(section) => package.find(section).map(|at| vec![at]).ok_or(NOT_FOUND),
        None => {
            let none = Map::new();
            let matched = args.object("match").unwrap_or(&none);
            let kind = args.text("type")?;
            if kind.is_none() && matched.is_empty() {
                return Err(INVALID);
            }
            Ok(package.matching(kind, matched))
        }
    }
}

fn set(package: &Package, args: &Args<'_>) -> Result<Vec<Row>, Answer> {
    let values = args.object("values").ok_or(INVALID)?;
    let mut rows = vec![];
    for at in about(package, args)? {
        for (key, value) in values {
            rows.extend(package.sections[at].rows(key, value).ok_or(INVALID)?);
        }
    }
    Ok(rows)
}

/// Adds a section, or changes the type or adds options of an existing one.
fn add(package: &Package, args: &Args<'_>) -> Result<(String, Vec<Row>), Answer> {
    let kind = args.must("type")?;
    let name = args.text("name")?;
    if !is_kind(kind) || !name.is_none_or(is_name) {
        return Err(INVALID);
    }
    let there = name.and_then(|name| package.section(name));
    let mut rows: Vec<Row> = vec![];
    let name = match name {
        Some(name) => {
            if there.is_none_or(|there| there.kind != kind) {
                rows.push(vec![json!("set"), json!(name), json!(kind)]);
            }
            name.to_owned()
        }
        None => {
            let name = package.next_name(kind);
            rows.push(vec![json!("add"), json!(name), json!(kind)]);
            name
        }
    };
    let new = Section { name, is_anonymous: false, kind: kind.to_owned(), options: vec![] };
    let section = there.unwrap_or(&new);
    for (key, value) in args.object("values").into_iter().flatten() {
        // Unlike `set`, `add` appends to an existing list, and accepts an empty one.
        rows.extend(match value.as_array() {
            Some(list) => section.list_rows(key, list).ok_or(INVALID)?,
            None => section.rows(key, value).ok_or(INVALID)?,
        });
    }
    let name = section.name.clone();
    Ok((name, rows))
}

fn delete(package: &Package, args: &Args<'_>) -> Result<Vec<Row>, Answer> {
    let mut options = args.array("options");
    if let Some(option) = args.text("option")? {
        options = Some(vec![option]);
    }
    let mut rows = vec![];
    for at in about(package, args)? {
        let section = &package.sections[at];
        let Some(options) = &options else {
            rows.push(vec![json!("remove"), json!(section.name)]);
            continue;
        };
        for option in options {
            section.json_of(option).ok_or(NOT_FOUND)?;
            rows.push(vec![json!("remove"), json!(section.name), json!(option)]);
        }
    }
    Ok(rows)
}

/// Orders the sections `names`; only those that have to move do.
fn order(mut package: Package, names: &[&str]) -> Result<Vec<Row>, Answer> {
    let mut rows = vec![];
    for (to, name) in names.iter().enumerate() {
        let at = package.find(name).ok_or(NOT_FOUND)?;
        if at != to {
            let row = vec![json!("order"), json!(name), json!(to)];
            package.follow(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}
