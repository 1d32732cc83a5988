//! SIGTERM and Ctrl-C.

use std::time::Duration;

use crate::exit::{Failure, Outcome};

/// Signals that come within this time of the first are its echo.
const ECHO: Duration = Duration::from_millis(500);

/// The signals that end a server.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes them over, from now on.
    #[cfg(unix)]
    pub(crate) fn listen() -> Outcome<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::plain(format!("signals cannot be caught: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Takes it over, from now on.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> Outcome<Self> {
        let _: fn(&str) -> Failure = Failure::plain::<&str>;
        Ok(Self {})
    }

    /// Waits for one; returns its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            "Ctrl-C"
        }
    }

    /// Ends the process at the next one. What comes at once is the same wish: some senders signal the process and then its
    /// whole group.
    pub(crate) fn exit_on_next(mut self) {
        tokio::spawn(async move {
            let echo = tokio::time::sleep(ECHO);
            tokio::pin!(echo);
            loop {
                tokio::select! {
                    _ = self.next() => {}
                    () = &mut echo => break,
                }
            }
            let signal = self.next().await;
            tracing::warn!(signal, "ending at once; what ran is left to its lease");
            std::process::exit(1);
        });
    }
}
