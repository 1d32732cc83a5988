//! What goes into statements and comes out of them, the same for every database.

use punctual_core::id::RunId;

/// A value for a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    MaybeInt(Option<i64>),
    /// Text that is stored, and not compared.
    Text(String),
    MaybeText(Option<String>),
    /// Text that is compared byte for byte: ids, tasks, names.
    Name(String),
    Run(RunId),
    Flag(bool),
}

/// What kind of values a column takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
    Name,
    Run,
    Flag,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// Columns, by name and kind.
macro_rules! columns {
    ($($name:ident: $kind:ident),* $(,)?) => {
        &[$($crate::server::cell::Column { name: stringify!($name), kind: $crate::server::cell::Kind::$kind }),*]
    };
}
pub(crate) use columns;

impl Value {
    /// About how many bytes it takes on the way to the server.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Name(text) | Self::MaybeText(Some(text)) => 8 + text.len(),
            Self::Int(_) | Self::MaybeInt(_) | Self::MaybeText(None) | Self::Flag(_) => 8,
            Self::Run(_) => 16,
        }
    }
}

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Run(RunId),
}

/// Why a row cannot be read.
pub(crate) type Broken = String;

impl Cell {
    fn is_not(&self, what: &str) -> Broken {
        let mut shown = format!("{self:?}");
        if let Some((end, _)) = shown.char_indices().nth(60) {
            shown.truncate(end);
        }
        format!("{shown} is no {what}")
    }

    pub(crate) fn int(&self) -> Result<i64, Broken> {
        match self {
            Self::Int(value) => Ok(*value),
            other => Err(other.is_not("number")),
        }
    }

    pub(crate) fn maybe_int(&self) -> Result<Option<i64>, Broken> {
        match self {
            Self::Null => Ok(None),
            other => other.int().map(Some),
        }
    }

    pub(crate) fn text(&self) -> Result<&str, Broken> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Bytes(bytes) => {
                std::str::from_utf8(bytes).map_err(|error| format!("{bytes:?}: {error}"))
            }
            other => Err(other.is_not("text")),
        }
    }

    pub(crate) fn maybe_text(&self) -> Result<Option<&str>, Broken> {
        match self {
            Self::Null => Ok(None),
            other => other.text().map(Some),
        }
    }

    pub(crate) fn run(&self) -> Result<RunId, Broken> {
        match self {
            Self::Run(id) => Ok(*id),
            Self::Bytes(bytes) => <[u8; 16]>::try_from(bytes.as_slice())
                .map(|bytes| RunId(u128::from_be_bytes(bytes)))
                .map_err(|_| self.is_not("id of a run")),
            other => Err(other.is_not("id of a run")),
        }
    }
}

/// The rows that a statement returned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Vec<Cell>>,
    /// How many rows it wrote, as the server counts them.
    pub(crate) affected: u64,
}

impl Answer {
    /// The only value, where there is one.
    pub(crate) fn one(&self) -> Option<&Cell> {
        self.rows.first().and_then(|row| row.first())
    }
}
