//! JSON Schemas for editors, and the reference parts of `docs/`, made from the tables that the
//! checker uses.
//!
//! Pure. `schemas/` and `docs/` in the repository are compared with these by tests; to write
//! them anew: `HEDDLE_BLESS=1 cargo test -p heddle-core schema`.

use super::format;
use super::shape::{Field, Format, Object, Shape};
use super::table::PROXY;
use super::table::mesh::CONTROL_PLANE_FILE;
use super::table::rules::{API_VERSION, DOCUMENT, KINDS, METADATA};
use serde_json::{Map, Value, json};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const DURATION: &str = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// The JSON Schema of a proxy's file.
pub fn proxy() -> Value {
    let mut definitions = Map::new();
    let root = reference_to(&PROXY, &mut definitions);
    json!({
        "$schema": DIALECT,
        "title": "Heddle proxy",
        "description": PROXY.about,
        "$ref": root["$ref"],
        "$defs": definitions,
    })
}

/// The JSON Schema of a control plane's file.
pub fn control_plane() -> Value {
    let mut definitions = Map::new();
    let root = reference_to(&CONTROL_PLANE_FILE, &mut definitions);
    json!({
        "$schema": DIALECT,
        "title": "Heddle control plane",
        "description": CONTROL_PLANE_FILE.about,
        "$ref": root["$ref"],
        "$defs": definitions,
    })
}

/// The JSON Schema of one rule document.
pub fn rules() -> Value {
    let mut definitions = Map::new();
    let root = schema_of(&Shape::Document, &mut definitions);
    json!({
        "$schema": DIALECT,
        "title": "Heddle rule document",
        "description": DOCUMENT.about,
        "anyOf": root["anyOf"],
        "$defs": definitions,
    })
}

fn slug(name: &str) -> String {
    name.replace(' ', "-")
}

fn reference_to(object: &'static Object, definitions: &mut Map<String, Value>) -> Value {
    let slug = slug(object.name);
    if !definitions.contains_key(&slug) {
        // In place first, so that a shape that holds itself ends.
        definitions.insert(slug.clone(), Value::Null);
        let schema = object_schema(object, definitions);
        definitions.insert(slug.clone(), schema);
    }
    json!({"$ref": format!("#/$defs/{slug}")})
}

