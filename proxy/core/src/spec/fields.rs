//! Reading sound values out of a checked map.
//!
//! Pure. The checker has told what is wrong; a value that is not sound reads as absent here.

use super::format;
use super::shape::{self, Object};
use super::yaml::Node;
use std::time::Duration;

/// A map with the table of its keys.
#[derive(Clone, Copy)]
pub(super) struct Fields<'n> {
    pub(super) node: &'n Node,
    object: &'static Object,
}

impl<'n> Fields<'n> {
    pub(super) fn new(node: &'n Node, object: &'static Object) -> Self {
        Self { node, object }
    }

    /// The value of a key, which must be in the table.
    pub(super) fn get(&self, key: &'static str) -> Option<&'n Node> {
        assert!(
            self.object.field(key).is_some(),
            "`{key}` is in no table of the {}",
            self.object.name
        );
        #[cfg(test)]
        super::tests::note_read(self.object.name, key);
        self.node.get(key)
    }

    pub(super) fn text(&self, key: &'static str) -> Option<&'n str> {
        self.get(key)?.text()
    }

    pub(super) fn owned(&self, key: &'static str) -> Option<String> {
        self.text(key).map(str::to_owned)
    }

    pub(super) fn time(&self, key: &'static str) -> Option<Duration> {
        format::duration(self.text(key)?).ok()
    }

    pub(super) fn number(&self, key: &'static str) -> Option<f64> {
        shape::number(self.get(key)?)
    }

    /// A whole number that fits; the tables' ranges see to that.
    pub(super) fn count<T: TryFrom<u64>>(&self, key: &'static str) -> Option<T> {
        T::try_from(shape::whole(self.get(key)?)?).ok()
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        shape::boolean(self.get(key)?)
    }

    pub(super) fn items(&self, key: &'static str) -> &'n [Node] {
        self.get(key).map(Node::items).unwrap_or_default()
    }

    /// A map below this one.
    pub(super) fn child(&self, key: &'static str, object: &'static Object) -> Option<Fields<'n>> {
        self.get(key).map(|node| Fields::new(node, object))
    }

    /// The value read by a parser of [`format`].
    pub(super) fn parse<T, E>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(self.text(key)?).ok()
    }
}

/// Writes a value over a default if there is one.
pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}
