//! The OpenAPI document.

use serde_json::{Value, json};

/// The document for an API below `prefix`.
pub(crate) fn document(prefix: &str) -> Value {
    json!({ "openapi": "3.1.0", "prefix": prefix })
}
