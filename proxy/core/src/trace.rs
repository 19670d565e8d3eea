//! Trace contexts: W3C `traceparent`, and B3 as one header or as several.
//!
//! Pure. W3C Trace Context (recommendation of 2021, section 3.2); openzipkin's B3 propagation.

use crate::context::{hexadecimal, trace_id};
use crate::random::Rng;

/// How a context was written, so that it goes on in the caller's own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `traceparent`.
    W3c,
    /// `b3`.
    B3,
    /// `x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled`.
    B3Many,
}

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; B3's short ids have eight leading zero bytes.
    pub trace: [u8; 16],
    /// The span that the sender is in.
    pub span: [u8; 8],
    /// Whether the trace is sampled; `None`: nobody has decided.
    pub sampled: Option<bool>,
}

impl TraceContext {
    /// Reads `traceparent`; `None` when it is not one, which section 3.2.2.2 says to ignore.
    ///
    /// ```
    /// use heddle_core::trace::TraceContext;
    /// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let context = TraceContext::from_traceparent(text.as_bytes()).unwrap();
    /// assert_eq!(context.sampled, Some(true));
    /// assert_eq!(context.traceparent(), text);
    /// ```
    pub fn from_traceparent(value: &[u8]) -> Option<Self> {
        let trace = trace_id(value)?;
        let span = hexadecimal(value.get(36..52)?)?;
        let [flags] = hexadecimal(value.get(53..55)?)?;
        Some(Self {
            trace,
            span,
            sampled: Some(flags & 1 == 1),
        })
    }

    /// Reads `b3`: `trace-span`, `trace-span-sampled` or `trace-span-sampled-parent`. The form that is a
    /// decision without a trace is `None`.
    ///
    /// ```
    /// use heddle_core::trace::TraceContext;
    /// let context = TraceContext::from_b3(b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90");
    /// assert_eq!(context.unwrap().b3(), "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1");
    /// ```
    pub fn from_b3(value: &[u8]) -> Option<Self> {
        let mut parts = value.split(|&byte| byte == b'-');
        let (trace, span) = (parts.next()?, parts.next()?);
        let sampled = match parts.next() {
            None => None,
            Some(word) => Some(b3_decision(word)?),
        };
        Self::from_b3_parts(trace, span, sampled)
    }

    /// Reads the headers of B3's older form.
    pub fn from_b3_many(
        trace: &[u8],
        span: &[u8],
        sampled: Option<&[u8]>,
        debug: bool,
    ) -> Option<Self> {
        let sampled = if debug {
            Some(true)
        } else {
            sampled.and_then(b3_decision)
        };
        Self::from_b3_parts(trace, span, sampled)
    }

    fn from_b3_parts(trace: &[u8], span: &[u8], sampled: Option<bool>) -> Option<Self> {
        let trace = match trace.len() {
            16 => {
                let mut whole = [0; 16];
                whole[8..].copy_from_slice(&lower::<8>(trace)?);
                whole
            }
            _ => lower(trace)?,
        };
        let span = lower(span)?;
        (trace != [0; 16] && span != [0; 8]).then_some(Self {
            trace,
            span,
            sampled,
        })
    }

    /// A trace that begins here, undecided.
    pub fn begin(rng: &mut impl Rng) -> Self {
        // A half that is odd is not zero, which both forms forbid.
        let (high, low) = (rng.next_u64(), rng.next_u64() | 1);
        Self {
            trace: (u128::from(high) << 64 | u128::from(low)).to_be_bytes(),
            span: span_id(rng),
            sampled: None,
        }
    }

    /// Whether a trace that nobody has decided on is sampled: the same on every proxy, since it follows from
    /// the id (OpenTelemetry's `TraceIdRatioBased`). `share` is from 0 to 1.
    pub fn is_in_share(&self, share: f64) -> bool {
        let low = u64::from_be_bytes([
            self.trace[8],
            self.trace[9],
            self.trace[10],
            self.trace[11],
            self.trace[12],
            self.trace[13],
            self.trace[14],
            self.trace[15],
        ]);
        ((low >> 1) as f64) < share * (1_u64 << 63) as f64
    }