fn object_schema(object: &'static Object, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in object.fields {
        let mut schema = schema_of(&field.shape, definitions);
        schema["description"] = described(field).into();
        properties.insert(field.key.to_owned(), schema);
    }
    let mut schema = json!({
        "type": "object",
        "description": object.about,
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<_> = object
        .fields
        .iter()
        .filter(|f| f.required)
        .map(|f| f.key)
        .collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if !object.exactly_one.is_empty() {
        let ways = object
            .exactly_one
            .iter()
            .map(|key| json!({"required": [key]}));
        schema["oneOf"] = ways.collect();
    }
    schema
}

fn described(field: &Field) -> String {
    match field.default {
        "" => field.about.to_owned(),
        default => format!("{} Default: {default}.", field.about),
    }
}

fn schema_of(shape: &Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Object(object) => reference_to(object, definitions),
        Shape::Map { key, value } => {
            let mut schema = json!({
                "type": "object",
                "additionalProperties": schema_of(value, definitions),
            });
            if !key.pattern.is_empty() {
                schema["propertyNames"] = json!({"pattern": key.pattern});
            }
            schema
        }
        Shape::List { of, min } => {
            json!({"type": "array", "items": schema_of(of, definitions), "minItems": min})
        }
        Shape::Choice(shapes) => {
            let ways: Vec<_> = shapes
                .iter()
                .map(|shape| schema_of(shape, definitions))
                .collect();
            json!({"anyOf": ways})
        }
        Shape::Text(format) => text_schema(format),
        Shape::Word(words) => {
            let ways = words
                .iter()
                .map(|(word, about)| json!({"const": word, "description": about}));
            json!({"oneOf": ways.collect::<Vec<_>>()})
        }
        Shape::Int { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Shape::Time { .. } => json!({"type": "string", "pattern": DURATION, "minLength": 2}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Document => {
            let ways = KINDS
                .iter()
                .map(|(kind, object)| document_schema(kind, object, definitions));
            json!({"anyOf": ways.collect::<Vec<_>>()})
        }
    }
}

fn document_schema(
    kind: &str,
    object: &'static Object,
    definitions: &mut Map<String, Value>,
) -> Value {
    let name = format!("{} document", object.name);
    let schema = json!({
        "type": "object",
        "description": object.about,
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind},
            "metadata": reference_to(&METADATA, definitions),
            "spec": reference_to(object, definitions),
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
    });
    definitions.insert(slug(&name), schema);
    json!({"$ref": format!("#/$defs/{}", slug(&name))})
}

fn text_schema(format: &Format) -> Value {
    let mut schema = json!({"type": "string"});
    if !format.pattern.is_empty() {
        schema["pattern"] = format.pattern.into();
    }
    if format.numbers {
        return json!({"anyOf": [schema, {"type": "integer"}]});
    }
    schema
}

/// The reference of a proxy's file in Markdown: a section for each map, with a table of its keys.
pub fn proxy_reference() -> String {
    let mut sections = Sections::default();
    sections.object(&PROXY);
    sections.text
}

/// The reference of the control plane's file in Markdown.
pub fn control_plane_reference() -> String {
    let mut sections = Sections::default();
    sections.object(&CONTROL_PLANE_FILE);
    sections.text
}

/// The reference of the rule documents in Markdown.
pub fn rules_reference() -> String {
    let mut sections = Sections::default();
    sections.object(&DOCUMENT);
    for (_, object) in KINDS {
        sections.object(object);
    }
    sections.text
}

#[derive(Default)]
struct Sections {
    text: String,
    seen: Vec<&'static str>,
}

impl Sections {
    /// A section for the map, followed by those of the maps below it that had none yet.
    fn object(&mut self, object: &'static Object) {
        if self.seen.contains(&object.name) {
            return;
        }
        self.seen.push(object.name);
        self.text += &format!("### {}\n\n{}\n\n", object.name, object.about);
        if !object.exactly_one.is_empty() {
            let keys = super::shape::list_of_words(object.exactly_one.iter().copied());
            self.text += &format!("Exactly one of {keys}.\n\n");
        }
        self.text += "| key | value | default | meaning |\n|---|---|---|---|\n";
        for field in object.fields {
            let default = match (field.required, field.default) {
                (true, _) => "required".to_owned(),
                (false, "") => String::new(),
                (false, default) => format!("`{default}`"),
            };
            let (key, value) = (field.key, value_of(&field.shape));
            self.text += &format!("| `{key}` | {value} | {default} | {} |\n", field.about);
        }
        self.text.push('\n');
        for field in object.fields {
            self.words(field.key, &field.shape);
        }
        object
            .fields
            .iter()
            .for_each(|field| self.below(&field.shape));
    }

    fn words(&mut self, key: &str, shape: &Shape) {
        match shape {
            Shape::Word(words) if words.len() > 1 => {
                self.text += &format!("Words of `{key}`:\n\n");
                for (word, about) in *words {
                    self.text += &format!("* `{word}`: {about}.\n");
                }
                self.text.push('\n');
            }
            Shape::Choice(shapes) => shapes.iter().for_each(|shape| self.words(key, shape)),
            Shape::List { of, .. } => self.words(key, of),
            _ => {}
        }
    }

    fn below(&mut self, shape: &Shape) {
        match shape {
            Shape::Object(object) => self.object(object),
            Shape::Map { value, .. } => self.below(value),
            Shape::List { of, .. } => self.below(of),
            Shape::Choice(shapes) => shapes.iter().for_each(|shape| self.below(shape)),
            _ => {}
        }
    }
}

/// What may be written, in a few words.
fn value_of(shape: &Shape) -> String {
    match shape {
        Shape::Object(object) => {
            format!("[{}](#{})", object.name, slug(&object.name.to_lowercase()))
        }
        Shape::Map { key, value } => format!("map from {} to {}", bare(key.name), value_of(value)),
        Shape::List { of, .. } => format!("list of {}", value_of(of)),
        Shape::Choice(shapes) => shapes.iter().map(value_of).collect::<Vec<_>>().join(" or "),
        Shape::Text(format) => bare(format.name).to_owned(),
        Shape::Word(words) => super::shape::list_of_words(words.iter().map(|(word, _)| *word)),
        Shape::Int { min, max } => format!("{min} to {max}"),
        Shape::Number { min, max } => format!("number, {min} to {max}"),
        Shape::Time { min, max } => {
            format!("duration, {} to {}", format::show(*min), format::show(*max))
        }
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Document => "document (see [rules](rules.md))".to_owned(),
    }
}

/// A name without its article.
fn bare(name: &str) -> &str {
    let rest = ["a ", "an ", "the "]
        .iter()
        .find_map(|article| name.strip_prefix(article));
    rest.unwrap_or(name)
}

#[cfg(test)]
mod tests;
