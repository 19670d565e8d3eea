//! `heddle run`, with real programs beside it.

mod admission;
mod ends;
mod mesh;
mod support;
