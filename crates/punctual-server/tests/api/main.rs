//! The API as a function from request to response, and over a real socket.

mod auth;
mod jobs;
mod nasty;
mod outgoing;
mod socket;
mod support;
