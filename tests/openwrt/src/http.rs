//! The router's HTTP interface: `uhttpd` with JSON-RPC at `/ubus`, and with paths.

use serde_json::{Map, Value, json};

use crate::router::Router;
use crate::session::NOBODY;
use crate::ubus::{Answer, methods};

/// The maximum size of a request, in bytes.
pub const LONGEST: usize = 65536;

#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Usually `POST`.
    pub method: String,
    /// Usually `/ubus`.
    pub path: String,
    pub bearer: Option<String>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 or 404.
    pub status: u16,
    /// The content type of the body, if any.
    pub kind: Option<&'static str>,
    pub body: Vec<u8>,
}

const JSON: &str = "application/json";
const PARSE: Answer = Answer::Error(-32700, "Parse error");

impl Response {
    fn json(value: &Value) -> Self {
        Self { status: 200, kind: Some(JSON), body: value.to_string().into_bytes() }
    }

    fn missing() -> Self {
        Self { status: 404, kind: None, body: vec![] }
    }
}

/// The response to the call with this `id`.
fn reply(id: &Value, answer: Answer) -> Value {
    match answer {
        Answer::Result(code, None) => json!({ "jsonrpc": "2.0", "id": id, "result": [code] }),
        Answer::Result(code, Some(value)) => {
            json!({ "jsonrpc": "2.0", "id": id, "result": [code, value] })
        }
        Answer::Error(code, message) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    }
}

impl Request {
    /// The called methods, such as `uci.get`: all of a batch.
    pub fn calls(&self) -> Vec<String> {
        let call = |call: &Value| {
            let word = |at: usize| call["params"][at].as_str().map(str::to_owned);
            Some(format!("{}.{}", word(1)?, word(2)?))
        };
        match serde_json::from_slice(&self.body) {
            Ok(Value::Array(all)) => all.iter().filter_map(call).collect(),
            Ok(one) => call(&one).into_iter().collect(),
            Err(_) => vec![],
        }
    }
}

impl Router {
    /// Handles a request; `None` if it is too long.
    pub fn handle(&mut self, request: &Request) -> Option<Response> {
        if request.body.len() > LONGEST {
            return None;
        }
        let path: Vec<_> = request.path.split('/').skip(1).collect();
        Some(match (request.method.as_str(), &path[..]) {
            ("OPTIONS", ["ubus"]) => Response { status: 200, kind: Some(JSON), body: vec![] },
            ("POST", ["ubus"]) => Response::json(&self.rpc(&request.body)),
            ("GET", ["ubus", "list", object]) => {
                Response::json(&methods(object).unwrap_or_default())
            }
            ("POST", ["ubus", "call", object]) => self.by_path(request, object),
            (_, ["ubus", ..]) => Response::missing(),
            _ => {
                let body = format!(
                    "<h1>Not Found</h1>The requested URL {} was not found on this server.",
                    request.path
                );
                Response { status: 404, kind: Some("text/html"), body: body.into_bytes() }
            }
        })
    }

    fn by_path(&mut self, request: &Request, object: &str) -> Response {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let sid = request.bearer.as_deref().unwrap_or(NOBODY);
        let none = Map::new();
        let args = body["params"].as_object().unwrap_or(&none);
        let answer = self.call(sid, object, body["method"].as_str().unwrap_or_default(), args);
        Response::json(&match answer {
            Answer::Result(_, Some(value)) => {
                json!({ "jsonrpc": "2.0", "id": body["id"], "result": value })
            }
            other => reply(&body["id"], other),
        })
    }

    fn rpc(&mut self, body: &[u8]) -> Value {
        match serde_json::from_slice(body) {
            Ok(Value::Array(all)) => all.iter().map(|one| self.rpc_call(one)).collect(),
            Ok(one @ Value::Object(_)) => self.rpc_call(&one),
            _ => reply(&Value::Null, PARSE),
        }
    }

    fn rpc_call(&mut self, call: &Value) -> Value {
        let id = &call["id"];
        if call["jsonrpc"] != "2.0" {
            return reply(id, PARSE);
        }
        match call["method"].as_str() {
            Some("list") => {
                let result = match call["params"].as_array() {
                    None => json!(self.objects()),
                    Some(which) => {
                        let of = |name: &Value| {
                            let name = name.as_str()?;
                            Some((name.to_owned(), methods(name)?))
                        };
                        Value::Object(which.iter().filter_map(of).collect())
                    }
                };
                json!({ "jsonrpc": "2.0", "id": id, "result": result })
            }
            Some("call") => {
                let params = call["params"].as_array().map(Vec::as_slice);
                match params {
                    Some(
                        [
                            Value::String(sid),
                            Value::String(object),
                            Value::String(method),
                            Value::Object(args),
                            ..,
                        ],
                    ) => reply(id, self.call(sid, object, method, args)),
                    _ => reply(id, PARSE),
                }
            }
            Some(_) => reply(id, Answer::Error(-32601, "Method not found")),
            None => reply(id, PARSE),
        }
    }
}
