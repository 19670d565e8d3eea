//! What the system lends to the proxy, and what is done before it runs out: file descriptors and memory.
//! `docs/faults.md` says what an operator sees of it.

mod descriptors;
mod lack;
mod memory;
mod seldom;

pub(crate) use descriptors::{Descriptors, Lent};
pub use descriptors::{Raised, raise_descriptors, with_inherited_limit};
pub(crate) use lack::{Lack, lack_of};
pub(crate) use memory::{LOOK, LOOK_FOR_LIMIT, Memory};
pub(crate) use seldom::Seldom;
