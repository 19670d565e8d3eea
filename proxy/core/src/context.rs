//! What travels with a request across hops.
//!
//! Pure. The header `heddle-context` is a dictionary of RFC 9651: `deadline` (milliseconds left),
//! `retries` (retry tokens left) and `dtab` (overrides, as bytes); members that are not known are
//! ignored, so that versions can be mixed.

use crate::name::Dtab;
use sfv::{BareItem, DictSerializer, Dictionary, KeyRef, ListEntry};
use std::time::Duration;

/// Digits that `grpc-timeout` may have (gRPC over HTTP/2, "Requests").
const GRPC_TIMEOUT_DIGITS: usize = 8;

/// The context of one request at one hop.
///
/// ```
/// use heddle_core::context::HopContext;
/// use std::time::Duration;
/// let context = HopContext::parse(b"deadline=1800, retries=2, colour=blue").unwrap();
/// assert_eq!(context.deadline, Some(Duration::from_millis(1800)));
/// assert_eq!(context.show().as_deref(), Some("deadline=1800, retries=2"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HopContext {
    /// Time left until the caller gives up; in whole milliseconds on the wire.
    pub deadline: Option<Duration>,
    /// Retries left for all hops together.
    pub retries: Option<u32>,
    /// Overrides of this request only.
    pub dtab: Dtab,
}

impl HopContext {
    /// Reads the value of `heddle-context`; several header lines are joined by `, ` before.
    ///
    /// # Errors
    /// Says what is malformed; the whole value is refused then, since half a context is another context.
    pub fn parse(value: &[u8]) -> Result<Self, String> {
        let members: Dictionary = sfv::Parser::new(value)
            .parse()
            .map_err(|error| format!("it is no structured dictionary: {error}"))?;
        let mut context = Self::default();
        for (key, member) in &members {
            let item = match member {
                ListEntry::Item(item) => Some(&item.bare_item),
                ListEntry::InnerList(_) => None,
            };
            match key.as_str() {
                "deadline" => {
                    context.deadline = Some(Duration::from_millis(non_negative("deadline", item)?))
                }
                "retries" => {
                    let retries = non_negative("retries", item)?;
                    let in_range = u32::try_from(retries)
                        .map_err(|_| format!("`retries` {retries} is too large"))?;
                    context.retries = Some(in_range);
                }
                "dtab" => context.dtab = dtab(item)?,
                _ => {}
            }
        }
        Ok(context)
    }

    /// The value of `heddle-context`; `None` when there is nothing to say.
    pub fn show(&self) -> Option<String> {
        let mut members = DictSerializer::new();
        if let Some(deadline) = self.deadline {
            members.bare_item(key("deadline"), integer(deadline.as_millis()));
        }
        if let Some(retries) = self.retries {
            members.bare_item(key("retries"), integer(u128::from(retries)));
        }
        if !self.dtab.is_empty() {
            members.bare_item(key("dtab"), self.dtab.to_string().as_bytes());
        }
        members.finish()
    }
}

