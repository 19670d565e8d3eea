//! What goes into statements and comes out of rows.

use super::Fault;

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `BIGINT`.
    Int(i64),
    /// `TEXT`.
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T> From<Option<T>> for Value
where
    Self: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

/// One row of an answer; columns are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(pub(super) Vec<Value>);

impl Row {
    /// A whole number.
    ///
    /// # Errors
    ///
    /// The column is something else.
    pub fn int(&self, column: usize) -> Result<i64, Fault> {
        self.int_or_null(column)?
            .ok_or_else(|| Fault::row(format!("column {column} is null")))
    }

    /// A whole number, if there is one.
    ///
    /// # Errors
    ///
    /// The column is something else.
    pub fn int_or_null(&self, column: usize) -> Result<Option<i64>, Fault> {
        match self.0.get(column) {
            Some(Value::Int(value)) => Ok(Some(*value)),
            Some(Value::Null) => Ok(None),
            other => Err(Fault::row(format!(
                "column {column} is {other:?}, no number"
            ))),
        }
    }

    /// Text.
    ///
    /// # Errors
    ///
    /// The column is something else.
    pub fn text(&self, column: usize) -> Result<String, Fault> {
        self.text_or_null(column)?
            .ok_or_else(|| Fault::row(format!("column {column} is null")))
    }

    /// Text, if there is one.
    ///
    /// # Errors
    ///
    /// The column is something else.
    pub fn text_or_null(&self, column: usize) -> Result<Option<String>, Fault> {
        match self.0.get(column) {
            Some(Value::Text(value)) => Ok(Some(value.clone())),
            Some(Value::Null) => Ok(None),
            other => Err(Fault::row(format!("column {column} is {other:?}, no text"))),
        }
    }
}
