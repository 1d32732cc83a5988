//! Why a trigger was refused.

use std::{fmt::Write, ops::Range};

/// Why a trigger was refused: which field, which value, what is allowed there and, where a likely cause is known, the
/// cure.
///
/// `Display` gives the whole message with the field in front; [`TriggerError::message`] leaves the field out, for
/// front ends that show it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", prefix(.field.as_deref()))]
pub struct TriggerError {
    field: Option<String>,
    value: Option<String>,
    message: String,
    span: Option<Range<usize>>,
}

fn prefix(field: Option<&str>) -> String {
    field.map(|field| format!("{field}: ")).unwrap_or_default()
}

impl TriggerError {
    /// An error that concerns the trigger as a whole.
    pub fn new(message: impl Into<String>) -> TriggerError {
        TriggerError {
            field: None,
            value: None,
            message: message.into(),
            span: None,
        }
    }

    /// An error in one field.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers pass numbers and texts as they have them"
    )]
    pub(crate) fn at(
        field: &str,
        value: impl ToString,
        message: impl Into<String>,
    ) -> TriggerError {
        TriggerError {
            field: Some(field.to_owned()),
            value: Some(value.to_string()),
            message: message.into(),
            span: None,
        }
    }

    /// The same error with the bytes of the text that are at fault.
    pub(crate) fn with_span(mut self, span: Range<usize>) -> TriggerError {
        self.span = Some(span);
        self
    }

    /// The same error, seen from outside: `hour` becomes `triggers[1].hour`.
    pub(crate) fn within(mut self, outer: &str) -> TriggerError {
        self.field = Some(match self.field {
            Some(field) => format!("{outer}.{field}"),
            None => outer.to_owned(),
        });
        self
    }

    /// The path of the field at fault, such as `hour` or `triggers[1].hour`; none where it is the whole.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The refused value as it was given.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// The bytes of the field's text (the crontab expression, the cron field) that are at fault.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// The whole message, and below it the text with the part at fault underlined, where that is known.
    pub fn underlined(&self) -> String {
        let mut text = self.to_string();
        if let (Some(value), Some(span)) = (self.value(), self.span())
            && let (Some(before), Some(inside)) = (value.get(..span.start), value.get(span))
        {
            let pad = " ".repeat(before.chars().count());
            let carets = "^".repeat(inside.chars().count().max(1));
            let _ = write!(text, "\n  {value}\n  {pad}{carets}");
        }
        text
    }

    /// What is wrong, what is allowed and the likely cure; without the field.
    pub fn message(&self) -> &str {
        &self.message
    }
}
