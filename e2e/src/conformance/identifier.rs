//! Identifiers: linkerd's kinds, run by Heddle's where there is one.

use super::Outcome;
use super::encoding::text;
use heddle_core::config::Identifier;
use heddle_core::context::parse_local_dtab;
use heddle_core::identify::{Identified, RequestView, consume_path, identify_first};
use heddle_core::name::{Dtab, Path};
use serde_json::{Value, json};

/// What linkerd reads of a context and Heddle does not.
const FOREIGN: [&str; 3] = ["l5d-sample", "l5d-ctx-deadline", "l5d-ctx-trace"];

pub(super) fn run(input: &Value, expect: &Value) -> Outcome {
    let Some(request) = Request::of(&input["request"]) else {
        return match text(input, "kind") {
            Some(kind) => Outcome::Skipped(format!("{kind}: a request of another protocol")),
            None => Outcome::Malformed("the input has no `request` with `headers`".to_owned()),
        };
    };
    let kinds: Vec<&str> = match &input["kind"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Outcome::Malformed("the input has no `kind`".to_owned()),
    };
    if kinds == ["context"] {
        return context(input, expect, &request);
    }
    let mut identifiers = Vec::new();
    for kind in kinds {
        match counterpart(kind, input, &request) {
            Ok(identifier) => identifiers.push(identifier),
            Err(outcome) => return outcome,
        }
    }
    identified(input, &identifiers, &request)
}

/// The identifier of ours that does what linkerd's does.
fn counterpart(kind: &str, input: &Value, request: &Request) -> Result<Identifier, Outcome> {
    let header = || text(input, "header").map(str::to_lowercase);
    let segments = input["segments"].as_i64();
    match kind {
        "io.l5d.header" => Ok(Identifier::Header(
            header().unwrap_or_else(|| "l5d-name".to_owned()),
        )),
        "io.l5d.header.token" => Ok(Identifier::HeaderToken(
            header().unwrap_or_else(|| "host".to_owned()),
        )),
        "io.l5d.header.path" if segments.is_some_and(|segments| segments < 1) => {
            Err(Outcome::error())
        }
        "io.l5d.header.path"
            if header().is_none_or(|name| name == ":path") && segments.is_some() =>
        {
            Ok(Identifier::Path {
                segments: segments.unwrap_or(1) as usize,
                consume: false,
            })
        }
        "io.l5d.header.path" => match header().filter(|_| segments.is_none()) {
            // The same but for targets, whose query and last slash linkerd leaves out.
            Some(name)
                if !request
                    .headers
                    .iter()
                    .any(|(known, value)| *known == name && value.contains(['?', ' '])) =>
            {
                Ok(Identifier::Header(name))
            }
            _ => Err(Outcome::Skipped(format!(
                "{kind} with segments of a header, or without any"
            ))),
        },
        "io.l5d.path" => {
            let segments = segments.unwrap_or(1);
            if segments < 1 {
                return Err(Outcome::error());
            }
            Ok(Identifier::Path {
                segments: segments as usize,
                consume: input["consume"] == true,
            })
        }
        "io.l5d.methodAndHost" if request.h2 => Err(Outcome::Skipped(format!("{kind} of HTTP/2"))),
        "io.l5d.methodAndHost" => Ok(Identifier::MethodHost {
            uri: input["httpUriInDst"] == true,
        }),
        "io.l5d.static" => match text(input, "path") {
            Some(path) => Ok(Identifier::Static(path.trim_start_matches('/').to_owned())),
            None => Err(Outcome::Malformed(
                "a static identifier without `path`".to_owned(),
            )),
        },
        other => Err(Outcome::Skipped(other.to_owned())),
    }
}

