//! Which run the present thread works for, so that a scheduler that is shut down from inside a run does not wait for it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::id::RunId;

thread_local! {
    static CURRENT: Cell<Option<RunId>> = const { Cell::new(None) };
}

/// The run that this is called from.
pub(crate) fn current_run() -> Option<RunId> {
    CURRENT.get()
}

/// Until it is dropped the thread works for `run`.
pub(super) fn enter(run: RunId) -> Entered {
    Entered(CURRENT.replace(Some(run)))
}

/// Puts back what was before: a task may drive another one, as the inline executor does.
pub(super) struct Entered(Option<RunId>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

pin_project! {
    /// A future whose polls work for a run.
    pub(super) struct Within<F> {
        run: RunId,
        #[pin]
        future: F,
    }
}

impl<F> Within<F> {
    pub(super) fn new(run: RunId, future: F) -> Self {
        Self { run, future }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = enter(*this.run);
        this.future.poll(cx)
    }
}
