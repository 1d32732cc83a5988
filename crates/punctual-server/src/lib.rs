//! The REST API of Punctual as an axum router.
