//! What the outside cannot see.
