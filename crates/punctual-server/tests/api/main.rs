//! The API as a function from request to response, and over a real socket.

mod auth;
mod gate;
mod jobs;
mod nasty;
mod outgoing;
mod socket;
mod support;
