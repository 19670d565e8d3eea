//! The global namer: literal addresses and linkerd's rewriting namers, all below `/$`.

use super::bind::{Found, Lookup};
use super::path::{Element, Path};
use super::tree::NameTree;

/// The namers below `/$/` by class, for messages.
const KNOWN: &str = "inet, fixedinet, fail, nil, io.buoyant.rinet, io.buoyant.hostportPfx, io.buoyant.porthostPfx, \
     io.buoyant.http.anyMethod[Pfx], anyHost[Pfx], subdomainOf[Pfx], domainToPath[Pfx]";

/// Longest port label that `hostportPfx` takes (RFC 1123: a DNS label).
const LABEL_MAX: usize = 63;

/// Looks up a name below `/$`; `None` for any other. A class nobody knows is a failure, not neg, as in Finagle.
///
/// ```
/// use heddle_core::name::{utility, Found, Lookup, NameTree, Path};
/// let path = Path::parse("/$/io.buoyant.hostportPfx/svc/web:8080/rest")?;
/// let rewritten = Path::parse("/svc/web/8080/rest")?;
/// assert_eq!(utility(&path), Some(Lookup::Tree(NameTree::Leaf(Found::Path(rewritten)))));
/// assert_eq!(utility(&Path::parse("/svc/web")?), None);
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
pub fn utility(path: &Path) -> Option<Lookup> {
    let (first, rest) = path.elements().split_first()?;
    if &**first != b"$" {
        return None;
    }
    let Some((class, rest)) = rest.split_first() else {
        return Some(Lookup::NEG);
    };
    Some(match class.as_str() {
        Some("inet" | "fixedinet") => inet(path, rest).unwrap_or_else(|| unknown(class)),
        Some("fail") => Lookup::Tree(NameTree::Fail),
        Some("nil") => Lookup::Tree(NameTree::Empty),
        Some("io.buoyant.rinet") if rest.len() < 2 => Lookup::NEG,
        Some("io.buoyant.rinet") => Lookup::bound(path, 4),
        Some(class_name) => rewriting(class_name, rest).unwrap_or_else(|| unknown(class)),
        None => unknown(class),
    })
}

/// The host and port that a bound name of this namer stands for: `/$/inet/<host>/<port>`, `/$/inet/<port>`
/// (this host) and their `fixedinet` and `io.buoyant.rinet` forms. `None` for any other name; the inner
/// error says why such a name has no address.
pub fn inet_address(id: &Path) -> Option<Result<(String, u16), String>> {
    let (host, port) = match &id.texts()?[..] {
        ["$", "inet" | "fixedinet", host, port] | ["$", "io.buoyant.rinet", port, host] => {
            (*host, *port)
        }
        ["$", "inet" | "fixedinet", port] => ("localhost", *port),
        _ => return None,
    };
    Some(match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok((host.to_owned(), number)),
        _ => Err(format!(
            "{id} has no address: `{port}` is not a port between 1 and 65535"
        )),
    })
}

/// Host and port, or the port alone when the element after it is no port.
fn inet(path: &Path, rest: &[Element]) -> Option<Lookup> {
    let is_port = |element: Option<&Element>| {
        element
            .and_then(Element::as_str)
            .is_some_and(|text| text.parse::<i32>().is_ok())
    };
    if is_port(rest.get(1)) {
        Some(Lookup::bound(path, 4))
    } else if is_port(rest.first()) {
        Some(Lookup::bound(path, 3))
    } else {
        None
    }
}

fn unknown(class: &Element) -> Lookup {
    Lookup::Failed(format!(
        "no namer is called `/$/{class}` with such arguments; there are {KNOWN}"
    ))
}

/// linkerd's rewriting namers; `None` when there is none of that name.
fn rewriting(class: &str, rest: &[Element]) -> Option<Lookup> {
    let class = class.strip_prefix("io.buoyant.")?;
    if matches!(class, "hostportPfx" | "porthostPfx") {
        return Some(rewrite_host_port(class == "hostportPfx", rest));
    }
    let class = class.strip_prefix("http.")?;
    let (class, prefixed) = match class.strip_suffix("Pfx") {
        Some(class) => (class, true),
        None => (class, false),
    };
    if !matches!(
        class,
        "anyMethod" | "anyHost" | "subdomainOf" | "domainToPath"
    ) {
        return None;
    }
    Some(rewrite_http(class, prefixed, rest))
}

/// `[domain /] [prefix /] subject / rest`, where the domain is for `subdomainOf` alone.
fn rewrite_http(class: &str, prefixed: bool, rest: &[Element]) -> Lookup {
    let (domain, rest) = match (class, rest.split_first()) {
        ("subdomainOf", Some((domain, rest))) => (Some(domain), rest),
        _ => (None, rest),
    };
    let (prefix, rest) = rest.split_at(usize::from(prefixed).min(rest.len()));
    let Some((subject, rest)) = rest.split_first() else {
        return Lookup::NEG;
    };
    let Some(text) = subject.as_str() else {
        return Lookup::NEG;
    };
    let is_host = is_host(text);
    let replaced = match class {
        "anyMethod" if text.bytes().all(|byte| byte.is_ascii_uppercase()) => Vec::new(),
        "anyHost" if is_host => Vec::new(),
        "domainToPath" if is_host => text.trim_end_matches('.').split('.').rev().collect(),
        "subdomainOf" if is_host => match domain
            .and_then(Element::as_str)
            .and_then(|domain| subdomain(text, domain))
        {
            Some(sub) => vec![sub],
            None => return Lookup::NEG,
        },
        _ => return Lookup::NEG,
    };
    joined(prefix, &replaced, rest)
}

fn joined(prefix: &[Element], middle: &[&str], rest: &[Element]) -> Lookup {
    let middle = middle
        .iter()
        .filter(|_| middle != [""])
        .map(|text| text.as_bytes());
    let elements = prefix
        .iter()
        .map(|element| &**element)
        .chain(middle)
        .chain(rest.iter().map(|element| &**element));
    match Path::from_elements(elements) {
        Some(path) => Lookup::Tree(NameTree::Leaf(Found::Path(path))),
        None => Lookup::Failed("the rewritten name has an empty element".to_owned()),
    }
}

/// What linkerd takes for a host: coarse, so that names, IPv4 and IPv6 all pass.
fn is_host(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte))
}

/// The part of `host` before `.domain`, the port left out.
fn subdomain<'h>(host: &'h str, domain: &str) -> Option<&'h str> {
    if !is_host(domain) {
        return None;
    }
    let host = match host.find(':') {
        Some(colon) if colon > 0 => &host[..colon],
        _ => host,
    };
    host.strip_suffix(domain)?
        .strip_suffix('.')
        .filter(|sub| !sub.is_empty())
}

/// `/pfx/host:port/rest`.
fn rewrite_host_port(host_first: bool, rest: &[Element]) -> Lookup {
    let [prefix, subject, rest @ ..] = rest else {
        return Lookup::NEG;
    };
    let pair = subject
        .as_str()
        .and_then(|text| text.trim_end_matches(':').split_once(':'));
    match pair.filter(|(_, port)| is_port_label(port)) {
        Some((host, port)) => {
            let pair = if host_first {
                [host, port]
            } else {
                [port, host]
            };
            joined(std::slice::from_ref(prefix), &pair, rest)
        }
        None => Lookup::NEG,
    }
}

/// A number or a name in lower case, as Kubernetes names ports.
fn is_port_label(port: &str) -> bool {
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    port.len() <= LABEL_MAX
        && port.bytes().next().is_some_and(label)
        && port.bytes().all(|byte| label(byte) || byte == b'-')
}