    /// The value of `traceparent`; undecided is written as not sampled.
    pub fn traceparent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            Hex(&self.trace),
            Hex(&self.span),
            u8::from(self.sampled == Some(true))
        )
    }

    /// The value of `b3`.
    pub fn b3(&self) -> String {
        let text = format!("{}-{}", Hex(&self.trace), Hex(&self.span));
        match self.sampled {
            None => text,
            Some(sampled) => format!("{text}-{}", u8::from(sampled)),
        }
    }
}

/// A span's id.
pub fn span_id(rng: &mut impl Rng) -> [u8; 8] {
    (rng.next_u64() | 1).to_be_bytes()
}

/// Bytes that are written at once: those of a trace's id.
const HEX_AT_ONCE: usize = 16;

/// Bytes in lower-case hexadecimal digits.
#[derive(Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 2 * HEX_AT_ONCE];
        for bytes in self.0.chunks(HEX_AT_ONCE) {
            for (two, byte) in text.chunks_exact_mut(2).zip(bytes) {
                two[0] = DIGITS[usize::from(byte >> 4)];
                two[1] = DIGITS[usize::from(byte & 0xf)];
            }
            let shown = std::str::from_utf8(&text[..2 * bytes.len()]);
            f.write_str(shown.expect("digits are ASCII"))?;
        }
        Ok(())
    }
}

fn b3_decision(word: &[u8]) -> Option<bool> {
    match word {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

/// B3 is written in lower case, but some libraries send upper case.
fn lower<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    hexadecimal(&text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Xoshiro;

    #[test]
    fn what_is_no_context_is_none() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(
                TraceContext::from_traceparent(text.as_bytes()),
                None,
                "{text}"
            );
        }
        for text in [
            "",
            "0",
            "1",
            "-",
            "80f198ee56343ba8-",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-x",
            "0000000000000000-e457b5a2e4d86bd1-1",
            "80f198ee56343ba8-e457b5a2e4d86b-1",
        ] {
            assert_eq!(TraceContext::from_b3(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn every_form_says_the_same() {
        let span = b"e457b5a2e4d86bd1".as_slice();
        let short = b"64fe8b2a57d3eff7".as_slice();
        for (read, sampled) in [
            (
                TraceContext::from_b3(b"64fe8b2a57d3eff7-e457b5a2e4d86bd1"),
                None,
            ),
            (
                TraceContext::from_b3(b"64fe8b2a57d3eff7-E457B5A2E4D86BD1-d"),
                Some(true),
            ),
            (TraceContext::from_b3_many(short, span, None, false), None),
            (
                TraceContext::from_b3_many(short, span, Some(b"0"), false),
                Some(false),
            ),
            (
                TraceContext::from_b3_many(short, span, Some(b"0"), true),
                Some(true),
            ),
            (
                TraceContext::from_traceparent(
                    b"00-000000000000000064fe8b2a57d3eff7-e457b5a2e4d86bd1-03",
                ),
                Some(true),
            ),
        ] {
            let read = read.expect("it is a context");
            assert_eq!(
                Hex(&read.trace).to_string(),
                "000000000000000064fe8b2a57d3eff7"
            );
            assert_eq!(read.sampled, sampled);
        }
    }

    #[test]
    fn the_share_of_sampled_traces_is_kept() {
        let mut rng = Xoshiro::seeded(7);
        for share in [0.0, 0.1, 0.5, 1.0] {
            let sampled = (0..20_000)
                .filter(|_| TraceContext::begin(&mut rng).is_in_share(share))
                .count() as f64;
            assert!(
                (sampled / 20_000.0 - share).abs() < 0.02,
                "{share}: {sampled}"
            );
        }
    }
}
