//! Whether something may be used: Finagle's `Status`.

/// How ready an endpoint or a set is. Ordered: the larger the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Gone for good; not to be picked.
    Closed,
    /// Not now: ejected, or waiting for its probe.
    Busy,
    /// Ready.
    Open,
}