fn key(name: &'static str) -> &'static KeyRef {
    KeyRef::from_str(name).expect("the keys are constants in lower case")
}

/// The largest value there is stands for what does not fit (10¹⁵ ms are 31 000 years).
fn integer(value: u128) -> sfv::Integer {
    i64::try_from(value)
        .ok()
        .and_then(|value| value.try_into().ok())
        .unwrap_or(sfv::Integer::MAX)
}

fn non_negative(name: &str, item: Option<&BareItem>) -> Result<u64, String> {
    let value = item.and_then(BareItem::as_integer).map(i64::from);
    value
        .and_then(|value| u64::try_from(value).ok())
        .ok_or_else(|| format!("`{name}` is no integer from 0 on"))
}

fn dtab(item: Option<&BareItem>) -> Result<Dtab, String> {
    let bytes = item
        .and_then(BareItem::as_byte_sequence)
        .ok_or("`dtab` is no byte sequence")?;
    parse_dtab("dtab", bytes)
}

fn parse_dtab(name: &str, value: &[u8]) -> Result<Dtab, String> {
    let text = std::str::from_utf8(value).map_err(|_| format!("`{name}` is not UTF-8"))?;
    Dtab::parse(text).map_err(|error| format!("`{name}` is no dtab: {error}"))
}

/// The local dtab that a caller sent in headers, each given with all its values.
///
/// In the order in which they are appended, so that the last wins: linkerd's accumulated `l5d-ctx-dtab`, its
/// user's `l5d-dtab`, and `heddle-dtab`.
///
/// # Errors
/// Says which header is no dtab and where.
///
/// ```
/// use heddle_core::context::parse_local_dtab;
/// let dtab = parse_local_dtab(&[b"/a => /c"], &[b"/a => /d"], &[]).unwrap();
/// assert_eq!(dtab.to_string(), "/a=>/c;/a=>/d");
/// ```
pub fn parse_local_dtab(
    l5d_ctx_dtab: &[&[u8]],
    l5d_dtab: &[&[u8]],
    heddle_dtab: &[&[u8]],
) -> Result<Dtab, String> {
    let headers = [
        ("l5d-ctx-dtab", l5d_ctx_dtab),
        ("l5d-dtab", l5d_dtab),
        ("heddle-dtab", heddle_dtab),
    ];
    let mut local = Dtab::empty();
    for (name, values) in headers {
        for value in values {
            local = local.concat(&parse_dtab(name, value)?);
        }
    }
    Ok(local)
}

/// Units of `grpc-timeout` with their nanoseconds, finest first.
const GRPC_UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// Reads `grpc-timeout`: one to eight digits and a unit out of `HMSmun`; `None` when it is anything else.
pub fn parse_grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty()
        || digits.len() > GRPC_TIMEOUT_DIGITS
        || !digits.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (_, nanos) = GRPC_UNITS.iter().find(|(name, _)| name == unit)?;
    // At most 99 999 999 hours: 3.6 * 10^11 seconds fit.
    let total = u128::from(number) * nanos;
    Some(Duration::new(
        (total / 1_000_000_000) as u64,
        (total % 1_000_000_000) as u32,
    ))
}

/// Writes `grpc-timeout` in the finest unit that fits eight digits, rounded down, since a hop may only shorten
/// a deadline.
///
/// ```
/// use heddle_core::context::{parse_grpc_timeout, show_grpc_timeout};
/// use std::time::Duration;
/// assert_eq!(show_grpc_timeout(Duration::from_millis(1500)), "1500000u");
/// assert_eq!(parse_grpc_timeout(b"1500000u"), Some(Duration::from_millis(1500)));
/// ```
pub fn show_grpc_timeout(left: Duration) -> String {
    let largest = 10_u128.pow(GRPC_TIMEOUT_DIGITS as u32) - 1;
    let nanos = left.as_nanos();
    let fitting = GRPC_UNITS.iter().find(|(_, unit)| nanos / unit <= largest);
    let (unit, number) = fitting.map_or((b'H', largest), |(unit, size)| (*unit, nanos / size));
    format!("{number}{}", char::from(unit))
}

/// The trace id of a `traceparent` header (W3C Trace Context level 2, section 3.2); `None` when it is malformed
/// or all zero.
///
/// ```
/// use heddle_core::context::trace_id;
/// let id = trace_id(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
/// assert_eq!(id[..2], [0x4b, 0xf9]);
/// ```
pub fn trace_id(traceparent: &[u8]) -> Option<[u8; 16]> {
    let mut parts = traceparent.splitn(5, |&byte| byte == b'-');
    let [version, trace, parent, flags] =
        [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let more = parts.next();
    let [version] = hexadecimal::<1>(version)?;
    let id = hexadecimal::<16>(trace)?;
    let parent = hexadecimal::<8>(parent)?;
    hexadecimal::<1>(flags)?;
    let known_form = version != 0xff && (version != 0 || more.is_none());
    (known_form && id != [0; 16] && parent != [0; 8]).then_some(id)
}

/// Exactly `2 * N` digits in lower case.
pub(crate) fn hexadecimal<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
