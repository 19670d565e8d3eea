//! Pure. Success or failure.

/// What an answer, or its absence, counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The endpoint did its work, whatever it answered.
    Success,
    /// It did not.
    Failure,
    /// It did not, and another attempt may help.
    RetryableFailure,
}
