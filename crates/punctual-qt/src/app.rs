//! A `QGuiApplication`, for programs without another binding of Qt that makes one.

use std::fmt;

use cxx::UniquePtr;

#[cxx_qt::bridge(namespace = "punctual_qt")]
mod ffi {
    // Safe to call: Qt checks what it is given, and aborts where there is no application.
    unsafe extern "C++" {
        include!("punctual-qt-app.h");
        type App;
        fn make_app(args: &Vec<String>) -> UniquePtr<App>;
        fn exec() -> i32;
        fn quit(code: i32);
        fn process_events();
        fn post(call: Box<Call>);
    }

    extern "Rust" {
        type Call;
        fn run(self: &mut Call);
    }
}

/// The program's application object; there is one at most.
pub struct Application {
    _app: UniquePtr<ffi::App>,
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

struct Call(Option<Box<dyn FnOnce() + Send>>);

impl Call {
    fn run(&mut self) {
        if let Some(function) = self.0.take() {
            function();
        }
    }
}

impl Application {
    /// Makes it on this thread, which is the GUI thread from now on. The arguments begin with the program's name; Qt takes
    /// such as `-platform offscreen` for itself.
    pub fn new<A: Into<String>>(args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self {
            _app: ffi::make_app(&args),
        }
    }

    /// Runs the event loop until [`quit`](Self::quit); returns the code.
    pub fn exec(&self) -> i32 {
        ffi::exec()
    }

    /// Ends the event loop. To be called on the GUI thread.
    pub fn quit(code: i32) {
        ffi::quit(code);
    }

    /// Handles what waits in the event loop, for code on the GUI thread that takes long.
    pub fn process_events() {
        ffi::process_events();
    }

    /// Calls a function on the GUI thread, soon, from any thread. There must be an application.
    pub fn post(function: impl FnOnce() + Send + 'static) {
        ffi::post(Box::new(Call(Some(Box::new(function)))));
    }
}