fn identified(input: &Value, identifiers: &[Identifier], request: &Request) -> Outcome {
    let prefix = match text(input, "dstPrefix").map(Path::parse) {
        None => None,
        Some(Ok(prefix)) => Some(prefix),
        Some(Err(error)) => return Outcome::Malformed(format!("`dstPrefix`: {error}")),
    };
    match identify_first(identifiers, request) {
        Identified::Name {
            path,
            consumed_segments,
        } => {
            // Ours always begins with `/svc`, theirs with what is configured.
            let path = match prefix {
                Some(prefix) => prefix.concat(&path.drop(1)),
                None => path,
            };
            Outcome::Shows(
                json!({"path": path.to_string(), "uri": consume_path(&request.uri, consumed_segments)}),
            )
        }
        Identified::Unidentified => Outcome::Is(json!({"unidentified": true})),
        Identified::Bad(_) => Outcome::Shows(json!({"error": true, "httpStatus": 400})),
    }
}

/// What a request carries for all hops.
fn context(input: &Value, expect: &Value, request: &Request) -> Outcome {
    let known = [
        "localDtab",
        "removedHeaders",
        "forwardedHeaders",
        "error",
        "httpStatus",
    ];
    let asked = expect
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys);
    let sent = request
        .headers
        .iter()
        .map(|(name, _)| name)
        .filter(|name| FOREIGN.contains(&name.as_str()));
    if let Some(foreign) = asked
        .filter(|key| !known.contains(&key.as_str()))
        .chain(sent)
        .next()
    {
        return Outcome::Skipped(format!("context: {foreign}"));
    }
    let existing = match text(input, "existingLocalDtab").map(Dtab::parse) {
        None => Dtab::empty(),
        Some(Ok(dtab)) => dtab,
        Some(Err(error)) => return Outcome::Malformed(format!("`existingLocalDtab`: {error}")),
    };
    let values = |name: &str| request.headers_all(name);
    match parse_local_dtab(
        &values("l5d-ctx-dtab"),
        &values("l5d-dtab"),
        &values("heddle-dtab"),
    ) {
        Err(_) => Outcome::Shows(json!({"error": true, "httpStatus": 400})),
        Ok(local) => {
            let read = ["l5d-dtab", "l5d-ctx-dtab", "heddle-dtab"];
            let (removed, forwarded): (Vec<_>, Vec<_>) = request
                .headers
                .iter()
                .partition(|(name, _)| read.contains(&name.as_str()));
            let forwarded: serde_json::Map<_, _> = forwarded
                .into_iter()
                .map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect();
            Outcome::Shows(json!({
                "localDtab": existing.concat(&local).to_string(),
                "removedHeaders": removed.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
                "forwardedHeaders": forwarded,
            }))
        }
    }
}

struct Request {
    method: String,
    uri: String,
    path_length: usize,
    http10: bool,
    h2: bool,
    authority: Option<String>,
    headers: Vec<(String, String)>,
}

impl Request {
    fn of(json: &Value) -> Option<Self> {
        let h2 = json["h2"] == true;
        let pseudo = |plain, pseudo| {
            text(json, plain)
                .or_else(|| text(json, pseudo))
                .map(str::to_owned)
        };
        let uri = pseudo("uri", ":path").unwrap_or_else(|| "/".to_owned());
        let mut headers = Vec::new();
        for (name, value) in json["headers"].as_object()? {
            let values = match value {
                Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
                value => vec![value.as_str()?],
            };
            headers.extend(
                values
                    .into_iter()
                    .map(|value| (name.to_lowercase(), value.to_owned())),
            );
        }
        let host = headers
            .iter()
            .find(|(name, _)| name == "host")
            .map(|(_, value)| value.clone());
        Some(Self {
            method: pseudo("method", ":method").unwrap_or_else(|| "GET".to_owned()),
            path_length: uri.find('?').unwrap_or(uri.len()),
            uri,
            http10: text(json, "version") == Some("HTTP/1.0"),
            h2,
            authority: text(json, ":authority").map(str::to_owned).or(host),
            headers,
        })
    }
}

impl RequestView for Request {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.uri[..self.path_length]
    }

    fn query(&self) -> Option<&str> {
        self.uri.get(self.path_length + 1..)
    }

    fn http10(&self) -> bool {
        self.http10
    }

    fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers_all(name).first().copied()
    }

    fn headers_all(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_bytes())
            .collect()
    }
}
