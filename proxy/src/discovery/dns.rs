//! DNS: questions, what is known about them, and asking them.

pub(super) mod question;
pub(super) mod resolver;

#[cfg(test)]
pub(super) mod stub;
