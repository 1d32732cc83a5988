//! The object on the GUI thread: a `QTimer` that turns the loop.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Duration;

use cxx_qt::{CxxQtThread, CxxQtType, Threading};

use crate::turns::Turns;

#[cxx_qt::bridge]
mod ffi {
    #[namespace = "Qt"]
    #[repr(i32)]
    enum TimerType {
        PreciseTimer,
        CoarseTimer,
        VeryCoarseTimer,
    }

    #[namespace = "Qt"]
    unsafe extern "C++" {
        include!(<QtCore/Qt>);
        type TimerType;
    }

    unsafe extern "C++Qt" {
        include!(<QtCore/QTimer>);
        #[qobject]
        type QTimer;
    }

    #[namespace = "punctual_qt"]
    extern "RustQt" {
        #[qobject]
        #[base = QTimer]
        type Ticker = super::TickerRust;
    }

    // Safe to call: as Qt documents them, on the object's own thread. An object of this crate never leaves it, as it is not `Send`.
    #[auto_cxx_name]
    #[namespace = "punctual_qt"]
    unsafe extern "RustQt" {
        #[inherit]
        #[qsignal]
        pub(self) fn timeout(self: Pin<&mut Ticker>);
        #[inherit]
        fn set_single_shot(self: Pin<&mut Ticker>, single_shot: bool);
        #[inherit]
        fn set_timer_type(self: Pin<&mut Ticker>, kind: TimerType);
        #[inherit]
        fn start(self: Pin<&mut Ticker>, interval_ms: i32);
        #[inherit]
        fn delete_later(self: Pin<&mut Ticker>);
    }

    impl cxx_qt::Threading for Ticker {}

    // Safe to call: no arguments, and any thread may ask.
    #[namespace = "punctual_qt"]
    unsafe extern "C++" {
        include!("punctual-qt.h");
        fn is_gui_thread() -> bool;
        #[cxx_name = "make"]
        fn make_ticker() -> UniquePtr<Ticker>;
    }
}

pub(crate) use self::ffi::{Ticker, is_gui_thread};

/// What the object knows in Rust.
#[derive(Default)]
pub struct TickerRust {
    turns: Option<Rc<Turns>>,
}

/// An object that does nothing before it is woken.
pub(crate) fn make() -> cxx::UniquePtr<Ticker> {
    let mut ticker = ffi::make_ticker();
    ticker.pin_mut().set_single_shot(true);
    ticker
        .pin_mut()
        .set_timer_type(ffi::TimerType::PreciseTimer);
    ticker.pin_mut().on_timeout(Ticker::turn).release();
    ticker
}

impl Ticker {
    pub(crate) fn set_turns(self: Pin<&mut Self>, turns: Rc<Turns>) {
        self.rust_mut().turns = Some(turns);
    }

    fn turn(self: Pin<&mut Self>) {
        let Some(turns) = self.rust().turns.clone().filter(|turns| !turns.is_closed()) else {
            return;
        };
        // Afterwards the object may be gone: the program's code has run, in event loops of its own too.
        turns.turn(|wait| self.start(interval_ms(wait)));
    }
}

/// Rounded up: a timer that ends early would have to be set a second time. A `QTimer` counts up to 24 days; after that the
/// loop finds that it is too early, and waits again.
fn interval_ms(wait: Duration) -> i32 {
    let ms = wait.as_nanos().div_ceil(1_000_000);
    i32::try_from(ms).unwrap_or(i32::MAX)
}

/// Wakes the object from any thread.
pub(crate) struct Alarm {
    thread: CxxQtThread<Ticker>,
    is_set: AtomicBool,
}

impl Alarm {
    pub(crate) fn new(ticker: &Ticker) -> Self {
        Self {
            thread: ticker.qt_thread(),
            is_set: AtomicBool::new(false),
        }
    }

    /// To be called before the work is looked for that an alarm is about.
    pub(crate) fn clear(&self) {
        self.is_set.store(false, Ordering::SeqCst);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// However many wakes are one call in Qt's queue. That only sets the timer: the queue holds a lock on the object
    /// during a call, which must not be held while the program's code runs.
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_set.swap(true, Ordering::SeqCst) {
            // An error says that the object is gone, and with it the loop.
            let _ = self.thread.queue(|ticker| ticker.start(0));
        }
    }
}
