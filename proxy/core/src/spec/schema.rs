//! JSON Schemas for editors, and the reference parts of `docs/`, made from the tables.
