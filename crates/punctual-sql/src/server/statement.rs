//! Statements: text and values, put together for one database or the other.

use std::marker::PhantomData;

use punctual_core::id::RunId;

use super::cell::Value;
use super::dialect::Dialect;

/// A statement that can be sent.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) text: String,
    /// Values beside the text, for databases that take them so.
    pub(crate) params: Vec<Param>,
    /// Several statements in one text, without values beside it.
    pub(crate) is_script: bool,
}

/// A value beside the text: one, or a whole column.
#[derive(Clone, Debug)]
pub(crate) enum Param {
    One(Value),
    Column(super::cell::Kind, Vec<Value>),
}

impl Statement {
    /// Text that values will stand beside.
    pub(crate) fn prepared(text: String) -> Self {
        Self {
            text,
            params: Vec::new(),
            is_script: false,
        }
    }

    /// Fixed text, one statement or several.
    pub(crate) fn script(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            params: Vec::new(),
            is_script: true,
        }
    }
}

/// A statement in the making. In its text, `@` stands for the prefix of the tables; values never become text but by the
/// dialect.
#[derive(Debug)]
pub(crate) struct Sql<'p, D> {
    statement: Statement,
    prefix: &'p str,
    dialect: PhantomData<D>,
}

impl<'p, D: Dialect> Sql<'p, D> {
    pub(crate) fn new(prefix: &'p str, text: &str) -> Self {
        let sql = Self {
            statement: Statement {
                text: String::with_capacity(text.len() + 64),
                params: Vec::new(),
                is_script: false,
            },
            prefix,
            dialect: PhantomData,
        };
        sql.add(text)
    }

    pub(crate) fn add(mut self, text: &str) -> Self {
        let mut parts = text.split('@');
        self.statement.text.extend(parts.next());
        for part in parts {
            self.statement.text.push_str(self.prefix);
            self.statement.text.push_str(part);
        }
        self
    }

    pub(crate) fn value(mut self, value: Value) -> Self {
        D::put(&mut self.statement, value);
        self
    }

    pub(crate) fn int(self, value: i64) -> Self {
        self.value(Value::Int(value))
    }

    pub(crate) fn name(self, name: &str) -> Self {
        self.value(Value::Name(name.to_owned()))
    }

    pub(crate) fn run(self, id: RunId) -> Self {
        self.value(Value::Run(id))
    }

    /// ` IN (…)`, for values that are not none.
    pub(crate) fn among(mut self, values: Vec<Value>) -> Self {
        D::put_among(&mut self.statement, values);
        self
    }

    /// ` AND column NOT IN (…)`, or nothing for no values.
    pub(crate) fn and_none_of(mut self, column: &str, values: Vec<Value>) -> Self {
        if !values.is_empty() {
            self.statement.text.push_str(" AND NOT ");
            self.statement.text.push_str(column);
            D::put_among(&mut self.statement, values);
        }
        self
    }

    pub(crate) fn done(self) -> Statement {
        self.statement
    }
}
