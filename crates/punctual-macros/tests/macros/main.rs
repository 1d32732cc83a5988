//! `#[task]`, as programs use it.

mod calls;
mod declared;
mod errors;
mod hygiene;
mod local;
mod running;
